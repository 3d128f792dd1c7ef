"""The counters of a version: each of them is declared here, once.

From this is made all that the serving process and the telemetry process know of counters: the
layout of the shared table, what a reader gets of it, the metrics and Triton's, ModelStatistics and
the page's rates. A new counter is a field at the end of
`VersionCounts` and a line in the method of `gateway.records.counters.VersionStatistics` that
counts it: those write by hand, for speed, and a test holds them against this.
"""

# ruff: noqa: RUF009  # these calls are how a field is declared

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from gateway.records.counting.counter_fields import (
    ANSWERED,
    FAILED,
    CounterField,
    Metric,
    Percentiles,
    TritonMetric,
    batch_sizes,
    declared,
    duration,
    histogram,
    latest,
    number,
    reasons,
)
from gateway.records.counting.counter_values import BatchCounts, Duration, Histogram

_REQUEST_DURATION: Final = Metric(
    "gateway_request_duration_seconds",
    "Time from a request's arrival to its answer or its error.",
    "rpc.server.call.duration",
    "s",
)


@dataclass(frozen=True, slots=True)
class VersionCounts:
    """The numbers of one version over all processes.

    In this order they stand in a row of the table and are shown as metrics. The first of them bear
    the names that they have in `inference.ModelStatistics`.
    """

    success: Duration = duration(
        "record_request",
        source="request_time",
        statistics="success",
        triton_count=TritonMetric(
            "inference_request_success", "Number of successful inference requests, all batch sizes"
        ),
        triton_us=TritonMetric(
            "inference_request_duration_us",
            "Cumulative inference request duration in microseconds (includes cached requests)",
        ),
    )
    """Requests whose callers were answered: an answer that is too long to be sent is none."""
    fail: Duration = duration("record_failures", statistics="fail")
    queue: Duration = duration(
        "record_batch",
        statistics="queue",
        triton_us=TritonMetric(
            "inference_queue_duration_us",
            "Cumulative inference queuing duration in microseconds (includes cached requests)",
        ),
    )
    compute_input: Duration = duration(
        "record_batch",
        statistics="compute_input",
        triton_us=TritonMetric(
            "inference_compute_input_duration_us",
            "Cumulative compute input duration in microseconds (does not include cached requests)",
        ),
    )
    compute_infer: Duration = duration(
        "record_batch",
        statistics="compute_infer",
        triton_us=TritonMetric(
            "inference_compute_infer_duration_us",
            "Cumulative compute inference duration in microseconds "
            "(does not include cached requests)",
        ),
    )
    compute_output: Duration = duration(
        "record_batch",
        statistics="compute_output",
        triton_us=TritonMetric(
            "inference_compute_output_duration_us",
            "Cumulative inference compute output duration in microseconds "
            "(does not include cached requests)",
        ),
    )
    cache_hit: Duration = duration("", statistics="cache_hit")
    cache_miss: Duration = duration("", statistics="cache_miss")
    request_time: Histogram = histogram(
        "record_request",
        _REQUEST_DURATION,
        outcome=ANSWERED,
        percentiles=Percentiles("latency", (50, 90, 99)),
    )
    """Seconds from arrival to answer, of requests that were answered."""
    queue_time: Histogram = histogram(
        "record_request",
        Metric(
            "gateway_queue_duration_seconds",
            "Time that requests which were answered had waited for their batch.",
            "gateway.queue.duration",
            "s",
        ),
        percentiles=Percentiles("queue", (50, 90)),
    )
    """Seconds of waiting for a batch, of requests that were answered from one."""
    batch_time: Histogram = histogram(
        "record_batch",
        Metric(
            "gateway_batch_duration_seconds",
            "Time that batches took: requests joined, model run, answers split.",
            "gateway.batch.duration",
            "s",
        ),
    )
    """Seconds that batches which were answered took to be joined, run and split."""
    compute_time: Histogram = histogram(
        "record_batch",
        Metric(
            "gateway_compute_duration_seconds",
            "Time that the model took for a batch.",
            "gateway.compute.duration",
            "s",
        ),
        percentiles=Percentiles("compute", (50, 90)),
    )
    """Seconds that the model took for batches which were answered."""
    batches: tuple[BatchCounts, ...] = batch_sizes(
        "record_batch",
        Metric("gateway_batch_size_rows", "Rows of batches.", "gateway.batch.size", "{row}"),
        statistics="batch_stats",
    )
    """Batches by size: the sizes that occurred, ascending."""
    failures: tuple[int, ...] = reasons(
        "record_failure",
        Metric(
            "gateway_requests_total",
            "Requests that have ended, by gRPC status and reason; without a model: "
            "those for which none was found.",
            "gateway.requests",
            "{request}",
        ),
        triton_count=TritonMetric(
            "inference_request_failure", "Number of failed inference requests, all batch sizes"
        ),
    )
    """Requests not answered, by their place in `gateway.core.errors.REASONS`.

    As a metric they stand beside those that were answered.
    """
    inference_count: int = number(
        "record_batch",
        Metric(
            "gateway_inference_rows_total",
            "Rows that were answered.",
            "gateway.inference.rows",
            "{row}",
        ),
        statistics="inference_count",
        triton_count=TritonMetric(
            "inference_count", "Number of inferences performed (does not include cached requests)"
        ),
        rate="rows_per_s",
    )
    """Rows answered."""
    execution_count: int = number(
        "record_batch",
        Metric("gateway_batches_total", "Batches that were run.", "gateway.batches", "{batch}"),
        statistics="execution_count",
        triton_count=TritonMetric(
            "inference_exec_count",
            "Number of model executions performed (does not include cached requests)",
        ),
        rate="batches_per_s",
    )
    """Batches run."""
    last_inference_ms: int = latest("record_batch", statistics="last_inference")
    """When a batch was last answered, in milliseconds of the Unix epoch; 0: never."""
    retries: int = number(
        "record_retry",
        Metric(
            "gateway_retried_batches_total",
            "Batches that were run again because an instance failed.",
            "gateway.batches.retried",
            "{batch}",
        ),
        rate="retries_per_s",
    )
    degraded: int = number(
        "record_degraded",
        Metric(
            "gateway_degraded_requests_total",
            "Requests that a fallback answered.",
            "gateway.requests.degraded",
            "{request}",
        ),
        rate="degraded_per_s",
    )
    input_bytes: int = number(
        "record_bytes",
        Metric(
            "gateway_input_bytes_total",
            "Bytes of the tensors of requests.",
            "gateway.input.size",
            "By",
        ),
        rate="input_bytes_per_s",
    )
    output_bytes: int = number(
        "record_bytes",
        Metric(
            "gateway_output_bytes_total",
            "Bytes of the tensors of answers.",
            "gateway.output.size",
            "By",
        ),
        rate="output_bytes_per_s",
    )
    failure_time: Histogram = histogram("record_failure", _REQUEST_DURATION, outcome=FAILED)
    """Seconds from arrival to error, of requests that failed; shown where there are any."""


FIELDS: Final[tuple[CounterField, ...]] = tuple(map(declared, fields(VersionCounts)))
"""All counters, in their order."""
