"""What is wrong, odd or hostile in a message is answered with a clear error.

It never leads to a fault of the gateway's own.
"""

from __future__ import annotations

import itertools
import urllib.request
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from gateway.protocol.generated import inference_pb2 as pb
from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.support import graphs
from tests.support.callers import until
from tests.support.infer_calls import outputs, request
from tests.support.running import RunningGateway
from tests.support.tensor_bytes import DTYPES, difference, from_raw, raw

LIMIT = 1 << 20
SERVICE = "/inference.GRPCInferenceService/"
READING = (
    "ServerLive", "ServerReady", "ServerMetadata", "ModelReady", "ModelMetadata", "ModelConfig",
    "ModelStatistics", "RepositoryIndex", "SystemSharedMemoryStatus", "CudaSharedMemoryStatus",
    "TraceSetting", "LogSettings",
)  # fmt: skip
ELEMENTS = {
    "BOOL": TensorProto.BOOL, "UINT8": TensorProto.UINT8, "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32, "UINT64": TensorProto.UINT64, "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16, "INT32": TensorProto.INT32, "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16, "FP32": TensorProto.FLOAT, "FP64": TensorProto.DOUBLE,
    "BF16": TensorProto.BFLOAT16, "BYTES": TensorProto.STRING,
}  # fmt: skip
TYPED = [datatype for datatype in DTYPES if datatype not in ("FP16", "BF16")]
ROW = np.array([[1, 2, 3, 4]], "f4")
INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED


