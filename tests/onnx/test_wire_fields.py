"""Fields of a message, read and written as protobuf has them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from gateway.onnx.model_faults import OnnxFileFault
from gateway.onnx.wire_fields import fields, first_value, integers, written

TENSORS = st.builds(
    TensorProto,
    dims=st.lists(st.integers(-(1 << 63), (1 << 63) - 1), max_size=5),
    name=st.text(max_size=10),
    float_data=st.lists(st.floats(width=32), max_size=5),
    raw_data=st.binary(max_size=20),
)


@given(TENSORS)
def test_all_fields_together_are_the_message(tensor):
    message = tensor.SerializeToString()
    assert b"".join(field.whole for field in fields(message)) == message


@given(TENSORS)
def test_numbers_and_bytes_are_read_as_protobuf_reads_them(tensor):
    message = tensor.SerializeToString()
    assert list(integers(message, 1)) == list(tensor.dims)
    assert first_value(message, 8) == tensor.name.encode()


@given(st.integers(1, 1000), st.binary(max_size=300))
def test_what_is_written_is_read_back(number, value):
    (field,) = fields(written(number, value))
    assert (field.number, bytes(field.value)) == (number, value)


@given(TENSORS, st.data())
def test_a_message_that_breaks_off_is_a_fault_or_ends_at_a_field(tensor, data):
    message = tensor.SerializeToString()
    cut = message[: data.draw(st.integers(0, len(message)))]
    try:
        read = list(fields(cut))
    except OnnxFileFault:
        return
    assert b"".join(field.whole for field in read) == cut


def test_an_unknown_wire_type_is_a_fault():
    with pytest.raises(OnnxFileFault, match="wire type 3"):
        list(fields(b"\x0b"))
