"""Server reflection, and callers that have no .proto files."""

import base64
import json
import struct
import subprocess

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from gateway.protocol.generated import reflection_v1_pb2, reflection_v1alpha_pb2
from gateway.serving.wire.services.method_table import SERVED
from tests.support.checkout import ROOT
from tests.support.service_parts import two_versions

GHZ = ROOT / ".tools" / "bin" / "ghz"
SERVICES = [
    "gateway.control.v1.GatewayControl", "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
    "inference.GRPCInferenceService",
]  # fmt: skip


@pytest.fixture(params=[reflection_v1_pb2, reflection_v1alpha_pb2], ids=["v1", "v1alpha"])
def ask(request, served):
    """Asks questions on one stream, and returns the answers."""
    messages = request.param
    package = messages.DESCRIPTOR.package
    info = served.channel.stream_stream(
        f"/{package}.ServerReflection/ServerReflectionInfo",
        request_serializer=messages.ServerReflectionRequest.SerializeToString,
        response_deserializer=messages.ServerReflectionResponse.FromString,
    )

    def ask(*questions):
        return list(
            info(
                iter([messages.ServerReflectionRequest(**question) for question in questions]),
                timeout=10,
            )
        )

    ask.messages = messages
    return ask


def files(answer):
    return [
        descriptor_pb2.FileDescriptorProto.FromString(each)
        for each in answer.file_descriptor_response.file_descriptor_proto
    ]


def test_all_services_are_listed(ask):
    (answer,) = ask({"host": "here", "list_services": "*"})
    assert [each.name for each in answer.list_services_response.service] == SERVICES
    assert sorted(each.full_name for each in SERVED) == SERVICES
    assert (answer.valid_host, answer.original_request.list_services) == ("here", "*")


@pytest.mark.parametrize(
    ("symbol", "file"),
    [
        ("inference.GRPCInferenceService", "inference.proto"),
        ("inference.GRPCInferenceService.ModelInfer", "inference.proto"),
        ("inference.ModelInferRequest", "inference.proto"),
        ("inference.ModelInferRequest.InferInputTensor", "inference.proto"),
        ("inference.ModelInferRequest.id", "inference.proto"),
        ("inference.DataType", "model_config.proto"),
        ("gateway.control.v1.GatewayControl.SetBreaker", "gateway_control.proto"),
        ("grpc.health.v1.Health", "health.proto"),
        ("grpc.health.v1.HealthCheckResponse.ServingStatus", "health.proto"),
        ("grpc.reflection.v1.ServerReflection", "reflection_v1.proto"),
        ("grpc.reflection.v1alpha.ServerReflection", "reflection_v1alpha.proto"),
    ],
)
def test_a_symbol_leads_to_its_file_and_all_that_this_imports(ask, symbol, file):
    by_symbol, by_name = ask({"file_containing_symbol": symbol}, {"file_by_filename": file})
    assert files(by_symbol)[0].name == file
    assert {imported for each in files(by_symbol) for imported in each.dependency} <= {
        each.name for each in files(by_symbol)
    }
    assert files(by_symbol) == files(by_name)


@pytest.mark.parametrize(
    "question",
    [
        {"file_containing_symbol": "inference.Nothing"},
        {"file_containing_symbol": "inference.GRPCInferenceService.Nothing"},
        {"file_containing_symbol": ""},
        {"file_by_filename": "nothing.proto"},
        # the process's default pool has it, and the service does not serve it
        {"file_by_filename": "google/protobuf/descriptor.proto"},
        {"file_containing_symbol": "google.protobuf.FileDescriptorProto"},
        {"all_extension_numbers_of_type": "inference.Nothing"},
        {"all_extension_numbers_of_type": "google.protobuf.MessageOptions"},
    ],
)
def test_what_is_not_there_is_not_found_and_the_stream_goes_on(ask, question):
    missing, services = ask(question, {"list_services": ""})
    ((kind, name),) = question.items()
    assert missing.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    assert missing.error_response.error_message == f"{kind} '{name}' is not found"
    assert len(services.list_services_response.service) == len(SERVICES)


def test_there_are_no_extensions(ask):
    extension = ask.messages.ExtensionRequest(
        containing_type="inference.ModelInferRequest", extension_number=1
    )
    numbers, missing = ask(
        {"all_extension_numbers_of_type": "inference.ModelInferRequest"},
        {"file_containing_extension": extension},
    )
    assert numbers.all_extension_numbers_response.base_type_name == "inference.ModelInferRequest"
    assert list(numbers.all_extension_numbers_response.extension_number) == []
    assert missing.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


def test_a_question_that_asks_nothing_is_an_error_in_the_stream(ask):
    (answer,) = ask({"host": "here"})
    assert answer.error_response.error_code == grpc.StatusCode.INVALID_ARGUMENT.value[0]


def test_a_client_can_call_with_nothing_but_what_reflection_tells_it(ask, served):
    served.start_up(*two_versions())
    (answer,) = ask({"file_containing_symbol": "inference.GRPCInferenceService"})
    pool = descriptor_pool.DescriptorPool()
    for each in reversed(files(answer)):
        pool.Add(each)
    method = pool.FindServiceByName("inference.GRPCInferenceService").methods_by_name["ModelReady"]
    request, response = (
        message_factory.GetMessageClass(each) for each in (method.input_type, method.output_type)
    )
    call = served.channel.unary_unary(
        "/inference.GRPCInferenceService/ModelReady",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )
    assert call(request(name="m"), timeout=10).ready


def test_bytes_that_are_no_question_end_the_stream_as_invalid(ask, served):
    info = served.channel.stream_stream(
        f"/{ask.messages.DESCRIPTOR.package}.ServerReflection/ServerReflectionInfo"
    )
    with pytest.raises(grpc.RpcError) as caught:
        list(info(iter([b"\x0a\xff"]), timeout=10))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_an_open_stream_does_not_hold_up_the_stop(ask, served):
    info = served.channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_v1_pb2.ServerReflectionRequest.SerializeToString,
    )
    questions = [reflection_v1_pb2.ServerReflectionRequest(list_services="")]

    def ask_and_wait():
        yield questions[0]
        asked.result(10)

    from concurrent.futures import Future

    asked: Future[None] = Future()
    answers = info(ask_and_wait(), timeout=20)
    next(answers)
    served.do(served.streams.end)
    with pytest.raises(grpc.RpcError) as caught:
        next(answers)
    asked.set_result(None)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.skipif(not GHZ.exists(), reason="ghz is not installed (make tools)")
@pytest.mark.parametrize(
    ("call", "data"),
    [
        ("inference.GRPCInferenceService.ModelReady", {"name": "m"}),
        (
            "inference.GRPCInferenceService.ModelInfer",
            {
                "model_name": "m",
                "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4]}],
                "raw_input_contents": [base64.b64encode(struct.pack("<4f", 1, 2, 3, 4)).decode()],
            },
        ),
        ("grpc.health.v1.Health.Check", {}),
        ("inference.GRPCInferenceService.ModelStreamInfer", [{"model_name": "nobody"}]),
    ],
)
def test_ghz_needs_no_proto_files(served, call, data):
    served.start_up(*two_versions())
    done = subprocess.run(
        [
            GHZ,
            "--insecure",
            "--call",
            call,
            "-d",
            json.dumps(data),
            "-n",
            "20",
            "-c",
            "2",
            "-O",
            "json",
            served.address,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["statusCodeDistribution"] == {"OK": 20}
