"""The options of `gateway serve`. Each is a key of the --config file as well."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from gateway.cli.options.compose import LEAST_WORKER_THREADS
from gateway.config.quantities import format_bytes, format_duration
from gateway.config.settings import Settings

Kind = Literal["text", "number", "flag", "list"]


@dataclass(frozen=True, slots=True)
class Option:
    """One option."""

    key: str
    """As the file has it."""
    value: str
    """How the help shows its argument."""
    help: str
    default: str = ""
    """What holds where nothing is set, as people write it; empty: there is none."""
    kind: Kind = "text"


_DEFAULTS: Final = Settings(models=Path())
_CONTROL = _DEFAULTS.control
_SERVING = _DEFAULTS.serving
_MODELS = _CONTROL.model_control
_STOP = _CONTROL.stop

_SERVED: Final = (
    Option(
        "models",
        "DIR",
        "the models, NAME/VERSION/model.onnx; or one model, with model.onnx "
        "or version folders at the top",
    ),
    Option("name", "NAME", "what one model by itself is called", "as its folder"),
    Option(
        "model_control",
        "MODE",
        "open: all models at start, and callers may load and unload; none: all at start, callers "
        "change nothing; poll: the same, and DIR is looked at every --poll-interval; explicit: "
        "those of --load-model at start, and callers may load and unload",
        _MODELS.mode.value,
    ),
    Option(
        "load_model",
        "NAME",
        "loaded at start under --model-control explicit; may be given several times, * is all",
        kind="list",
    ),
    Option(
        "poll_interval",
        "DURATION",
        "between two polls of DIR under --model-control poll",
        format_duration(_MODELS.poll_interval_s),
    ),
    Option(
        "strict_readiness",
        "",
        "ready only while every model is; else as soon as the start is over, whatever failed",
        "no",
        "flag",
    ),
    Option(
        "exit_on_error",
        "",
        "a model that cannot be loaded at start ends the gateway, with exit status 1",
        "no",
        "flag",
    ),
    Option(
        "cache_dir",
        "DIR",
        "where findings about models are kept from one start to the next",
        "onnx-gateway/inspection in XDG_CACHE_HOME",
    ),
)

_LISTENS: Final = (
    Option(
        "host",
        "HOST",
        "a name or address of this machine; 0.0.0.0: all of both families",
        _CONTROL.host,
    ),
    Option("port", "PORT", "for gRPC; 0: a free one", str(_CONTROL.port), "number"),
    Option(
        "http_port",
        "PORT",
        "for probes over HTTP; 0: a free one, off: no HTTP",
        str(_CONTROL.http_port),
    ),
    Option("tls_cert", "FILE", "the server's certificate chain, PEM", "plaintext"),
    Option("tls_key", "FILE", "its key, PEM"),
    Option(
        "tls_client_ca",
        "FILE",
        "roots that the certificates of clients must lead to, PEM",
        "clients need no certificate",
    ),
    Option(
        "admin_token_file",
        "FILE",
        "who sends the token in it may change the server (load, unload, settings) from anywhere",
        "nobody may",
    ),
    Option(
        "trust_loopback",
        "",
        "callers on this machine may change the server without a token; not behind a proxy on it",
        "yes",
        "flag",
    ),
)

_RUNS: Final = (
    Option(
        "processes",
        "N",
        "serving processes; auto: one a core, fewer where their copies of the models "
        "take over a quarter of memory",
        "auto",
    ),
    Option(
        "worker_threads",
        "N",
        "threads of each process that run batches",
        f"its cores, at least {LEAST_WORKER_THREADS}",
        "number",
    ),
    Option(
        "transport",
        "NAME",
        "completion-queue, aio, or auto: the first, which is quicker, if this grpcio allows it",
        _SERVING.transport,
    ),
    Option(
        "io_mode",
        "MODE",
        "grpcio's I/O: polling, event-engine, or auto: the quicker one that this grpcio has",
        _DEFAULTS.io_mode,
    ),
    Option(
        "log_level", "LEVEL", "debug, info, warning or error; logs go to stderr", _SERVING.log_level
    ),
    Option("log_format", "FORMAT", "human, or json: an object a line", _SERVING.log_format),
    Option(
        "access_log",
        "WHICH",
        "a line for each request: off, errors (those that failed, were refused, degraded or "
        "slow), full, or a ratio such as 0.01: those, and that share of the others",
        _SERVING.access_log,
    ),
)

_LIMITS: Final = (
    Option(
        "max_message_size",
        "SIZE",
        "longest message either way",
        format_bytes(_SERVING.max_message_bytes),
    ),
    Option(
        "max_concurrent_calls",
        "N",
        "calls that one connection may have open",
        str(_SERVING.max_concurrent_calls),
        "number",
    ),
    Option(
        "max_in_flight",
        "N",
        "requests accepted and not yet answered, over all models and processes (each has its "
        "share, rounded up); 0: by the queues",
        str(_SERVING.max_in_flight_per_process),
        "number",
    ),
    Option(
        "max_in_flight_bytes",
        "SIZE",
        "their inputs, over all models and processes likewise; 0B: by the queues",
        format_bytes(_SERVING.max_in_flight_bytes_per_process),
    ),
    Option(
        "max_connection_age",
        "DURATION",
        "connections are asked to leave after it, so that clients spread over "
        "the processes anew; 0s: never",
        format_duration(_SERVING.max_connection_age_s),
    ),
    Option(
        "max_connection_age_grace",
        "DURATION",
        "time that such a connection has to end its calls",
        format_duration(_SERVING.max_connection_age_grace_s),
    ),
    Option(
        "response_compression",
        "HOW",
        "none, or gzip for callers that take it",
        _SERVING.response_compression,
    ),
    Option(
        "default_max_batch_size",
        "N",
        "rows in a batch of models that say nothing and were seen to batch; 0: none is batched",
        str(_DEFAULTS.default_max_batch_size),
        "number",
    ),
    Option(
        "max_queue_requests",
        "N",
        "requests that may wait for one version in one process",
        str(_DEFAULTS.max_queue_requests),
        "number",
    ),
    Option(
        "max_queue_size",
        "SIZE",
        "input that may wait for one version in one process",
        format_bytes(_DEFAULTS.max_queue_bytes),
    ),
)

_ENDS: Final = (
    Option(
        "drain_delay",
        "DURATION",
        "after SIGTERM: not ready, but everything is still served",
        format_duration(_STOP.drain_delay_s),
    ),
    Option(
        "grace",
        "DURATION",
        "then calls in flight may take so long to end",
        format_duration(_STOP.grace_s),
    ),
)

_SEEN: Final = (
    Option(
        "otlp_endpoint",
        "URL",
        "where traces go over OTLP, http://HOST:4317; as "
        "OTEL_EXPORTER_OTLP_ENDPOINT, over which it wins",
    ),
    Option("otlp_protocol", "NAME", "grpc or http/protobuf", "by the port: 4318 is HTTP's"),
    Option(
        "traces_exporter",
        "NAMES",
        "otlp, console, none, or what an installed package calls its own",
        "otlp where an endpoint is named",
    ),
    Option(
        "trace_ratio",
        "SHARE",
        "of traces that begin here, 0 to 1; 0 begins none, else what fails or is slow is kept all "
        "the same; callers decide for theirs",
        "1",
    ),
    Option(
        "trace_url",
        "URL",
        "where the page links traces to, {trace_id} in the id's place: "
        "http://HOST:16686/trace/{trace_id}",
    ),
    Option(
        "metrics_exporter",
        "NAMES",
        "otlp, console, none, or what an installed package calls its own; /metrics on "
        "the HTTP port is there always",
        "none",
    ),
    Option(
        "metrics_names",
        "WHOSE",
        "names on /metrics: gateway, triton (nv_inference_*) or all",
        "gateway",
    ),
)

GROUPS: Final = {
    "what is served": _SERVED,
    "where it listens": _LISTENS,
    "how it runs": _RUNS,
    "limits": _LIMITS,
    "what is seen of it": _SEEN,
    "how it ends": _ENDS,
}
