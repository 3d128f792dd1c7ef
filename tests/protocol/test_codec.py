"""Requests and answers through the codec: every datatype, raw and typed.

Requests are parsed, or recognised by their layout; both must read the same.
"""

import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gateway.core.datatypes import BYTES, numpy_dtype
from gateway.core.errors import InvalidRequest, Unsupported
from gateway.core.plan import BatchingPlan, TensorSpec, VersionPlan
from gateway.core.request import Prediction
from gateway.protocol.answers import classify
from gateway.protocol.codec import VersionCodec
from gateway.protocol.fields import Malformed, bytes_tag, split_field
from gateway.protocol.generated.inference_pb2 import ModelInferRequest, ModelInferResponse
from gateway.protocol.layout import Layouts
from gateway.protocol.requests import ParsedRequest
from gateway.protocol.tensors import encode_raw, fill_typed

NUMBERS = [
    "BOOL",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "FP16",
    "FP32",
    "FP64",
    "BF16",
]
TYPED = [name for name in [*NUMBERS, BYTES] if name not in ("FP16", "BF16")]


def codec(*inputs, outputs=None, max_batch_size=0, splits=False):
    specs = tuple(
        TensorSpec(name, datatype, shape, optional) for name, datatype, shape, optional in inputs
    )
    outs = specs if outputs is None else tuple(TensorSpec(*o) for o in outputs)
    return VersionCodec(
        VersionPlan(
            "m", 3, "", "", specs, outs, BatchingPlan(max_batch_size=max_batch_size, splits=splits)
        )
    )


def message(*tensors, id="", raw=True, model="m", version="", outputs=()):  # noqa: A002
    request = ModelInferRequest(model_name=model, model_version=version, id=id)
    for name, datatype, array in tensors:
        tensor = request.inputs.add(name=name, datatype=datatype)
        tensor.shape.extend(array.shape)
        if raw:
            request.raw_input_contents.append(encode_raw(array, datatype))
        elif array.size:
            fill_typed(tensor.contents, array, datatype)
    for name in outputs:
        request.outputs.add(name=name)
    return request.SerializeToString()


def read(made, data, **options):
    return made.read(ParsedRequest(data), 0.0, **options)


def answered(made, got, prediction):
    return made.encode(got.id_field, got.request.form.outputs, prediction, got.choices)


@st.composite
def tensors(draw, datatypes):
    datatype = draw(st.sampled_from(datatypes))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    if datatype == BYTES:
        texts = draw(
            st.lists(st.text(max_size=5), min_size=math.prod(shape), max_size=math.prod(shape))
        )
        array = np.empty(len(texts), object)
        array[:] = texts
        return datatype, array.reshape(shape)
    if datatype == "BF16":
        return datatype, draw(hnp.arrays(np.uint16, shape)).view(numpy_dtype("BF16"))
    return datatype, draw(hnp.arrays(numpy_dtype(datatype), shape))


def same(left, right):
    if left.dtype == object:
        return left.shape == right.shape and left.tolist() == right.tolist()
    return (
        left.dtype == right.dtype
        and left.shape == right.shape
        and left.tobytes() == right.tobytes()
    )


@given(tensors([*NUMBERS, BYTES]), st.text(max_size=10))
def test_a_raw_tensor_arrives_as_it_was_sent(sent, request_id):
    datatype, array = sent
    made = codec(("x", datatype, array.shape, False))
    got = read(made, message(("x", datatype, array), id=request_id)).request
    assert same(got.inputs[0], array)
    assert got.id == request_id


@given(tensors(TYPED))
def test_a_typed_tensor_arrives_as_it_was_sent(sent):
    datatype, array = sent
    made = codec(("x", datatype, array.shape, False))
    data = message(("x", datatype, array), raw=False)
    # nothing says that there is no data, or that there are no elements
    if array.size == 0 and datatype == BYTES:
        return
    got = read(made, data).request
    if datatype in ("FP32", "FP64"):
        assert np.array_equal(got.inputs[0], array, equal_nan=True)
    else:
        assert same(got.inputs[0], array)


