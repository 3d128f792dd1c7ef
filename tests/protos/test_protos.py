"""The messages are those of the Open Inference Protocol.

They have the names, numbers and bytes that its clients use.
"""

import re
from pathlib import Path

import pytest
from google.protobuf.message import Message

from gateway.protocol.generated import (
    health_pb2,
    inference_pb2,
    model_config_pb2,
    reflection_v1_pb2,
    reflection_v1alpha_pb2,
)
from tests.support.checkout import ROOT

RPCS = [
    "ServerLive",
    "ServerReady",
    "ModelReady",
    "ServerMetadata",
    "ModelMetadata",
    "ModelInfer",
    "ModelStreamInfer",
    "ModelConfig",
    "ModelStatistics",
    "RepositoryIndex",
    "RepositoryModelLoad",
    "RepositoryModelUnload",
    "SystemSharedMemoryStatus",
    "SystemSharedMemoryRegister",
    "SystemSharedMemoryUnregister",
    "CudaSharedMemoryStatus",
    "CudaSharedMemoryRegister",
    "CudaSharedMemoryUnregister",
    "TraceSetting",
    "LogSettings",
]

# message -> field=number, as the protocol has them; a message that is not here is compared with a
# client's in test_protos_tritonclient.py
FIELDS = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "live=1",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "ready=1",
    "ModelReadyRequest": "name=1 version=2",
    "ModelReadyResponse": "ready=1",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "name=1 version=2 extensions=3",
    "ModelMetadataRequest": "name=1 version=2",
    "ModelMetadataResponse": "name=1 versions=2 platform=3 inputs=4 outputs=5",
    "ModelMetadataResponse.TensorMetadata": "name=1 datatype=2 shape=3 parameters=4",
    "InferParameter": "bool_param=1 int64_param=2 string_param=3 double_param=4 uint64_param=5",
    "InferTensorContents": (
        "bool_contents=1 int_contents=2 int64_contents=3 uint_contents=4 uint64_contents=5 "
        "fp32_contents=6 fp64_contents=7 bytes_contents=8"
    ),
    "ModelInferRequest": (
        "model_name=1 model_version=2 id=3 parameters=4 inputs=5 outputs=6 raw_input_contents=7"
    ),
    "ModelInferRequest.InferInputTensor": "name=1 datatype=2 shape=3 parameters=4 contents=5",
    "ModelInferRequest.InferRequestedOutputTensor": "name=1 parameters=2",
    "ModelInferResponse": (
        "model_name=1 model_version=2 id=3 parameters=4 outputs=5 raw_output_contents=6"
    ),
    "ModelInferResponse.InferOutputTensor": "name=1 datatype=2 shape=3 parameters=4 contents=5",
    "ModelStreamInferResponse": "error_message=1 infer_response=2",
    "ModelConfigRequest": "name=1 version=2",
    "ModelConfigResponse": "config=1",
    "ModelStatisticsRequest": "name=1 version=2",
    "ModelStatisticsResponse": "model_stats=1",
    "ModelStatistics": (
        "name=1 version=2 last_inference=3 inference_count=4 execution_count=5 inference_stats=6 "
        "batch_stats=7 memory_usage=8 response_stats=9"
    ),
    "InferStatistics": (
        "success=1 fail=2 queue=3 compute_input=4 compute_infer=5 "
        "compute_output=6 cache_hit=7 cache_miss=8"
    ),
    "StatisticDuration": "count=1 ns=2",
    "InferBatchStatistics": "batch_size=1 compute_input=2 compute_infer=3 compute_output=4",
    "InferResponseStatistics": (
        "compute_infer=1 compute_output=2 success=3 fail=4 empty_response=5 cancel=6"
    ),
    "MemoryUsage": "type=1 id=2 byte_size=3",
    "RepositoryIndexRequest": "repository_name=1 ready=2",
    "RepositoryIndexResponse": "models=1",
    "RepositoryIndexResponse.ModelIndex": "name=1 version=2 state=3 reason=4",
    "ModelRepositoryParameter": "bool_param=1 int64_param=2 string_param=3 bytes_param=4",
    "RepositoryModelLoadRequest": "repository_name=1 model_name=2 parameters=3",
    "RepositoryModelLoadResponse": "model_name=1 isLoaded=2",
    "RepositoryModelUnloadRequest": "repository_name=1 model_name=2 parameters=3",
    "RepositoryModelUnloadResponse": "model_name=1 isUnloaded=2",
    "SystemSharedMemoryStatusRequest": "name=1",
    "SystemSharedMemoryStatusResponse": "regions=1",
    "SystemSharedMemoryStatusResponse.RegionStatus": "name=1 key=2 offset=3 byte_size=4",
    "SystemSharedMemoryRegisterRequest": "name=1 key=2 offset=3 byte_size=4",
    "SystemSharedMemoryUnregisterRequest": "name=1",
    "CudaSharedMemoryStatusRequest": "name=1",
    "CudaSharedMemoryStatusResponse": "regions=1",
    "CudaSharedMemoryStatusResponse.RegionStatus": "name=1 device_id=2 byte_size=3",
    "CudaSharedMemoryRegisterRequest": "name=1 raw_handle=2 device_id=3 byte_size=4",
    "CudaSharedMemoryUnregisterRequest": "name=1",
    "TraceSettingRequest": "settings=1 model_name=2",
    "TraceSettingRequest.SettingValue": "value=1",
    "TraceSettingResponse": "settings=1",
    "LogSettingsRequest": "settings=1",
    "LogSettingsRequest.SettingValue": "bool_param=1 uint32_param=2 string_param=3",
    "LogSettingsResponse": "settings=1",
    "ModelConfig": (
        "name=1 platform=2 version_policy=3 max_batch_size=4 input=5 output=6 "
        "instance_group=7 default_model_filename=8 cc_model_filenames=9 metric_tags=10 "
        "dynamic_batching=11 optimization=12 sequence_batching=13 parameters=14 "
        "ensemble_scheduling=15 model_warmup=16 backend=17 model_operations=18 "
        "model_transaction_policy=19 batch_input=20 batch_output=21 "
        "model_repository_agents=23 response_cache=24 runtime=25 model_metrics=26"
    ),
    "ModelInput": (
        "name=1 data_type=2 format=3 dims=4 reshape=5 is_shape_tensor=6 allow_ragged_batch=7 "
        "optional=8 is_non_linear_format_io=9"
    ),
    "ModelOutput": (
        "name=1 data_type=2 dims=3 label_filename=4 reshape=5 "
        "is_shape_tensor=6 is_non_linear_format_io=7"
    ),
    "ModelDynamicBatching": (
        "preferred_batch_size=1 max_queue_delay_microseconds=2 preserve_ordering=3 "
        "priority_levels=4 default_priority_level=5 default_queue_policy=6 priority_queue_policy=7"
    ),
    "ModelQueuePolicy": (
        "timeout_action=1 default_timeout_microseconds=2 allow_timeout_override=3 max_queue_size=4"
    ),
    "ModelVersionPolicy": "latest=1 all=2 specific=3",
    "ModelVersionPolicy.Latest": "num_versions=1",
    "ModelVersionPolicy.Specific": "versions=1",
    "ModelInstanceGroup": (
        "name=1 count=2 gpus=3 kind=4 profile=5 rate_limiter=6 passive=7 "
        "secondary_devices=8 host_policy=9"
    ),
    "ModelTensorReshape": "shape=1",
    "ModelWarmup": "name=1 batch_size=2 inputs=3 count=4",
    "ModelWarmup.Input": "data_type=1 dims=2 zero_data=3 random_data=4 input_data_file=5",
    "ModelTransactionPolicy": "decoupled=1",
    "ModelResponseCache": "enable=1",
    "ModelParameter": "string_value=1",
}


