"""The table of methods."""

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor

from gateway.protocol.generated import inference_pb2 as pb
from gateway.serving.wire.services.method_table import SERVED, methods

EVERY_METHOD = {
    f"/{service.full_name}/{method.name}": method
    for service in SERVED
    for method in service.methods
}


def test_every_method_of_every_service_is_in_the_table_and_no_other(served):
    table = methods(served.services)
    assert table.unary.keys() | table.stream.keys() == EVERY_METHOD.keys()
    assert sum(path.startswith("/inference.GRPCInferenceService/") for path in EVERY_METHOD) == 20


def test_a_method_is_in_the_table_of_its_kind(served):
    def streams(method: MethodDescriptor) -> bool:
        return method.client_streaming or method.server_streaming

    assert methods(served.services).stream.keys() == {
        path for path, method in EVERY_METHOD.items() if streams(method)
    }


def test_the_hot_method_is_model_infer(served):
    table = methods(served.services)
    assert table.hot == "/inference.GRPCInferenceService/ModelInfer"
    assert table.unary[table.hot] == served.services.inference.model_infer


@pytest.mark.parametrize("kind", ["System", "Cuda"])
@pytest.mark.parametrize("verb", ["Status", "Register", "Unregister"])
def test_shared_memory_is_unimplemented_and_says_what_to_use(served, refused, kind, verb):
    code, text = refused(
        getattr(served.stub, f"{kind}SharedMemory{verb}"),
        getattr(pb, f"{kind}SharedMemory{verb}Request")(),
    )
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert text.startswith(
        {"System": "system", "Cuda": "CUDA"}[kind] + " shared memory is not served"
    )
    assert "raw_input_contents" in text


@pytest.mark.parametrize(
    "method",
    [
        "ModelReady",
        "ModelMetadata",
        "ModelConfig",
        "ModelStatistics",
        "RepositoryIndex",
        "RepositoryModelLoad",
        "RepositoryModelUnload",
        "TraceSetting",
        "LogSettings",
    ],
)
def test_bytes_that_are_no_request_are_invalid_and_no_bug(served, method):
    served.start_up()
    with pytest.raises(grpc.RpcError) as caught:
        served.channel.unary_unary(f"/inference.GRPCInferenceService/{method}")(
            b"\x0a\xff", timeout=10
        )
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details().startswith(f"the message is not a inference.{method}Request: ")