@given(tensors([*NUMBERS, BYTES]), st.text(max_size=10), st.booleans())
def test_an_answer_arrives_as_it_was_given(sent, request_id, typed):
    datatype, array = sent
    made = codec(("x", datatype, array.shape, False))
    request = ModelInferRequest.FromString(message(("x", datatype, array), id=request_id))
    request.parameters["binary_data_output"].bool_param = not typed
    got = read(made, request.SerializeToString())
    if typed and datatype in ("FP16", "BF16"):
        with pytest.raises(InvalidRequest, match="only travels raw"):
            answered(made, got, Prediction((array,)))
        return
    answer = ModelInferResponse.FromString(answered(made, got, Prediction((array,))))
    assert (answer.model_name, answer.model_version, answer.id) == ("m", "3", request_id)
    assert [(o.name, o.datatype, tuple(o.shape)) for o in answer.outputs] == [
        ("x", datatype, array.shape)
    ]
    assert len(answer.raw_output_contents) == (0 if typed else 1)
    assert answer.outputs[0].HasField("contents") is typed
    if not typed:
        assert answer.raw_output_contents[0] == encode_raw(array, datatype)


def test_a_raw_tensor_is_a_view_of_the_message():
    array = np.arange(6, dtype="f4").reshape(2, 3)
    data = message(("x", "FP32", array))
    got = read(codec(("x", "FP32", (2, 3), False)), data).request.inputs[0]
    assert not got.flags.owndata
    assert not got.flags.writeable
    assert np.shares_memory(got, np.frombuffer(data, np.uint8))


TWO = (("a", "FP32", (-1, 2), False), ("b", BYTES, (-1, 1), False))
SIZES = st.integers(0, 3)


def two(rows, seed, request_id, *, text="hé"):
    rng = np.random.default_rng(seed)
    strings = np.array([[f"{text}{i}"] for i in range(rows)], object).reshape(rows, 1)
    return message(("a", "FP32", rng.random((rows, 2), "f4")), ("b", BYTES, strings), id=request_id)


@settings(max_examples=200)
@given(SIZES, SIZES, st.text(max_size=3), st.text(max_size=3), st.integers(0, 9))
def test_a_layout_reads_what_parsing_reads(rows, other_rows, request_id, other_id, seed):
    """A message that is recognised by another's layout reads as it does when it is parsed."""
    made = codec(*TWO, max_batch_size=8)
    layouts = Layouts()
    read(made, two(rows, 0, request_id), learn=(layouts, "t"))
    data = two(other_rows, seed, other_id)
    found = layouts.find(data)
    fresh = read(made, data)
    if (rows, len(request_id.encode())) == (other_rows, len(other_id.encode())):
        assert found is not None
    if found is not None:
        fast = found.request(data, 0.0)
        assert found.target == "t"
        assert fast.form.rows == fresh.request.form.rows
        assert all(same(x, y) for x, y in zip(fast.inputs, fresh.request.inputs, strict=True))
        assert found.id_field(data) == fresh.id_field


@settings(max_examples=400)
@given(st.data())
def test_a_message_changed_anywhere_is_never_taken_for_another(data):
    """With any byte changed, the layout is not found, or it reads what parsing reads."""
    made = codec(*TWO, max_batch_size=8)
    layouts = Layouts()
    original = two(2, 1, "id-1")
    read(made, original, learn=(layouts, None))
    at = data.draw(st.integers(0, len(original) - 1))
    changed = bytearray(original)
    changed[at] ^= data.draw(st.integers(1, 255))
    changed = bytes(changed)
    found = layouts.find(changed)
    if found is None:
        return
    try:
        fresh = read(made, changed)
    except InvalidRequest:
        with pytest.raises(InvalidRequest):
            found.id_field(changed)
            found.request(changed, 0.0)
        return
    fast = found.request(changed, 0.0)
    assert all(same(x, y) for x, y in zip(fast.inputs, fresh.request.inputs, strict=True))
    assert found.id_field(changed) == fresh.id_field


