"""ModelStatistics: what all processes of the server did together."""

from __future__ import annotations

import asyncio
from typing import Final

from gateway.core.errors import InvalidRequest, ModelNotFound, Unavailable
from gateway.core.plan import VersionPlan
from gateway.protocol.generated.inference_pb2 import (
    InferBatchStatistics,
    InferStatistics,
    ModelStatistics,
    ModelStatisticsRequest,
    ModelStatisticsResponse,
    StatisticDuration,
)
from gateway.records.counters import StatisticsTable
from gateway.records.counting.counter_fields import Shape
from gateway.records.counting.counter_values import BatchCounts, Duration
from gateway.records.counting.version_counts import FIELDS, VersionCounts
from gateway.serving.routing.catalogue import Catalogue
from gateway.serving.wire.services.parsing import parse
from gateway.serving.wire.transport.interface import Call

_AT_ONCE: Final = 32  # versions read between two turns of the loop: a server may have thousands
_DURATIONS: Final = tuple(
    (each.statistics, each.name)
    for each in FIELDS
    if each.statistics and each.shape is Shape.DURATION
)
"""Members of `inference_stats`, and the counters that they show."""
_NUMBERS: Final = tuple(
    (each.statistics, each.name)
    for each in FIELDS
    if each.statistics and each.shape in {Shape.NUMBER, Shape.LATEST}
)
"""The same of ModelStatistics itself."""


class StatisticsService:
    """Answers the numbers of live versions from the table that all processes share."""

    def __init__(self, catalogue: Catalogue, table: StatisticsTable) -> None:
        self._catalogue = catalogue
        self._table = table

    async def model_statistics(self, _call: Call, message: bytes) -> bytes:
        """ModelStatistics.

        Of all models where no name is given, of all versions of a model where no version is.
        """
        request = parse(ModelStatisticsRequest, message)
        response = ModelStatisticsResponse()
        for number, plan in enumerate(self._plans(request.name, request.version), 1):
            response.model_stats.append(self._statistics(plan))
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
        return response.SerializeToString()

    def _plans(self, model: str, version: str) -> list[VersionPlan]:
        """The versions asked about.

        The texts, and INVALID_ARGUMENT for what is not there, are Triton's.
        """
        if not model:
            return [
                live.plan
                for name in self._catalogue.models()
                for live in self._catalogue.versions(name)
            ]
        if not version:
            plans = [live.plan for live in self._catalogue.versions(model)]
            if not plans:
                raise InvalidRequest(f"requested model '{model}' is not available")
            return plans
        try:
            return [self._catalogue.resolve(model, version).plan]
        except (ModelNotFound, Unavailable):
            if not self._catalogue.versions(model):
                raise InvalidRequest(f"requested model '{model}' is not available") from None
            raise InvalidRequest(
                f"requested model version is not available for model '{model}'"
            ) from None

    def _statistics(self, plan: VersionPlan) -> ModelStatistics:
        statistics = ModelStatistics(name=plan.model, version=str(plan.version))
        if plan.statistics_row < 0:  # nothing is counted of it yet
            statistics.inference_stats.SetInParent()
            return statistics
        counts = self._table.read(plan.statistics_row)
        for member, name in _NUMBERS:
            setattr(statistics, member, getattr(counts, name))
        statistics.inference_stats.CopyFrom(_inference_statistics(counts))
        statistics.batch_stats.extend(_batch_statistics(batch) for batch in counts.batches)
        return statistics


def _inference_statistics(counts: VersionCounts) -> InferStatistics:
    found = InferStatistics()
    for member, name in _DURATIONS:
        value: Duration = getattr(counts, name)
        getattr(found, member).CopyFrom(_duration(value.count, value.ns))
    return found


def _batch_statistics(batch: BatchCounts) -> InferBatchStatistics:
    return InferBatchStatistics(
        batch_size=batch.batch_size,
        compute_input=_duration(batch.count, batch.compute_input_ns),
        compute_infer=_duration(batch.count, batch.compute_infer_ns),
        compute_output=_duration(batch.count, batch.compute_output_ns),
    )


def _duration(count: int, ns: int) -> StatisticDuration:
    return StatisticDuration(count=count, ns=ns)