@pytest.fixture(scope="module", params=["completion-queue", "aio"])
def transport(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def served(transport, tmp_path_factory, cache) -> Iterator[RunningGateway]:
    """A gateway of one process with a message limit of 1 MiB.

    Its log must show no fault of its own.
    """
    folder = tmp_path_factory.mktemp("edges")
    models = folder / "models"
    graphs.scale(models, "double")
    graphs.scale(models, "limited")
    (models / "limited" / "model.yaml").write_text("batching:\n  max_batch_size: 4\n")
    for datatype, element in ELEMENTS.items():
        graphs.identity(models, f"same_{datatype}", element, ["rows", "columns"])
    fill = [helper.make_node("ConstantOfShape", ["shape"], ["y"])]
    graphs.save(
        models / "zeros/1/model.onnx",
        fill,
        [("shape", TensorProto.INT64, [1])],
        [("y", TensorProto.FLOAT, ["n"])],
    )
    add = [helper.make_node("Add", ["left", "right"], ["sum"])]
    pair = [(name, TensorProto.FLOAT, ["n", 4]) for name in ("left", "right")]
    graphs.save(models / "pair/1/model.onnx", add, pair, [("sum", TensorProto.FLOAT, ["n", 4])])
    options = (
        "--processes",
        "1",
        "--max-message-size",
        "1MiB",
        "--drain-delay",
        "0s",
        "--transport",
        transport,
    )
    with RunningGateway(models, folder / "gateway.log", *options, cache=cache) as gateway:
        yield gateway
        gateway.stop()
    assert not [
        line
        for line in gateway.text().splitlines()
        if "This is a bug" in line or "Traceback" in line or "never retrieved" in line
    ]


@pytest.fixture(scope="module")
def channel(served) -> Iterator[grpc.Channel]:
    with served.channel(**{"grpc.max_metadata_size": 1 << 16}) as opened:
        yield opened


@pytest.fixture(scope="module")
def stub(channel) -> GRPCInferenceServiceStub:
    return GRPCInferenceServiceStub(channel)


def refusal(call, *arguments, **named) -> tuple[grpc.StatusCode, str]:
    """The status and the text of the call's error."""
    with pytest.raises(grpc.RpcError) as raised:
        call(*arguments, timeout=20, **named)
    return raised.value.code(), raised.value.details()


def infer_bytes(channel: grpc.Channel, message: bytes, method: str = "ModelInfer") -> bytes:
    return channel.unary_unary(SERVICE + method)(message, timeout=20)


def changed(**fields) -> pb.ModelInferRequest:
    """A request that is in order but for these fields."""
    message = request("double", {"x": ROW}, id="r")
    for name, value in fields.items():
        setattr(message, name, value)
    return message


# Who is asked


@pytest.mark.parametrize(
    ("model", "version", "code", "text"),
    [
        ("nobody", "", NOT_FOUND, "Request for unknown model: 'nobody' is not found"),
        ("", "", NOT_FOUND, "Request for unknown model: '' is not found"),
        ("nobody", "3", NOT_FOUND, "Request for unknown model: 'nobody' is not found"),
        (
            "double",
            "3",
            NOT_FOUND,
            "Request for unknown model: 'double' version 3 is not found (live versions: 1)",
        ),
        (
            "double",
            "0",
            NOT_FOUND,
            "Request for unknown model: 'double' version 0 is not found (live versions: 1)",
        ),
        ("../double", "", NOT_FOUND, "Request for unknown model: '../double' is not found"),
        ("n\n%" * 3, "", NOT_FOUND, "Request for unknown model: 'n\n%n\n%n\n%' is not found"),
        *(
            (
                "double",
                odd,
                INVALID,
                (
                    f"failed to get model version from specified version string '{odd}' for "
                    "'double', version should be an"
                ),
            )
            for odd in ("one", "-1", "1.0", " 1", "\N{ARABIC-INDIC DIGIT ONE}", "9" * 30)
        ),
    ],
)
def test_models_and_versions_that_are_not_there_are_named(stub, model, version, code, text):
    message = request(model, {"x": ROW}, version=version, id="r")
    assert (found := refusal(stub.ModelInfer, message))[0] is code
    assert found[1].startswith(text)
    (answer,) = stub.ModelStreamInfer(iter([message]), timeout=20)
    assert answer.error_message.startswith(text)
    for call, kind in (
        (stub.ModelMetadata, pb.ModelMetadataRequest),
        (stub.ModelConfig, pb.ModelConfigRequest),
    ):
        assert refusal(call, kind(name=model, version=version)) == found


def test_a_very_long_name_comes_back_shortened(stub):
    """A status of more than the client's 16 KiB of headers would be no status at all."""
    code, text = refusal(stub.ModelInfer, request("ü" * 20_000, {"x": ROW}))
    assert code is NOT_FOUND
    assert text.startswith("Request for unknown model: 'üüü")


def test_methods_nobody_serves_are_unimplemented(channel):
    for path in (SERVICE + "Nothing", "/inference.Other/ModelInfer", "/x"):
        assert refusal(channel.unary_unary(path), b"")[0] is UNIMPLEMENTED


# Whether it is a message at all


@pytest.mark.parametrize(
    "message",
    [
        b"\xff",
        b"\x0a\x05ab",
        b"\x3a\xff\xff\xff\xff\x0f",
        b"\x00",
        b"\x0b",
        b"\xff" * 100,
        b"\x0a\x02\xff\xfe",
    ],
)
def test_what_is_no_message_is_refused(channel, message):
    code, text = refusal(channel.unary_unary(SERVICE + "ModelInfer"), message)
    assert (code, text.startswith("the message is not a ModelInferRequest")) == (INVALID, True)
    (answer,) = channel.stream_stream(
        SERVICE + "ModelStreamInfer", response_deserializer=pb.ModelStreamInferResponse.FromString
    )(iter([message]))
    assert answer.error_message.startswith("the message is not a ModelInferRequest")
    assert refusal(channel.unary_unary(SERVICE + "ModelMetadata"), b"\xff")[0] is INVALID


VALID = {
    "pair": request("pair", {"left": ROW, "right": ROW}, id="seventeen").SerializeToString(),
    "double": request("double", {"x": np.ones((3, 4), "f4")}, id="grün").SerializeToString(),
    "same_BYTES": request(
        "same_BYTES", {"x": np.array([["ab", "", "c\0"]], object)}, version="1"
    ).SerializeToString(),
}
mutations = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "double", "insert", "swap"]),
        st.integers(0, 130),
        st.binary(min_size=1, max_size=12),
    ),
    min_size=1,
    max_size=4,
)