def test_a_message_that_says_a_field_twice_is_not_learnt():
    made = codec(("x", "FP32", (1,), False))
    layouts = Layouts()
    data = message(("x", "FP32", np.ones(1, "f4")), id="one")
    end = data.index(b"one") + 3
    twice = data[:end] + b"\x1a\x03two" + data[end:]
    assert read(made, twice, learn=(layouts, None)).request.id == "two"
    assert layouts.find(twice) is None


def test_layouts_are_bounded():
    made = codec(("x", "FP32", (-1,), False))
    layouts = Layouts(capacity=4)
    for n in range(50):
        read(made, message(("x", "FP32", np.ones(n + 1, "f4"))), learn=(layouts, None))
    assert len(layouts._known) <= 4


@given(st.binary(max_size=200))
def test_no_bytes_break_the_parser(data):
    try:
        parsed = ParsedRequest(data)
        read(codec(("x", "FP32", (-1,), False)), data)
    except (InvalidRequest, Unsupported):
        return
    assert parsed.head is not None


@given(st.lists(st.binary(max_size=300), max_size=5), st.binary(max_size=20))
def test_splitting_a_field_off_loses_nothing(values, id_text):
    request = ModelInferRequest(model_name="m", raw_input_contents=values)
    request.id = id_text.hex()
    data = request.SerializeToString()
    rest, spans = split_field(data, 7)
    assert [data[at : at + n] for at, n in spans] == values
    request.ClearField("raw_input_contents")
    assert ModelInferRequest.FromString(rest) == request


def test_a_message_that_breaks_off_is_malformed():
    data = message(("x", "FP32", np.ones(3, "f4")))
    for end in range(len(data) - 12, len(data)):
        with pytest.raises(Malformed):
            split_field(data[:end], 7)


def test_a_message_of_very_many_fields_is_still_read():
    array = np.ones(2, "f4")
    # an unknown field, six thousand times
    data = message(("x", "FP32", array)) + b"\x90\x4e\x01" * 6000
    assert same(read(codec(("x", "FP32", (2,), False)), data).request.inputs[0], array)


F = np.ones((1, 2), "f4")
X = ("x", "FP32", (-1, 2), False)
RAW8 = F.tobytes()


def edit(change, *, id="7"):  # noqa: A002
    request = ModelInferRequest.FromString(message(("x", "FP32", F), id=id))
    change(request)
    return request.SerializeToString()


