"""Requests and answers of remotes, compared with protobuf and the protocol's raw bytes.

The raw bytes are written here without the gateway's codec.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from msgspec.structs import replace

from gateway.core.errors import ModelFailed
from gateway.core.plan import TensorSpec
from gateway.core.protection import RemotePlan
from gateway.protocol.generated import inference_pb2 as pb
from gateway.serving.runtime.remote.request_encoding import BatchCodec, row_parts
from tests.support.infer_calls import _TYPED
from tests.support.remote_parts import doubled, rows, version
from tests.support.tensor_bytes import DTYPES, difference, raw


def codec(datatype="FP32", shape=(-1, 4), **plan):
    return BatchCodec(version(datatype=datatype, shape=shape), RemotePlan("there:1", **plan))


@st.composite
def tensors(draw):
    """A datatype and an array of it, of any shape with a first axis."""
    datatype = draw(st.sampled_from(sorted(DTYPES)))
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5))
    if datatype == "BYTES":
        return datatype, draw(hnp.arrays(object, shape, elements=st.text(max_size=5)))
    size = DTYPES[datatype].itemsize
    if datatype == "BOOL":
        return datatype, draw(hnp.arrays("?", shape))
    return datatype, np.frombuffer(
        draw(st.binary(min_size=size * 125, max_size=size * 125)), DTYPES[datatype]
    )[: np.prod(shape)].reshape(shape)


@given(tensors())
@settings(max_examples=200, deadline=None)
def test_a_request_is_what_protobuf_would_write(drawn):
    datatype, array = drawn
    made = codec(datatype, (-1,) * array.ndim, model="theirs", version="7")
    for _ in range(2):  # the second finds its head remembered
        request = pb.ModelInferRequest.FromString(made.encode({"x": array}, (0,)))
        assert (request.model_name, request.model_version) == ("theirs", "7")
        (tensor,) = request.inputs
        assert (tensor.name, tensor.datatype, tuple(tensor.shape)) == ("x", datatype, array.shape)
        assert list(request.raw_input_contents) == [raw(array)]
        assert [output.name for output in request.outputs] == ["y"]


def test_the_model_is_asked_for_by_its_own_name_and_the_newest_version_where_nothing_is_said():
    request = pb.ModelInferRequest.FromString(codec().encode({"x": rows(1)}, (0,)))
    assert (request.model_name, request.model_version) == ("m", "")


@given(tensors(), st.booleans())
@settings(max_examples=200, deadline=None)
def test_an_answer_is_read_bit_for_bit(drawn, typed):
    datatype, array = drawn
    response = pb.ModelInferResponse(model_name="m")
    tensor = response.outputs.add(name="y", datatype=datatype, shape=array.shape)
    if typed and datatype in _TYPED and not (array.dtype.kind == "f" and np.isnan(array).any()):
        elements = (
            [str(e).encode() for e in array.ravel()]
            if datatype == "BYTES"
            else array.ravel().tolist()
        )
        getattr(tensor.contents, _TYPED[datatype]).extend(elements)
    else:
        response.raw_output_contents.append(raw(array))
    (got,) = codec(datatype, (-1,) * array.ndim).decode(
        response.SerializeToString(), (0,), len(array)
    )
    assert not difference(got, array)


def test_a_large_answer_is_not_copied():
    x = rows(10_000)
    message = doubled(
        pb.ModelInferRequest.FromString(codec().encode({"x": x}, (0,)))
    ).SerializeToString()
    (got,) = codec().decode(message, (0,), 10_000)
    assert (got == x * 2).all()
    assert not got.flags.owndata
    assert not got.flags.writeable


def answer(name="y", datatype="FP32", shape=(2, 4), data=bytes(32), **more):
    response = pb.ModelInferResponse(raw_output_contents=[] if data is None else [data], **more)
    response.outputs.add(name=name, datatype=datatype, shape=shape)
    return response.SerializeToString()


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (b"", "without the output 'y': it has none"),
        (b"\xff\xff", "no ModelInferResponse"),
        (b"\x0a\x05ab", "no ModelInferResponse"),
        (answer(name="z"), "without the output 'y': it has z"),
        (answer(datatype="FP64"), "'y' as FP64, it is FP32 here"),
        (
            answer(shape=(3, 4), data=bytes(48)),
            "was given 2 rows and answered 'y' with shape [3,4]",
        ),
        (answer(shape=(2, 5), data=bytes(40)), "with shape [2,5], it is [-1,4] here"),
        (answer(shape=(8,)), "with shape [8], it is [-1,4] here"),
        (answer(shape=(-2, -4)), "with shape [-2,-4]"),
        (answer(data=bytes(31)), "[2,4] in 31 bytes"),
        (answer(data=None), "unexpected number of elements for output 'y'"),
        (
            answer() + pb.ModelInferResponse(raw_output_contents=[b""]).SerializeToString(),
            "1 outputs with 2 raw contents",
        ),
    ],
)
def test_an_answer_that_is_none_names_the_address(message, says):
    with pytest.raises(ModelFailed) as caught:
        codec().decode(message, (0,), 2)
    assert "there:1" in str(caught.value)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ((2,), b"\x05\0\0\0ab"),
        ((2,), bytes(4)),
        ((1 << 40,), bytes(4)),
        ((1,), b"\x01\0\0\0\xff"),
        ((1,), bytes(5)),
    ],
)
def test_texts_that_break_off_are_no_answer(shape, data):
    with pytest.raises(ModelFailed, match="there:1 answered"):
        codec("BYTES", (-1,)).decode(answer(datatype="BYTES", shape=shape, data=data), (0,), -1)


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_fail_the_model(message):
    with pytest.raises(ModelFailed, match="there:1"):
        codec().decode(message, (0,), 2)


def test_outputs_are_taken_by_name_and_what_was_not_asked_for_is_left():
    response = pb.ModelInferResponse(raw_output_contents=[b"\1", bytes(8), b"\2\0\0\0\0\0\0\0"])
    for name, datatype, shape in (
        ("extra", "BOOL", (1,)),
        ("b", "INT64", (1,)),
        ("a", "INT64", (1,)),
    ):
        response.outputs.add(name=name, datatype=datatype, shape=shape)
    plan = replace(
        version(),
        outputs=(
            TensorSpec("a", "INT64", (-1,)),
            TensorSpec("b", "INT64", (-1,)),
            TensorSpec("c", "FP32", (-1,)),
        ),
    )
    got = BatchCodec(plan, RemotePlan("there:1")).decode(response.SerializeToString(), (1, 0), 1)
    assert [array.tolist() for array in got] == [[0], [2]]


@given(st.integers(1, 500), st.integers(1, 100))
def test_parts_hold_all_rows_once_in_order_and_as_few_as_can_be(count, most):
    parts = row_parts(count, most)
    assert [row for part in parts for row in range(count)[part]] == list(range(count))
    sizes = [part.stop - part.start for part in parts]
    assert max(sizes) <= most
    assert max(sizes) - min(sizes) <= 1
    assert len(parts) == -(-count // most)