def mutated(message: bytes, how: list[tuple[str, int, bytes]]) -> bytes:
    for kind, place, data in how:
        at = min(place, len(message))
        end = at + len(data)
        if kind == "flip":
            message = (
                message[:at]
                + bytes(a ^ b for a, b in zip(message[at:end], data, strict=False))
                + message[end:]
            )
        else:
            middle = {
                "cut": b"",
                "double": message[at:end] * 2,
                "insert": data + message[at:end],
                "swap": message[at:end][::-1],
            }[kind]
            message = message[:at] + middle + message[end:]
    return message


def meant(message: bytes) -> tuple[str, np.ndarray]:
    """The id of a message that is in order, and its answer, as protobuf reads it."""
    asked = pb.ModelInferRequest.FromString(message)
    tensors = {
        tensor.name: from_raw(data, tensor.datatype, tuple(tensor.shape))
        for tensor, data in zip(asked.inputs, asked.raw_input_contents, strict=True)
    }
    answers = {
        "pair": lambda: tensors["left"] + tensors["right"],
        "double": lambda: tensors["x"] * np.float32(2),
        "same_BYTES": lambda: tensors["x"],
    }
    with np.errstate(all="ignore"):
        return asked.id, answers[asked.model_name]()


@settings(
    max_examples=800, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(sorted(VALID)), mutations)
def test_a_damaged_message_is_refused_or_answered_for_what_it_says(channel, model, how):
    """A damaged message may still be in order.

    It is then read as protobuf reads it, also where its layout is that of an earlier message.
    """
    infer_bytes(channel, VALID[model])
    damaged = mutated(VALID[model], how)
    try:
        answer = pb.ModelInferResponse.FromString(infer_bytes(channel, damaged))
    except grpc.RpcError as error:
        assert error.code() in (INVALID, NOT_FOUND, UNIMPLEMENTED), error.details()  # noqa: PT017
        assert error.details()  # noqa: PT017
        return
    request_id, want = meant(damaged)
    (got,) = outputs(answer).values() if answer.outputs else (want,)
    assert (answer.id, got.shape) == (request_id, want.shape)
    assert np.array_equal(got, want, equal_nan=got.dtype.kind == "f")


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(READING), st.binary(max_size=60))
def test_no_message_makes_another_method_fail(channel, method, message):
    try:
        infer_bytes(channel, message, method)
    except grpc.RpcError as error:
        assert error.code() in (INVALID, NOT_FOUND, UNIMPLEMENTED), (method, error.details())  # noqa: PT017


def test_a_message_means_the_same_however_its_fields_are_laid_out(channel):
    """Protobuf lets fields come in any order, repeat, be unknown or take more bytes than needed."""
    whole = request("pair", {"left": ROW, "right": ROW * 10}, id="odd")
    tensors = whole.inputs
    values = whole.raw_input_contents
    name = b"\x0a\x04pair"
    ident = b"\x1a\x03odd"
    given_tensors = [
        b"\x2a" + bytes([tensor.ByteSize()]) + tensor.SerializeToString() for tensor in tensors
    ]
    given_values = [b"\x3a" + bytes([len(value)]) + value for value in values]
    layouts = [
        [name, ident, *given_tensors, *given_values],
        [*given_values, *given_tensors, ident, name],
        [given_tensors[0], given_values[0], name, given_values[1], given_tensors[1], ident],
        [b"\x0a\x05wrong", b"\x1a\x05wrong", name, ident, *given_tensors, *given_values],
        [
            name,
            ident,
            b"\xf8\x3f\x07",
            b"\xfa\x3f\x02ab",
            *given_tensors,
            b"\xfd\x3f1234",
            *given_values,
            b"\xf9\x3f12345678",
        ],
        [
            b"\x8a\x00\x84\x00pair",
            ident,
            *given_tensors,
            b"\x3a\x90\x00" + values[0],
            given_values[1],
        ],
    ]
    for layout in layouts:
        for _ in range(2):
            answer = pb.ModelInferResponse.FromString(infer_bytes(channel, b"".join(layout)))
            assert (answer.id, outputs(answer)["sum"].tolist()) == ("odd", (ROW * 11).tolist())