FAULTS = [
    (
        lambda r: r.inputs.add(name="y", datatype="FP32", shape=[1]),
        r"unexpected inference input 'y' for model 'm' \(inputs: x",
    ),
    (lambda r: r.inputs.add(name="x", datatype="FP32", shape=[1, 2]), "input 'x' already exists"),
    (
        lambda r: setattr(r.inputs[0], "datatype", "INT32"),
        "inference input 'x' data-type is 'INT32', but model 'm' expects 'FP32'",
    ),
    (
        lambda r: r.inputs[0].shape.__setitem__(1, 3),
        r"unexpected shape for input 'x' for model 'm'. Expected \[-1,2\], got \[1,3\]",
    ),
    (lambda r: r.inputs[0].shape.append(1), r"Expected \[-1,2\], got \[1,2,1\]"),
    (lambda r: r.inputs[0].shape.__setitem__(0, -1), "sizes must be 0 or more"),
    (lambda r: r.inputs[0].shape.__setitem__(0, 1 << 62), "sizes must be 0 or more and fit"),
    (
        lambda r: r.inputs[0].shape.__setitem__(slice(0, 2), [1 << 31, 0]),
        "sizes must be 0 or more and fit",
    ),
    (
        lambda r: r.inputs[0].shape.__setitem__(0, 5),
        "inference request batch-size must be <= 4 for 'm'|byte size mismatch",
    ),
    (
        lambda r: r.raw_input_contents.__setitem__(0, RAW8[:-1]),
        "input byte size mismatch for input 'x' for model 'm'. Expected 8, got 7",
    ),
    (lambda r: r.raw_input_contents.append(RAW8), "raw_input_contents has 2 entries, 1 more"),
    (
        lambda r: r.ClearField("raw_input_contents"),
        "unable to find data for input tensor 'x' for model 'm' in request.",
    ),
    (
        lambda r: r.inputs[0].contents.fp32_contents.append(1),
        "contents field must not be specified when using raw_input_contents for 'x' for model 'm'",
    ),
    (
        lambda r: r.ClearField("inputs") or r.ClearField("raw_input_contents"),
        r"missing required input\(s\) \['x'\]",
    ),
    (
        lambda r: r.outputs.add(name="z"),
        r"unexpected inference output 'z' for model 'm' \(outputs: ",
    ),
    (
        lambda r: (
            r.parameters["triton_x"].CopyFrom(type(r.parameters["q"])(bool_param=True))
            or r.parameters.pop("q")
        ),
        "reserved",
    ),
    (
        lambda r: setattr(r.parameters["priority"], "int64_param", -1),
        "parameter 'priority' must be a whole number",
    ),
    (
        lambda r: setattr(r.parameters["timeout"], "string_param", "soon"),
        "parameter 'timeout' must be a whole number",
    ),
    (
        lambda r: setattr(
            r.outputs.add(name="x").parameters["classification"], "string_param", "3"
        ),
        "'classification' must be a whole number",
    ),
]


@pytest.mark.parametrize(("change", "text"), FAULTS)
def test_a_faulty_request_is_refused_with_its_id_and_what_is_wrong(change, text):
    with pytest.raises(InvalidRequest, match=text) as caught:
        read(codec(X, max_batch_size=4), edit(change))
    assert str(caught.value).startswith("[request id: 7] ")


def test_an_error_of_a_request_without_an_id_says_so():
    with pytest.raises(
        InvalidRequest, match=r"^\[request id: <id_unknown>\] unexpected inference input"
    ):
        read(codec(("y", "FP32", (-1,), False)), edit(lambda r: None, id=""))


def test_rows_over_a_configured_limit_are_refused_and_over_an_unconfigured_one_are_split():
    data = message(("x", "FP32", np.ones((5, 2), "f4")))
    with pytest.raises(InvalidRequest, match="inference request batch-size must be <= 4 for 'm'"):
        read(codec(X, max_batch_size=4), data)
    assert read(codec(X, max_batch_size=4, splits=True), data).request.form.rows == 5


def test_inputs_must_agree_on_their_rows():
    data = message(("a", "FP32", np.ones((2, 2), "f4")), ("b", BYTES, np.array([["x"]], object)))
    with pytest.raises(
        InvalidRequest, match="input 'b' batch size does not match other inputs for 'm'"
    ):
        read(codec(*TWO, max_batch_size=4), data)


def test_optional_inputs_may_be_left_out_and_change_the_line():
    made = codec(X, ("y", "FP32", (-1, 1), True), max_batch_size=4)
    short = read(made, message(("x", "FP32", F))).request.form
    full = read(made, message(("y", "FP32", np.ones((1, 1), "f4")), ("x", "FP32", F))).request.form
    assert short.names == ("x",)
    assert full.names == ("x", "y")
    assert short.key != full.key


def test_shared_memory_is_unsupported_and_says_what_to_do():
    data = edit(
        lambda r: setattr(r.inputs[0].parameters["shared_memory_region"], "string_param", "r")
    )
    with pytest.raises(Unsupported, match="raw_input_contents"):
        read(codec(X, max_batch_size=4), data)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"\x05\0\0\0abc", "reaches 2 bytes past"),
        (b"\x01\0", "incomplete string length"),
        (b"\x01\0\0\0a\0", "unexpected number of string elements"),
        (b"\x02\0\0\0\xff\xfe", "input 's': element 0 is not UTF-8"),
    ],
)
def test_strings_that_do_not_fit_are_refused_naming_the_input(raw, text):
    request = ModelInferRequest(model_name="m", raw_input_contents=[raw])
    request.inputs.add(name="s", datatype=BYTES, shape=[1])
    with pytest.raises(InvalidRequest, match=text):
        read(codec(("s", BYTES, (1,), False)), request.SerializeToString())


