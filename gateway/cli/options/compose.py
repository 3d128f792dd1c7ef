"""From what was said in the file and on the command line, the settings of a gateway."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from gateway.cli.command_errors import CommandFault
from gateway.cli.options.config_file import ConfigFile, ProcessCount
from gateway.config.control import (
    ControlOptions,
    ModelControlMode,
    ModelControlOptions,
    StopOptions,
)
from gateway.config.opentelemetry import OtelOptions, apply
from gateway.config.quantities import format_duration
from gateway.config.settings import ServingSettings, Settings, TelemetrySettings
from gateway.control.processes.process_count import (
    ProcessChoice,
    choose_processes_here,
    usable_cores,
)

T = TypeVar("T")

LEAST_WORKER_THREADS = 4
"""One slow model does not keep the others waiting, even on one core."""

_MOST_MESSAGE_BYTES = (1 << 31) - 1  # gRPC counts them in 32 bits
_MOST_CONNECTION_AGE_S = 20 * 86400.0  # gRPC counts it in milliseconds, in 32 bits


def compose(said: ConfigFile) -> Settings:
    """The settings, with the files read that they name.

    Raises `CommandFault` with all that is wrong.
    """
    faults: list[str] = []
    models = _models(said.models, faults)
    choice = _processes(said.processes, models)
    control = _control(said, choice.processes, faults)
    telemetry = _telemetry(said, faults)
    serving = replace(_serving(said, choice.processes, faults), sampling=telemetry.otel.sampling)
    faults.extend(_limit_faults(said))
    if said.tls_cert or said.tls_key or said.tls_client_ca:
        faults.extend(_tls_faults(said))
    if faults or models is None or control is None:
        raise CommandFault(faults)
    return Settings(
        models=models,
        control=control,
        serving=serving,
        telemetry=telemetry,
        processes_reason=choice.reason,
        **_as_said(
            name=said.name,
            io_mode=said.io_mode,
            cache_dir=said.cache_dir and Path(said.cache_dir),
            default_max_batch_size=said.default_max_batch_size,
            max_queue_requests=said.max_queue_requests,
            max_queue_bytes=said.max_queue_size,
        ),
    )


def _models(said: str | None, faults: list[str]) -> Path | None:
    if not said:
        faults.append(
            "no models are named: give the folder that holds them with --models DIR (or the key "
            "`models` of the --config file)"
        )
        return None
    path = Path(said).absolute()
    if path.is_dir():
        return path
    what = (
        f"is a file; give the folder that holds it: {path.parent}"
        if path.exists()
        else "does not exist"
    )
    faults.append(f"--models: {path} {what}")
    return None


def _processes(said: ProcessCount | None, models: Path | None) -> ProcessChoice:
    if said:
        return ProcessChoice(int(said), "as --processes says")
    return ProcessChoice(1, "") if models is None else choose_processes_here(models)


def _control(said: ConfigFile, processes: int, faults: list[str]) -> ControlOptions | None:
    mode = ModelControlMode(said.model_control or ModelControlMode.OPEN)
    model_control = _tried(
        lambda: ModelControlOptions(
            **_as_said(
                mode=mode,
                load_models=said.load_model,
                poll_interval_s=said.poll_interval,
                strict_readiness=said.strict_readiness,
                exit_on_error=said.exit_on_error,
            )
        ),
        faults,
    )
    stop = _tried(
        lambda: StopOptions(**_as_said(drain_delay_s=said.drain_delay, grace_s=said.grace)), faults
    )
    values = _as_said(
        host=said.host, port=said.port, processes=processes, model_control=model_control, stop=stop
    )
    if said.http_port is not None:
        values["http_port"] = None if said.http_port < 0 else int(said.http_port)
    options = _tried(lambda: ControlOptions(**values), faults)
    if options is not None and options.port and options.port == options.http_port:
        faults.append(
            f"--port and --http-port are both {options.port}: choose another one for "
            "either (--http-port off: no HTTP)"
        )
    return options


def _serving(said: ConfigFile, processes: int, faults: list[str]) -> ServingSettings:
    cores = max(1, usable_cores() // processes)
    return ServingSettings(
        cores=cores,
        tls_certificate=_content(said.tls_cert, "--tls-cert", faults),
        tls_key=_content(said.tls_key, "--tls-key", faults),
        tls_client_ca=_content(said.tls_client_ca, "--tls-client-ca", faults),
        admin_token=_token(said.admin_token_file, faults),
        worker_threads=said.worker_threads or max(LEAST_WORKER_THREADS, cores),
        **_as_said(
            transport=said.transport,
            max_message_bytes=said.max_message_size,
            max_concurrent_calls=said.max_concurrent_calls,
            max_in_flight_per_process=_share(said.max_in_flight, processes),
            max_in_flight_bytes_per_process=_share(said.max_in_flight_bytes, processes),
            max_connection_age_s=said.max_connection_age,
            max_connection_age_grace_s=said.max_connection_age_grace,
            response_compression=said.response_compression,
            trust_loopback=said.trust_loopback,
            log_level=said.log_level,
            log_format=said.log_format,
            access_log=said.access_log,
        ),
    )


def _telemetry(said: ConfigFile, faults: list[str]) -> TelemetrySettings:
    otel = OtelOptions()
    environment = dict[str, str | None]()
    try:
        otel, environment = apply(
            os.environ,
            traces_exporter=said.traces_exporter or "",
            metrics_exporter=said.metrics_exporter or "",
            otlp_endpoint=said.otlp_endpoint or "",
            otlp_protocol=said.otlp_protocol or "",
            trace_ratio=said.trace_ratio,
        )
    except ValueError as error:
        faults.append(str(error))
    return TelemetrySettings(
        otel=otel,
        environment=tuple(environment.items()),
        **_as_said(
            metrics_names=said.metrics_names,
            # other processes read it, who do not know the type
            trace_url=None if said.trace_url is None else str(said.trace_url),
            log_level=said.log_level,
            log_format=said.log_format,
            access_log=said.access_log,
        ),
    )


def _share(said: int | None, processes: int) -> int | None:
    """What one process has of it, rounded up, so that only 0 comes to 0, which is no limit."""
    return None if said is None else -(-int(said) // processes)


def _tls_faults(said: ConfigFile) -> Iterator[str]:
    # brings OpenSSL, which most starts can do without
    from gateway.cli.options.tls_files import tls_faults  # noqa: PLC0415

    return tls_faults(said.tls_cert, said.tls_key, said.tls_client_ca)


def _limit_faults(said: ConfigFile) -> Iterator[str]:
    for option, size in (
        ("--max-message-size", said.max_message_size),
        ("--max-queue-size", said.max_queue_size),
    ):
        if size == 0:
            yield f"{option}: must be more than 0B"
    if (said.max_message_size or 0) > _MOST_MESSAGE_BYTES:
        yield (
            "--max-message-size: must be below 2GiB, which is as much as gRPC can "
            f"send, got {said.max_message_size}"
        )
    for option, age in (
        ("--max-connection-age", said.max_connection_age),
        ("--max-connection-age-grace", said.max_connection_age_grace),
    ):
        if (age or 0) > _MOST_CONNECTION_AGE_S:
            yield f"{option}: at most {format_duration(_MOST_CONNECTION_AGE_S)}, got {age}"


def _content(path: str | None, option: str, faults: list[str]) -> bytes:
    try:
        content = Path(path).read_bytes() if path else b""
    except OSError as error:
        faults.append(f"{option}: {path} cannot be read: {error.strerror}")
        return b""
    if path and not content.strip():
        faults.append(f"{option}: {path} is empty")
    return content


def _token(path: str | None, faults: list[str]) -> str:
    if path is None:
        return ""
    # 5 ms that most starts need not pay
    from gateway.serving.wire.security.authorization import read_token  # noqa: PLC0415

    try:
        return read_token(Path(path))
    except OSError as error:
        faults.append(f"--admin-token-file: {path} cannot be read: {error.strerror}")
    except ValueError as error:
        faults.append(f"--admin-token-file: {error}")
    return ""


def _tried(make: Callable[[], T], faults: list[str]) -> T | None:
    try:
        return make()
    except ValueError as error:
        faults.append(str(error))
        return None


def _as_said(**values: Any) -> dict[str, Any]:
    """Without those of which nothing was said: their owners' defaults hold."""
    return {name: value for name, value in values.items() if value is not None}
