"""Every method of the server by its path. Made once in each serving process."""

from __future__ import annotations

from typing import Final

import msgspec
from google.protobuf.descriptor import ServiceDescriptor

from gateway.protocol.generated import (
    gateway_control_pb2,
    health_pb2,
    inference_pb2,
    reflection_v1_pb2,
    reflection_v1alpha_pb2,
)
from gateway.serving.wire.services.breaker_service import BreakerService
from gateway.serving.wire.services.health_service import HealthService
from gateway.serving.wire.services.inference_service import InferenceService
from gateway.serving.wire.services.lifecycle_service import LifecycleService
from gateway.serving.wire.services.model_service import ModelService
from gateway.serving.wire.services.open_streams import OpenStreams
from gateway.serving.wire.services.reflection_service import Descriptors, ReflectionService
from gateway.serving.wire.services.repository_service import RepositoryService
from gateway.serving.wire.services.server_service import ServerService
from gateway.serving.wire.services.settings_service import SettingsService
from gateway.serving.wire.services.shared_memory import (
    refuse_cuda_shared_memory,
    refuse_system_shared_memory,
)
from gateway.serving.wire.services.statistics_service import StatisticsService
from gateway.serving.wire.transport.interface import (
    Methods,
    Refused,
    StreamMethod,
    UnaryMethod,
)

SERVED: Final[tuple[ServiceDescriptor, ...]] = (
    inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"],
    gateway_control_pb2.DESCRIPTOR.services_by_name["GatewayControl"],
    health_pb2.DESCRIPTOR.services_by_name["Health"],
    reflection_v1_pb2.DESCRIPTOR.services_by_name["ServerReflection"],
    reflection_v1alpha_pb2.DESCRIPTOR.services_by_name["ServerReflection"],
)

_INFERENCE: Final = "/inference.GRPCInferenceService"
_CONTROL: Final = "/gateway.control.v1.GatewayControl"
_HEALTH: Final = "/grpc.health.v1.Health"


class Services(msgspec.Struct, frozen=True):
    """All services of a server."""

    inference: InferenceService
    server: ServerService
    models: ModelService
    statistics: StatisticsService
    repository: RepositoryService
    settings: SettingsService
    health: HealthService
    streams: OpenStreams
    """The open streams of health and reflection; ended when the server is to stop."""
    breakers: BreakerService
    lifecycle: LifecycleService


def methods(services: Services) -> Methods:
    """The table that a transport serves."""
    unary = {
        **_inference(services),
        **_shared_memory(),
        **_control(services),
        f"{_HEALTH}/Check": services.health.check,
        f"{_HEALTH}/List": services.health.list,
    }
    stream: dict[str, StreamMethod] = {
        f"{_INFERENCE}/ModelStreamInfer": services.inference.model_stream_infer,
        f"{_HEALTH}/Watch": services.health.watch,
    }
    descriptors = Descriptors(SERVED)
    for package, messages in (
        ("grpc.reflection.v1", reflection_v1_pb2),
        ("grpc.reflection.v1alpha", reflection_v1alpha_pb2),
    ):
        reflection = ReflectionService(messages, descriptors, services.streams)
        stream[f"/{package}.ServerReflection/ServerReflectionInfo"] = (
            reflection.server_reflection_info
        )
    return Methods(
        unary, stream, hot=f"{_INFERENCE}/ModelInfer", refused=_refused(services.inference)
    )


def _refused(inference: InferenceService) -> dict[str, Refused]:
    return {
        f"{_INFERENCE}/ModelInfer": inference.refused,
        f"{_INFERENCE}/ModelStreamInfer": inference.refused_in_stream,
    }


def _inference(services: Services) -> dict[str, UnaryMethod]:
    return {
        f"{_INFERENCE}/ServerLive": services.server.server_live,
        f"{_INFERENCE}/ServerReady": services.server.server_ready,
        f"{_INFERENCE}/ServerMetadata": services.server.server_metadata,
        f"{_INFERENCE}/ModelReady": services.server.model_ready,
        f"{_INFERENCE}/ModelMetadata": services.models.model_metadata,
        f"{_INFERENCE}/ModelConfig": services.models.model_config,
        f"{_INFERENCE}/ModelInfer": services.inference.model_infer,
        f"{_INFERENCE}/ModelStatistics": services.statistics.model_statistics,
        f"{_INFERENCE}/RepositoryIndex": services.repository.repository_index,
        f"{_INFERENCE}/RepositoryModelLoad": services.repository.repository_model_load,
        f"{_INFERENCE}/RepositoryModelUnload": services.repository.repository_model_unload,
        f"{_INFERENCE}/TraceSetting": services.settings.trace_setting,
        f"{_INFERENCE}/LogSettings": services.settings.log_settings,
    }


def _control(services: Services) -> dict[str, UnaryMethod]:
    return {
        f"{_CONTROL}/ListModels": services.lifecycle.list_models,
        f"{_CONTROL}/ReloadModels": services.lifecycle.reload_models,
        f"{_CONTROL}/ListBreakers": services.breakers.list_breakers,
        f"{_CONTROL}/SetBreaker": services.breakers.set_breaker,
    }


def _shared_memory() -> dict[str, UnaryMethod]:
    verbs = ("Status", "Register", "Unregister")
    return {
        **{f"{_INFERENCE}/SystemSharedMemory{verb}": refuse_system_shared_memory for verb in verbs},
        **{f"{_INFERENCE}/CudaSharedMemory{verb}": refuse_cuda_shared_memory for verb in verbs},
    }
