"""The metrics of the telemetry process under the names that Triton gives them.

They are for dashboards and autoscalers that were made for Triton. What counters are called is
declared with them, in `gateway.records.counting.version_counts`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Final

from gateway.core import grpc_codes
from gateway.core.errors import REASONS, STATUS_OF_REASON, InstanceFailed, ModelFailed
from gateway.records.counting.counter_fields import CounterField, Shape, TritonMetric
from gateway.records.counting.version_counts import FIELDS, VersionCounts
from gateway.telemetry.metrics.cached_samples import Sample
from gateway.telemetry.metrics.families import Family, Kind, Labels


def _counter(metric: TritonMetric) -> Family:
    return Family(f"nv_{metric.name}", metric.help, Kind.COUNTER, f"nv_{metric.name}")


def _number(of: CounterField) -> Callable[[VersionCounts], int]:
    read: Callable[[VersionCounts], int] = attrgetter(
        f"{of.name}.count" if of.shape is Shape.DURATION else of.name
    )
    return read


(_FAILURE,) = (
    _counter(each.triton_count)
    for each in FIELDS
    if each.triton_count is not None and each.shape is Shape.REASONS
)
_NUMBERS: Final = tuple(
    (_counter(each.triton_count), _number(each))
    for each in FIELDS
    if each.triton_count is not None and each.shape is not Shape.REASONS
)
_TIMES: Final = tuple(
    (_counter(each.triton_us), attrgetter(f"{each.name}.ns"))
    for each in FIELDS
    if each.triton_us is not None
)
PENDING: Final = Family(
    "nv_inference_pending_request_count",
    "Instantaneous number of pending requests awaiting execution per-model.",
    Kind.GAUGE,
    "nv_inference_pending_request_count",
)

# The gRPC statuses that have a reason of their own among those that Triton distinguishes.
_OF_STATUS: Final = {
    grpc_codes.RESOURCE_EXHAUSTED: "REJECTED",
    grpc_codes.DEADLINE_EXCEEDED: "REJECTED",
    grpc_codes.CANCELLED: "CANCELED",
}
_BACKEND: Final = {ModelFailed.reason, InstanceFailed.reason}
_OTHER: Final = "OTHER"
_KINDS: Final = ("REJECTED", "CANCELED", "BACKEND", _OTHER)


def _kind(reason: str) -> int:
    return _KINDS.index(
        "BACKEND" if reason in _BACKEND else _OF_STATUS.get(STATUS_OF_REASON[reason], _OTHER)
    )


_KIND_OF: Final = tuple(map(_kind, REASONS))


def version_samples(labels: Labels, counts: VersionCounts) -> Iterator[Sample]:
    """All counters of one version."""
    failures = [0] * len(_KINDS)
    for kind, count in zip(_KIND_OF, counts.failures, strict=False):
        failures[kind] += count
    for word, count in zip(_KINDS, failures, strict=True):
        yield _FAILURE, (*labels, ("reason", word)), count
    for family, read in _NUMBERS:
        yield family, labels, read(counts)
    for family, read_ns in _TIMES:
        yield family, labels, read_ns(counts) // 1000
