"""Every metric that the telemetry process shows: its name, its meaning, its unit.

Those of counters are declared with them, in `gateway.records.counting.version_counts`. Nothing else
gives names to metrics.
"""

from __future__ import annotations

from typing import Final

from gateway.core.errors import REASONS, STATUS_OF_REASON
from gateway.core.grpc_codes import STATUS_NAMES
from gateway.records.counting.counter_fields import Metric, Shape
from gateway.records.counting.version_counts import FIELDS
from gateway.records.histogram_bounds import SIZE_BOUNDS, TIME_BOUNDS_S
from gateway.telemetry.metrics.families import Family, Kind

# Labels. Their values are names of models that are loaded, and words of the gateway's own: never
# what a request contains.
MODEL: Final = "model"
VERSION: Final = "version"
PROCESS: Final = "process"
"""The slot of a serving process, 0 and up.

A process that is started anew has the slot of the one before it.
"""
MODEL_INSTANCE: Final = "model_instance"
"""What runs batches and can fail on its own: a worker process, a remote address.

It is empty where the version as a whole is meant.
"""
OUTCOME: Final = "outcome"
"""`ANSWERED` or `FAILED` of `gateway.records.counting.counter_fields`."""
STATUS: Final = "status"
"""What gRPC calls the end of the request: OK, UNAVAILABLE, ..."""
REASON: Final = "reason"
"""One of `gateway.core.errors.REASONS`; empty where the request was answered."""
STATE: Final = "state"
"""A state has a series for each word that it could be: 1 for the one it is, 0 for the others."""
PHASE: Final = "phase"
EXPORTER: Final = "exporter"
"""An exporter as it is named in the configuration; each gets every span."""

ATTRIBUTES: Final = {
    MODEL: "gateway.model.name",
    VERSION: "gateway.model.version",
    PROCESS: "gateway.process",
    MODEL_INSTANCE: "gateway.instance",
    OUTCOME: "gateway.outcome",
    STATUS: "rpc.response.status_code",
    REASON: "error.type",
    EXPORTER: "gateway.exporter",
}
"""What OpenTelemetry calls the labels that it has a word for, or that need a prefix there.

The others have the same name there.
"""
OK: Final = "OK"
ENDINGS: Final = tuple(
    (index, STATUS_NAMES[STATUS_OF_REASON[reason]], reason)
    for index, reason in enumerate(REASONS)
    if reason
)
"""The place in the counters, the status and the reason of each way in which a request may fail."""

BREAKER_STATES: Final = ("closed", "open", "half-open")
MODEL_STATES: Final = ("READY", "LOADING", "UNLOADING", "UNAVAILABLE")
PHASES: Final = ("starting", "serving", "draining", "stopping")


def _family(metric: Metric, shape: Shape) -> Family:
    kind = Kind.HISTOGRAM if shape in _BOUNDS else Kind.COUNTER
    bounds = _BOUNDS.get(shape, ())
    return Family(metric.name, metric.help, kind, metric.otlp_name, metric.unit, bounds)


def _counted() -> dict[str, Family]:
    """The family of each counter, by its name; two counters of one metric have one family."""
    families: dict[Metric, Family] = {}
    found = {}
    for each in FIELDS:
        if each.metric is not None:
            if each.metric not in families:
                families[each.metric] = _family(each.metric, each.shape)
            found[each.name] = families[each.metric]
    return found


# What is counted of a version, by all processes together.
_BOUNDS: Final[dict[Shape, tuple[float, ...]]] = {
    Shape.HISTOGRAM: TIME_BOUNDS_S,
    Shape.BATCH_SIZES: SIZE_BOUNDS,
}
COUNTED: Final = _counted()
"""Families by the name of the counter that they show."""
REQUEST_DURATION: Final = COUNTED["request_time"]
REQUESTS: Final = COUNTED["failures"]