def test_strings_may_hold_nul():
    array = np.array(["a\0b"], object)
    assert read(codec(("s", BYTES, (1,), False)), message(("s", BYTES, array))).request.inputs[
        0
    ].tolist() == ["a\0b"]


def test_typed_contents_in_the_wrong_field_or_out_of_range_are_refused():
    request = ModelInferRequest(model_name="m")
    tensor = request.inputs.add(name="x", datatype="INT8", shape=[1])
    tensor.contents.int_contents.append(200)
    with pytest.raises(InvalidRequest, match="does not fit"):
        read(codec(("x", "INT8", (1,), False)), request.SerializeToString())
    tensor.contents.fp32_contents.append(1)
    with pytest.raises(InvalidRequest, match="belong in 'int_contents'"):
        read(codec(("x", "INT8", (1,), False)), request.SerializeToString())


def test_typed_whole_numbers_keep_all_their_bits():
    values = np.array([0, 2**63 + 1, 2**64 - 1], "u8")
    got = read(
        codec(("x", "UINT64", (3,), False)), message(("x", "UINT64", values), raw=False)
    ).request.inputs[0]
    assert got.tolist() == values.tolist()


def test_requested_outputs_come_in_the_order_asked_for():
    outputs = (("p", "FP32", (-1, 2)), ("q", "FP32", (-1, 1)))
    made = codec(X, outputs=outputs, max_batch_size=4)
    got = read(made, message(("x", "FP32", F), outputs=("q", "p")))
    assert got.request.form.outputs == (1, 0)
    answer = ModelInferResponse.FromString(
        answered(made, got, Prediction((np.zeros((1, 1), "f4"), F)))
    )
    assert [o.name for o in answer.outputs] == ["q", "p"]


def test_classification_answers_value_index_and_label_largest_first():
    values = np.array([[0.1, 0.7, 0.2], [3, 1, 2]], "f4")
    assert classify(values, 2, ("a", "b"), batched=True).tolist() == [
        ["0.700000:1:b", "0.200000:2"],
        ["3.000000:0:a", "2.000000:2"],
    ]
    assert classify(values, 9, (), batched=False).shape == (6,)


def test_a_classified_output_travels_as_bytes():
    made = codec(X, outputs=(("p", "FP32", (-1, 3)),), max_batch_size=4)
    request = ModelInferRequest.FromString(message(("x", "FP32", F)))
    request.outputs.add(name="p").parameters["classification"].int64_param = 1
    got = read(made, request.SerializeToString())
    answer = ModelInferResponse.FromString(
        answered(made, got, Prediction((np.array([[1, 5, 2]], "f4"),)))
    )
    assert answer.outputs[0].datatype == BYTES
    assert list(answer.outputs[0].shape) == [1, 1]
    assert answer.raw_output_contents[0] == struct.pack("<I", 10) + b"5.000000:1"


def test_a_tag_is_what_protobuf_writes():
    assert (
        bytes_tag(6, 300) + b"x" * 300
        == ModelInferResponse(raw_output_contents=[b"x" * 300]).SerializeToString()
    )


def test_parameters_of_a_prediction_stand_in_the_answer():
    made = codec(X, max_batch_size=4)
    got = read(made, message(("x", "FP32", F)))
    answer = ModelInferResponse.FromString(
        answered(made, got, Prediction((F,), {"degraded": True, "served_by": "v2", "age": 3}))
    )
    assert answer.parameters["degraded"].bool_param
    assert answer.parameters["served_by"].string_param == "v2"
    assert answer.parameters["age"].int64_param == 3