def test_a_message_of_thousands_of_fields_is_served(stub):
    message = request("pair", {"left": ROW, "right": ROW})
    for number in range(6000):
        message.parameters[f"p{number}"].int64_param = number
    assert outputs(stub.ModelInfer(message))["sum"].tolist() == (ROW * 2).tolist()


# What is in it


def wrong(**tensor) -> pb.ModelInferRequest:
    message = request("limited", {"x": ROW}, id="r")
    for name, value in tensor.items():
        if name == "shape":
            del message.inputs[0].shape[:]
            message.inputs[0].shape.extend(value)
        elif name == "raw":
            del message.raw_input_contents[:]
            message.raw_input_contents.extend(value)
        else:
            setattr(message.inputs[0], name, value)
    return message


def with_parameter(name: str, **value) -> pb.ModelInferRequest:
    message = request("limited", {"x": ROW}, id="r")
    message.parameters[name].SetInParent()
    for kind, given_value in value.items():
        setattr(message.parameters[name], kind, given_value)
    return message


def twice(message: pb.ModelInferRequest, field: str) -> pb.ModelInferRequest:
    if field == "inputs":
        message.raw_input_contents.append(message.raw_input_contents[0])
        message.inputs.append(message.inputs[0])
    else:
        message.outputs.add(name="y")
        message.outputs.add(name="y")
    return message


def raw_and_typed() -> pb.ModelInferRequest:
    message = request("limited", {"x": ROW}, id="r")
    message.inputs[0].contents.fp32_contents.append(1)
    return message


def typed_wrongly(field: str, *values) -> pb.ModelInferRequest:
    message = request("limited", {"x": ROW}, id="r", typed=True)
    message.inputs[0].ClearField("contents")
    getattr(message.inputs[0].contents, field).extend(values)
    return message