def message_descriptor(path: str):
    outer, *nested = path.split(".")
    module = (
        inference_pb2
        if outer in inference_pb2.DESCRIPTOR.message_types_by_name
        else model_config_pb2
    )
    descriptor = module.DESCRIPTOR.message_types_by_name[outer]
    for name in nested:
        descriptor = descriptor.nested_types_by_name[name]
    return descriptor


@pytest.mark.parametrize("path", FIELDS)
def test_a_message_has_the_protocols_field_numbers(path: str) -> None:
    expected = {
        name: int(number) for name, number in (fact.split("=") for fact in FIELDS[path].split())
    }
    assert {field.name: field.number for field in message_descriptor(path).fields} == expected


def test_the_service_has_the_twenty_rpcs_each_with_messages_of_its_own_name() -> None:
    service = inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert service.full_name == "inference.GRPCInferenceService"
    assert [method.name for method in service.methods] == RPCS
    for method in service.methods:
        streaming = method.name == "ModelStreamInfer"
        asked = "ModelInfer" if streaming else method.name
        assert (method.input_type.name, method.output_type.name) == (
            f"{asked}Request",
            f"{method.name}Response",
        )
        assert (method.client_streaming, method.server_streaming) == (streaming, streaming)


def test_the_data_types_have_the_protocols_numbers() -> None:
    names = (
        "INVALID BOOL UINT8 UINT16 UINT32 UINT64 INT8 INT16 INT32 INT64 FP16 FP32 FP64 STRING BF16"
    )
    assert model_config_pb2.DataType.keys() == [f"TYPE_{name}" for name in names.split()]
    assert model_config_pb2.DataType.values() == list(range(15))