# What holds of a version in a process at the moment.
QUEUED: Final = Family(
    "gateway_queue_requests",
    "Requests that wait for a batch.",
    Kind.GAUGE,
    "gateway.queue.requests",
    "{request}",
)
QUEUED_BYTES: Final = Family(
    "gateway_queue_bytes",
    "Bytes of the inputs that wait for a batch.",
    Kind.GAUGE,
    "gateway.queue.size",
    "By",
)
IN_FLIGHT: Final = Family(
    "gateway_in_flight_requests",
    "Requests that have arrived and not ended, by version.",
    Kind.GAUGE,
    "gateway.requests.in_flight",
    "{request}",
)
RUNNING: Final = Family(
    "gateway_running_batches", "Batches that run.", Kind.GAUGE, "gateway.batches.running", "{batch}"
)
BREAKER_STATE: Final = Family(
    "gateway_breaker_state",
    "1 for the state that a circuit breaker is in, 0 for the others.",
    Kind.GAUGE,
    "gateway.breaker.state",
)
BREAKER_FORCED: Final = Family(
    "gateway_breaker_forced",
    "1 where an operator holds a circuit breaker.",
    Kind.GAUGE,
    "gateway.breaker.forced",
)
INSTANCE_UP: Final = Family(
    "gateway_model_instance_up",
    "Whether a worker process or remote address can run batches.",
    Kind.GAUGE,
    "gateway.instance.up",
)
INSTANCE_RUNNING: Final = Family(
    "gateway_model_instance_running_batches",
    "Batches that run on an instance.",
    Kind.GAUGE,
    "gateway.instance.batches.running",
    "{batch}",
)

# What holds of a serving process.
PROCESS_UP: Final = Family(
    "gateway_process_up", "Whether a serving process serves.", Kind.GAUGE, "gateway.process.up"
)
RESTARTS: Final = Family(
    "gateway_process_restarts_total",
    "Serving processes that were started in place of one that ended.",
    Kind.COUNTER,
    "gateway.process.restarts",
)
LOOP_LAG: Final = Family(
    "gateway_event_loop_lag_seconds",
    "The latest that the event loop of a serving process came to a timer within the last second.",
    Kind.GAUGE,
    "gateway.event_loop.lag",
    "s",
)
PROCESS_IN_FLIGHT: Final = Family(
    "gateway_process_in_flight_requests",
    "Requests that have arrived and not ended.",
    Kind.GAUGE,
    "gateway.process.requests.in_flight",
    "{request}",
)
CPU: Final = Family(
    "gateway_process_cpu_seconds_total",
    "Processor time of a serving process.",
    Kind.COUNTER,
    "gateway.process.cpu.time",
    "s",
)
MEMORY: Final = Family(
    "gateway_process_resident_memory_bytes",
    "Memory that a serving process has in RAM.",
    Kind.GAUGE,
    "gateway.process.memory.usage",
    "By",
)
RECORDS_DROPPED: Final = Family(
    "gateway_records_dropped_total",
    "Records of requests for traces and logs that found no room; counters are not made of them.",
    Kind.COUNTER,
    "gateway.records.dropped",
    "{record}",
)

# What holds of the gateway.
MODEL_STATE: Final = Family(
    "gateway_model_state",
    "1 for the state that a version is in, 0 for the others.",
    Kind.GAUGE,
    "gateway.model.state",
)
READY: Final = Family("gateway_ready", "Whether calls are welcome.", Kind.GAUGE, "gateway.ready")
GATEWAY_PHASE: Final = Family(
    "gateway_phase",
    "1 for the phase that the gateway is in, 0 for the others.",
    Kind.GAUGE,
    "gateway.phase",
)
START_TIME: Final = Family(
    "gateway_start_time_seconds",
    "When the gateway was started, of the Unix epoch.",
    Kind.GAUGE,
    "gateway.start_time",
    "s",
)
BUILD: Final = Family(
    "gateway_build_info",
    "Always 1; the versions of what the gateway is made of.",
    Kind.GAUGE,
    "gateway.build.info",
)
SPANS_EXPORTED: Final = Family(
    "gateway_spans_exported_total",
    "Spans that an exporter has handed over.",
    Kind.COUNTER,
    "gateway.spans.exported",
    "{span}",
)
SPANS_DROPPED: Final = Family(
    "gateway_spans_dropped_total",
    "Spans that an exporter was to hand over and did not.",
    Kind.COUNTER,
    "gateway.spans.dropped",
    "{span}",
)

FAMILIES: Final = tuple(
    dict.fromkeys(
        each for each in (*COUNTED.values(), *list(globals().values())) if isinstance(each, Family)
    )
)
"""All families; those of counters come first."""