HUGE = "has shape [1099511627776,1099511627776]: sizes must be 0 or more and fit a message"


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (wrong(name="z"), "unexpected inference input 'z' for model 'limited' (inputs: x)"),
        (
            wrong(datatype="INT32"),
            "inference input 'x' data-type is 'INT32', but model 'limited' expects 'FP32'",
        ),
        (
            wrong(datatype="FLOAT"),
            "inference input 'x' data-type is 'FLOAT', but model 'limited' expects 'FP32'",
        ),
        (
            wrong(shape=[4]),
            "unexpected shape for input 'x' for model 'limited'. Expected [-1,4], got [4]",
        ),
        (
            wrong(shape=[1, 5]),
            "unexpected shape for input 'x' for model 'limited'. Expected [-1,4], got [1,5]",
        ),
        (
            wrong(shape=[]),
            "unexpected shape for input 'x' for model 'limited'. Expected [-1,4], got []",
        ),
        (
            wrong(shape=[-1, 4]),
            (
                "input 'x' for model 'limited' has shape [-1,4]: sizes must be "
                "0 or more and fit a message"
            ),
        ),
        (wrong(shape=[1 << 40, 1 << 40]), f"input 'x' for model 'limited' {HUGE}"),
        (
            wrong(shape=[2, 4]),
            "input byte size mismatch for input 'x' for model 'limited'. Expected 32, got 16",
        ),
        (
            wrong(raw=[b"12345"]),
            "input byte size mismatch for input 'x' for model 'limited'. Expected 16, got 5",
        ),
        (wrong(raw=[]), "unable to find data for input tensor 'x' for model 'limited' in request."),
        (
            wrong(raw=[bytes(16), bytes(16)]),
            (
                "raw_input_contents has 2 entries, 1 more than the request "
                "has inputs for model 'limited'"
            ),
        ),
        (
            request("limited", {"x": np.ones((5, 4), "f4")}, id="r"),
            "inference request batch-size must be <= 4 for 'limited'",
        ),
        (
            raw_and_typed(),
            (
                "contents field must not be specified when using raw_input_contents "
                "for 'x' for model 'limited'"
            ),
        ),
        (twice(wrong(), "inputs"), "input 'x' already exists in request for model 'limited'"),
        (twice(wrong(), "outputs"), "an output is requested more than once for model 'limited'"),
        (
            typed_wrongly("int_contents", 1, 2, 3, 4),
            (
                "input 'x' is FP32: its elements belong in 'fp32_contents', "
                "but 'int_contents' is filled"
            ),
        ),
        (
            typed_wrongly("fp32_contents", 1.0),
            (
                "unexpected number of elements for input 'x': shape [1, 4] "
                "has 4, 'fp32_contents' has 1"
            ),
        ),
        (
            request("pair", {"left": ROW}, id="r"),
            (
                "expected 2 inputs but got 1 inputs for model 'pair'. Got "
                "input(s) ['left'], but missing"
            ),
        ),
        (
            request("pair", {"left": ROW, "right": np.ones((2, 4), "f4")}, id="r"),
            "input 'right' batch size does not match other inputs for 'pair'",
        ),
        (
            with_parameter("triton_anything", bool_param=True),
            "parameter keys starting with 'triton_' are reserved for Triton usage",
        ),
        (
            with_parameter("priority", int64_param=-1),
            "parameter 'priority' must be a whole number of 0 or more, got -1",
        ),
        (
            with_parameter("priority", string_param="high"),
            "parameter 'priority' must be a whole number of 0 or more, got 'high'",
        ),
        (
            with_parameter("timeout", double_param=0.5),
            "parameter 'timeout' must be a whole number of 0 or more, got 0.5",
        ),
        (with_parameter("note"), "parameter 'note' has no value"),
    ],
)
def test_what_does_not_fit_is_refused_in_tritons_words_with_the_requests_id(stub, message, text):
    code, found = refusal(stub.ModelInfer, message)
    assert code is INVALID
    assert found.startswith(f"[request id: r] {text}")
    (answer,) = stub.ModelStreamInfer(iter([message]), timeout=20)
    assert answer.error_message == found
    assert answer.infer_response == pb.ModelInferResponse(id="r")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (
            b"\x02\0\0",
            "incomplete string length indicator for input 'x', expecting 1 elements, got 0",
        ),
        (
            b"\x05\0\0\0ab",
            "incomplete string data for input 'x', element 0 reaches 3 bytes past the tensor's end",
        ),
        (b"\xff\xff\xff\xffab", "incomplete string data for input 'x', element 0 reaches"),
        (
            b"\x01\0\0\0ab",
            "unexpected number of string elements for input 'x', expecting 1, got 1 bytes more",
        ),
        (b"\x02\0\0\0\xff\xfe", "input 'x': element 0 is not UTF-8"),
    ],
)
def test_strings_that_break_off_are_refused(stub, data, text):
    message = request("same_BYTES", {"x": np.array([["ab"]], object)}, id="r")
    message.raw_input_contents[0] = data
    for _ in range(2):
        code, found = refusal(stub.ModelInfer, message)
        assert (code, found.startswith(f"[request id: r] {text}")) == (INVALID, True), found


@pytest.mark.parametrize(
    ("datatype", "value"), [("INT8", 128), ("UINT8", 256), ("INT16", -40_000), ("UINT16", 1 << 16)]
)
def test_typed_numbers_that_do_not_fit_their_datatype_are_refused(stub, datatype, value):
    message = pb.ModelInferRequest(model_name=f"same_{datatype}")
    tensor = message.inputs.add(name="x", datatype=datatype, shape=[1, 1])
    (
        tensor.contents.int_contents
        if datatype.startswith("INT")
        else tensor.contents.uint_contents
    ).append(value)
    code, text = refusal(stub.ModelInfer, message)
    assert code is INVALID
    assert f"is {datatype}, and an element" in text