@pytest.mark.parametrize(
    "path", sorted((ROOT / "protos").glob("*.proto")), ids=lambda path: path.name
)
def test_every_message_enum_service_and_rpc_is_explained(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    declared = [
        n for n, line in enumerate(lines) if re.match(r"\s*(message|enum|service|rpc) ", line)
    ]
    assert declared
    assert [lines[n] for n in declared if not lines[n - 1].lstrip().startswith("//")] == []


# ---- health and reflection

HEALTH_BYTES = [
    (
        health_pb2.HealthCheckRequest(service="inference.GRPCInferenceService"),
        b"\x0a\x1einference.GRPCInferenceService",
    ),
    (health_pb2.HealthCheckRequest(), b""),
    (health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING), b"\x08\x01"),
    (
        health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.NOT_SERVING),
        b"\x08\x02",
    ),
    (
        health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVICE_UNKNOWN),
        b"\x08\x03",
    ),
    (
        health_pb2.HealthListResponse(
            statuses={
                "a": health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
            }
        ),
        b"\x0a\x07\x0a\x01a\x12\x02\x08\x01",
    ),
]


@pytest.mark.parametrize(("message", "wire"), HEALTH_BYTES)
def test_health_messages_have_the_standard_bytes(message: Message, wire: bytes) -> None:
    assert message.SerializeToString() == wire
    assert type(message).FromString(wire) == message


def test_health_has_its_three_rpcs() -> None:
    service = health_pb2.DESCRIPTOR.services_by_name["Health"]
    assert service.full_name == "grpc.health.v1.Health"
    assert {method.name: method.server_streaming for method in service.methods} == {
        "Check": False,
        "List": False,
        "Watch": True,
    }


@pytest.mark.parametrize(
    ("module", "version"), [(reflection_v1_pb2, "v1"), (reflection_v1alpha_pb2, "v1alpha")]
)
def test_reflection_messages_have_the_standard_bytes_in_both_versions(module, version: str) -> None:
    request = module.ServerReflectionRequest
    extension = module.ExtensionRequest(containing_type="m", extension_number=9)
    assert request(host="h").SerializeToString() == b"\x0a\x01h"
    assert request(file_by_filename="f").SerializeToString() == b"\x1a\x01f"
    assert request(file_containing_symbol="s").SerializeToString() == b"\x22\x01s"
    assert (
        request(file_containing_extension=extension).SerializeToString()
        == b"\x2a\x05\x0a\x01m\x10\x09"
    )
    assert request(all_extension_numbers_of_type="t").SerializeToString() == b"\x32\x01t"
    assert request(list_services="").SerializeToString() == b"\x3a\x00"
    files = module.FileDescriptorResponse(file_descriptor_proto=[b"f"])
    numbers = module.ExtensionNumberResponse(base_type_name="b", extension_number=[1, 2])
    services = module.ListServiceResponse(service=[module.ServiceResponse(name="n")])
    error = module.ErrorResponse(error_code=5, error_message="e")
    response = module.ServerReflectionResponse
    assert (
        response(
            valid_host="h", original_request=request(host="h"), file_descriptor_response=files
        ).SerializeToString()
        == b"\x0a\x01h\x12\x03\x0a\x01h\x22\x03\x0a\x01f"
    )
    assert (
        response(all_extension_numbers_response=numbers).SerializeToString()
        == b"\x2a\x07\x0a\x01b\x12\x02\x01\x02"
    )
    assert (
        response(list_services_response=services).SerializeToString()
        == b"\x32\x05\x0a\x03\x0a\x01n"
    )
    assert response(error_response=error).SerializeToString() == b"\x3a\x05\x08\x05\x12\x01e"
    (service,) = module.DESCRIPTOR.services_by_name.values()
    (method,) = service.methods
    assert (
        f"/{service.full_name}/{method.name}"
        == f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    )
    assert method.client_streaming
    assert method.server_streaming
