"""The same numbers under the names that Triton gives them.

For dashboards and autoscalers that were made for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from gateway.core import grpc_status
from gateway.core.errors import REASONS, STATUS_OF_REASON, InstanceFailed, ModelFailed
from gateway.telemetry.metrics.cached_samples import Sample
from gateway.telemetry.metrics.families import Family, Kind, Labels


class Duration(Protocol):
    """How often something happened and how long it took together."""

    @property
    def count(self) -> int:
        """Times."""
        ...

    @property
    def ns(self) -> int:
        """Nanoseconds."""
        ...


class Counts(Protocol):
    """The numbers of one version, in the words of ModelStatistics."""

    @property
    def success(self) -> Duration:
        """Requests answered, from arrival to answer."""
        ...

    @property
    def queue(self) -> Duration:
        """Waiting."""
        ...

    @property
    def compute_input(self) -> Duration:
        """Putting requests together."""
        ...

    @property
    def compute_infer(self) -> Duration:
        """Running the model."""
        ...

    @property
    def compute_output(self) -> Duration:
        """Taking answers apart."""
        ...

    @property
    def inference_count(self) -> int:
        """Rows answered."""
        ...

    @property
    def execution_count(self) -> int:
        """Batches run."""
        ...

    @property
    def failures(self) -> Sequence[int]:
        """By place in `gateway.core.errors.REASONS`."""
        ...


def _counter(name: str, text: str) -> Family:
    return Family(f"nv_{name}", text, Kind.COUNTER, f"nv_{name}")


_FAILURE: Final = _counter(
    "inference_request_failure", "Number of failed inference requests, all batch sizes"
)
_COUNTERS: Final = (
    _counter(
        "inference_request_success", "Number of successful inference requests, all batch sizes"
    ),
    _counter(
        "inference_count", "Number of inferences performed (does not include cached requests)"
    ),
    _counter(
        "inference_exec_count",
        "Number of model executions performed (does not include cached requests)",
    ),
    _counter(
        "inference_request_duration_us",
        "Cumulative inference request duration in microseconds (includes cached requests)",
    ),
    _counter(
        "inference_queue_duration_us",
        "Cumulative inference queuing duration in microseconds (includes cached requests)",
    ),
    _counter(
        "inference_compute_input_duration_us",
        "Cumulative compute input duration in microseconds (does not include cached requests)",
    ),
    _counter(
        "inference_compute_infer_duration_us",
        "Cumulative compute inference duration in microseconds (does not include cached requests)",
    ),
    _counter(
        "inference_compute_output_duration_us",
        "Cumulative inference compute output duration in microseconds "
        "(does not include cached requests)",
    ),
)
PENDING: Final = Family(
    "nv_inference_pending_request_count",
    "Instantaneous number of pending requests awaiting execution per-model.",
    Kind.GAUGE,
    "nv_inference_pending_request_count",
)

# Of the reasons that Triton tells apart, the one that each of ours is.
_OF_STATUS: Final = {
    grpc_status.RESOURCE_EXHAUSTED: "REJECTED",
    grpc_status.DEADLINE_EXCEEDED: "REJECTED",
    grpc_status.CANCELLED: "CANCELED",
}
_BACKEND: Final = {ModelFailed.reason, InstanceFailed.reason}
_OTHER: Final = "OTHER"
_KINDS: Final = ("REJECTED", "CANCELED", "BACKEND", _OTHER)


def _kind(reason: str) -> int:
    return _KINDS.index(
        "BACKEND" if reason in _BACKEND else _OF_STATUS.get(STATUS_OF_REASON[reason], _OTHER)
    )


_KIND_OF: Final = tuple(map(_kind, REASONS))


def version_samples(labels: Labels, counts: Counts) -> Iterator[Sample]:
    """All counters of one version."""
    failures = [0] * len(_KINDS)
    for kind, count in zip(_KIND_OF, counts.failures, strict=False):
        failures[kind] += count
    for word, count in zip(_KINDS, failures, strict=True):
        yield _FAILURE, (*labels, ("reason", word)), count
    durations = (
        counts.success,
        counts.queue,
        counts.compute_input,
        counts.compute_infer,
        counts.compute_output,
    )
    values = (
        counts.success.count,
        counts.inference_count,
        counts.execution_count,
        *(each.ns // 1000 for each in durations),
    )
    for family, value in zip(_COUNTERS, values, strict=True):
        yield family, labels, value