# Typed and raw


def sample(datatype: str) -> np.ndarray:
    if datatype == "BYTES":
        return np.array([["a\0b", "", "grün"], ["x", "y", "z"]], object)
    return np.array([[0, 1, 1], [1, 0, 100]]).astype(DTYPES[datatype])


@pytest.mark.parametrize("datatype", TYPED)
def test_typed_requests_have_raw_answers_and_typed_ones_where_they_ask(stub, datatype):
    array = sample(datatype)
    want = (
        np.array([[raw(np.array(e, object))[4:] for e in line] for line in array], object)
        if datatype == "BYTES"
        else array
    )
    for typed, asks in itertools.product((True, False), ("", "request", "output")):
        message = request(f"same_{datatype}", {"x": array}, id="7", typed=typed)
        if asks == "request":
            message.parameters["binary_data_output"].bool_param = False
        if asks == "output":
            message.outputs.add(name="y").parameters["binary_data_output"].bool_param = False
        answer = stub.ModelInfer(message)
        assert (len(answer.raw_output_contents), answer.outputs[0].HasField("contents")) == (
            (0, True) if asks else (1, False)
        )
        assert (answer.id, answer.model_name, answer.model_version) == (
            "7",
            f"same_{datatype}",
            "1",
        )
        assert not difference(outputs(answer)["y"], want)


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_datatypes_that_only_travel_raw_say_so(stub, datatype):
    message = request(f"same_{datatype}", {"x": sample(datatype)})
    message.parameters["binary_data_output"].bool_param = False
    code, text = refusal(stub.ModelInfer, message)
    assert (code, f"an output of datatype {datatype} only travels raw" in text) == (INVALID, True)
    typed = pb.ModelInferRequest(model_name=f"same_{datatype}")
    typed.inputs.add(name="x", datatype=datatype, shape=[1, 1]).contents.fp32_contents.append(1)
    code, text = refusal(stub.ModelInfer, typed)
    assert (
        code,
        f"is {datatype}, which has no typed contents: send it in raw_input_contents" in text,
    ) == (INVALID, True)


def test_zero_sizes_travel_typed(stub):
    message = request("same_FP32", {"x": np.empty((0, 3), "f4")}, typed=True)
    message.parameters["binary_data_output"].bool_param = False
    answer = stub.ModelInfer(message)
    assert (list(answer.outputs[0].shape), len(answer.raw_output_contents)) == ([0, 3], 0)


# Sizes


def test_a_message_over_the_limit_is_refused_naming_the_limit_and_the_connection_lives(
    served, channel, stub
):
    columns = LIMIT // 4
    fits = request("same_FP32", {"x": np.zeros((1, columns - 100), "f4")})
    over = request("same_FP32", {"x": np.zeros((1, columns), "f4")})
    for _ in range(2):
        code, text = refusal(stub.ModelInfer, over)
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "may have 1MiB (--max-message-size)" in text
        assert len(stub.ModelInfer(fits).raw_output_contents[0]) == 4 * (columns - 100)


def zeros(count, **names):
    return request("zeros", {"shape": np.array([count])}, **names)


def test_an_answer_over_the_limit_is_refused_naming_the_limit_and_the_option(stub):
    code, text = refusal(stub.ModelInfer, zeros(LIMIT))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "1MiB (--max-message-size)" in text
    assert outputs(stub.ModelInfer(zeros(3)))["y"].tolist() == [0, 0, 0]


def test_an_answer_over_the_limit_costs_a_stream_no_other_answer(stub):
    messages = [zeros(count, id=str(k)) for k, count in enumerate((1, LIMIT, 1, 1))]
    answers = list(stub.ModelStreamInfer(iter(messages), timeout=20))
    assert [answer.infer_response.id for answer in answers] == ["0", "1", "2", "3"]
    assert ["--max-message-size" in answer.error_message for answer in answers] == [
        False, True, False, False,
    ]  # fmt: skip


