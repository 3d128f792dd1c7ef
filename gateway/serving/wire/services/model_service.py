"""ModelMetadata and ModelConfig, in a serving process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.core.plan import TensorSpec
from gateway.protocol.fields import bytes_tag
from gateway.protocol.generated.inference_pb2 import (
    ModelConfigRequest,
    ModelMetadataRequest,
    ModelMetadataResponse,
)
from gateway.protocol.named_columns import COLUMNS, LABELS, write_names
from gateway.serving.routing.catalogue import Catalogue
from gateway.serving.wire.services.parsing import parse
from gateway.serving.wire.transport.interface import Call

# as Triton calls it; the specification's name, onnx_onnxv1, is known to no client
PLATFORM: Final = "onnxruntime_onnx"
_CONFIG: Final = 1  # field of ModelConfigResponse


class ModelService:
    """Describes live versions."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def model_metadata(self, _call: Call, message: bytes) -> bytes:
        """ModelMetadata: shapes have the batch axis, as -1.

        All live versions are named, or the one that was asked for. Class names and names of columns
        are parameters of their tensors.
        """
        request = parse(ModelMetadataRequest, message)
        plan = self._catalogue.resolve(request.name, request.version).plan
        named = (
            [plan]
            if request.version
            else [live.plan for live in self._catalogue.versions(request.name)]
        )
        response = ModelMetadataResponse(
            name=plan.model,
            versions=[str(each.version) for each in named],
            platform=PLATFORM,
            inputs=_metadata(plan.inputs),
            outputs=_metadata(plan.outputs),
        )
        return response.SerializeToString()

    async def model_config(self, _call: Call, message: bytes) -> bytes:
        """ModelConfig, as it stands in the plan: it is not parsed again."""
        request = parse(ModelConfigRequest, message)
        config = self._catalogue.resolve(request.name, request.version).plan.model_config
        return bytes_tag(_CONFIG, len(config)) + config


def _metadata(specs: Sequence[TensorSpec]) -> list[ModelMetadataResponse.TensorMetadata]:
    described = []
    for spec in specs:
        tensor = ModelMetadataResponse.TensorMetadata(
            name=spec.name, datatype=spec.datatype, shape=spec.shape
        )
        write_names(tensor, LABELS, spec.labels)
        write_names(tensor, COLUMNS, spec.columns)
        described.append(tensor)
    return described
