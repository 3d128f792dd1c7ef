"""Names of classes and columns travel in ModelMetadata, and what is no list of names is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocol.generated.inference_pb2 import ModelMetadataResponse
from gateway.protocol.named_columns import COLUMNS, LABELS, read_names, write_names


def sent(tensor):
    """The tensor as it arrives."""
    return type(tensor).FromString(tensor.SerializeToString())


@given(st.lists(st.text(), max_size=20))
def test_names_arrive_as_they_were_written(names):
    tensor = ModelMetadataResponse.TensorMetadata(name="y")
    write_names(tensor, LABELS, names)
    assert read_names(sent(tensor), LABELS) == tuple(names)
    assert read_names(sent(tensor), COLUMNS) == ()


def test_a_vocabulary_is_left_out():
    tensor = ModelMetadataResponse.TensorMetadata(name="y")
    write_names(tensor, LABELS, [f"word {i}" for i in range(100_000)])
    assert sent(tensor).ByteSize() < 100


@pytest.mark.parametrize("text", ["", "[", '{"a": 1}', "[1]", "null", "\x00"])
def test_what_is_no_list_of_names_is_none(text):
    tensor = ModelMetadataResponse.TensorMetadata(name="y")
    tensor.parameters[LABELS].string_param = text
    assert read_names(sent(tensor), LABELS) == ()