def test_an_answer_over_the_limit_is_counted_as_its_caller_saw_it(served, stub):
    before = [requests_ended(served, status) for status in ("OK", "RESOURCE_EXHAUSTED")]
    refusal(stub.ModelInfer, zeros(LIMIT))
    until(lambda: requests_ended(served, "RESOURCE_EXHAUSTED") == before[1] + 1)
    assert requests_ended(served, "OK") == before[0]


def requests_ended(served, status):
    """How many requests for `zeros` have ended so, by /metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{served.http_port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return sum(
        float(line.split()[-1])
        for line in lines
        if line.startswith("gateway_requests_total{")
        and 'model="zeros"' in line
        and f'status="{status}"' in line
    )


def test_a_compressed_message_counts_as_what_it_becomes(stub):
    bomb = request("same_FP32", {"x": np.zeros((1, 16 * LIMIT), "f4")})
    with pytest.raises(grpc.RpcError) as refused:
        stub.ModelInfer(bomb, compression=grpc.Compression.Gzip, timeout=20)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


# The rest


def test_a_kserve_client_loads_and_unloads_by_the_first_field(channel, stub):
    """Field 1 of KServe's requests is model_name, and has the number of repository_name here.

    The client reads model_name and isLoaded out of the answer.
    """
    loaded = channel.unary_unary(SERVICE + "RepositoryModelLoad")(b"\x0a\x06double", timeout=30)
    assert loaded == b"\x0a\x06double\x10\x01"
    unloaded = channel.unary_unary(SERVICE + "RepositoryModelUnload")(b"\x0a\x06double", timeout=30)
    assert unloaded == b"\x0a\x06double\x10\x01"
    assert not stub.ModelReady(pb.ModelReadyRequest(name="double")).ready
    channel.unary_unary(SERVICE + "RepositoryModelLoad")(b"\x0a\x06double", timeout=30)
    assert (
        outputs(stub.ModelInfer(request("double", {"x": ROW})))["y"].tolist() == (ROW * 2).tolist()
    )
    both = pb.RepositoryModelLoadRequest(repository_name="elsewhere", model_name="double")
    assert refusal(stub.RepositoryModelLoad, both)[0] is UNIMPLEMENTED
    assert refusal(stub.RepositoryModelLoad, pb.RepositoryModelLoadRequest()) == (
        INVALID,
        "'model_name' is empty: name the model",
    )


def test_a_stream_that_ends_at_its_first_error_leaves_nothing_behind(stub):
    """Three hundred more requests are on their way when the stream ends.

    The log, which is checked at the end, must not mention them.
    """
    bad = request("nobody", {"x": ROW})
    for _ in range(3):
        with pytest.raises(grpc.RpcError) as ended:
            list(
                stub.ModelStreamInfer(
                    iter([request("double", {"x": ROW}), *[bad] * 300]),
                    metadata=[("triton_grpc_error", "true")],
                    timeout=20,
                )
            )
        assert ended.value.code() is NOT_FOUND


def test_a_stream_of_nothing_ends_well(stub):
    assert list(stub.ModelStreamInfer(iter([]), timeout=20)) == []


def test_metadata_of_any_kind_is_taken(stub):
    metadata = [
        ("x-text", "1"),
        ("x-data-bin", b"\xff\0"),
        ("authorization", "Bearer x"),
        ("traceparent", "00-" + "a" * 32 + "-" + "b" * 16 + "-01"),
    ]
    answer, call = stub.ModelInfer.with_call(
        request("double", {"x": ROW}), metadata=metadata, timeout=20
    )
    assert outputs(answer)["y"].tolist() == (ROW * 2).tolist()
    assert call.code() is grpc.StatusCode.OK
    late = refusal(stub.ModelInfer, changed(model_name="nobody"), metadata=metadata)
    assert late[0] is NOT_FOUND
