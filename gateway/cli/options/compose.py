"""From the options of the file and the command line, the settings of a gateway."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from gateway.cli.command_errors import CommandError
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


def compose(options: ConfigFile) -> Settings:
    """The settings, with the files read that they name.

    Raises `CommandError` with all that is wrong.
    """
    faults: list[str] = []
    models = _models(options.models, faults)
    choice = _processes(options.processes, models)
    control = _control(options, choice.processes, faults)
    telemetry = _telemetry(options, faults)
    serving = replace(_serving(options, choice.processes, faults), sampling=telemetry.otel.sampling)
    faults.extend(_limit_faults(options))
    if options.tls_cert or options.tls_key or options.tls_client_ca:
        faults.extend(_tls_faults(options))
    if faults or models is None or control is None:
        raise CommandError(faults)
    return Settings(
        models=models,
        control=control,
        serving=serving,
        telemetry=telemetry,
        processes_reason=choice.reason,
        **given(
            name=options.name,
            io_mode=options.io_mode,
            cache_dir=options.cache_dir and Path(options.cache_dir),
            default_max_batch_size=options.default_max_batch_size,
            max_queue_requests=options.max_queue_requests,
            max_queue_bytes=options.max_queue_size,
        ),
    )


def _models(folder: str | None, faults: list[str]) -> Path | None:
    if not folder:
        faults.append(
            "no models are named: give the folder that holds them with --models DIR (or the key "
            "`models` of the --config file)"
        )
        return None
    path = Path(folder).absolute()
    if path.is_dir():
        return path
    what = (
        f"is a file; give the folder that holds it: {path.parent}"
        if path.exists()
        else "does not exist"
    )
    faults.append(f"--models: {path} {what}")
    return None


def _processes(count: ProcessCount | None, models: Path | None) -> ProcessChoice:
    if count:
        return ProcessChoice(int(count), "as --processes says")
    return ProcessChoice(1, "") if models is None else choose_processes_here(models)


def _control(options: ConfigFile, processes: int, faults: list[str]) -> ControlOptions | None:
    mode = ModelControlMode(options.model_control or ModelControlMode.OPEN)
    model_control = _tried(
        lambda: ModelControlOptions(
            **given(
                mode=mode,
                load_models=options.load_model,
                poll_interval_s=options.poll_interval,
                strict_readiness=options.strict_readiness,
                exit_on_error=options.exit_on_error,
            )
        ),
        faults,
    )
    stop = _tried(
        lambda: StopOptions(**given(drain_delay_s=options.drain_delay, grace_s=options.grace)),
        faults,
    )
    values = given(
        host=options.host,
        port=options.port,
        processes=processes,
        model_control=model_control,
        stop=stop,
    )
    if options.http_port is not None:
        values["http_port"] = None if options.http_port < 0 else int(options.http_port)
    control = _tried(lambda: ControlOptions(**values), faults)
    if control is not None and control.port and control.port == control.http_port:
        faults.append(
            f"--port and --http-port are both {control.port}: choose another one for "
            "either (--http-port off: no HTTP)"
        )
    return control


def _serving(options: ConfigFile, processes: int, faults: list[str]) -> ServingSettings:
    cores = max(1, usable_cores() // processes)
    return ServingSettings(
        cores=cores,
        tls_certificate=_content(options.tls_cert, "--tls-cert", faults),
        tls_key=_content(options.tls_key, "--tls-key", faults),
        tls_client_ca=_content(options.tls_client_ca, "--tls-client-ca", faults),
        admin_token=_token(options.admin_token_file, faults),
        worker_threads=options.worker_threads or max(LEAST_WORKER_THREADS, cores),
        **given(
            transport=options.transport,
            max_message_bytes=options.max_message_size,
            max_concurrent_calls=options.max_concurrent_calls,
            max_in_flight_per_process=_share(options.max_in_flight, processes),
            max_in_flight_bytes_per_process=_share(options.max_in_flight_bytes, processes),
            max_connection_age_s=options.max_connection_age,
            max_connection_age_grace_s=options.max_connection_age_grace,
            response_compression=options.response_compression,
            trust_loopback=options.trust_loopback,
            log_level=options.log_level,
            log_format=options.log_format,
            access_log=options.access_log,
        ),
    )


def _telemetry(options: ConfigFile, faults: list[str]) -> TelemetrySettings:
    otel = OtelOptions()
    environment = dict[str, str | None]()
    try:
        otel, environment = apply(
            os.environ,
            traces_exporter=options.traces_exporter or "",
            metrics_exporter=options.metrics_exporter or "",
            otlp_endpoint=options.otlp_endpoint or "",
            otlp_protocol=options.otlp_protocol or "",
            trace_ratio=options.trace_ratio,
        )
    except ValueError as error:
        faults.append(str(error))
    return TelemetrySettings(
        otel=otel,
        environment=tuple(environment.items()),
        **given(
            metrics_names=options.metrics_names,
            # other processes read it, who do not know the type
            trace_url=None if options.trace_url is None else str(options.trace_url),
            log_level=options.log_level,
            log_format=options.log_format,
            access_log=options.access_log,
        ),
    )


def _share(limit: int | None, processes: int) -> int | None:
    """What one process has of it, rounded up, so that only 0 comes to 0, which is no limit."""
    return None if limit is None else -(-int(limit) // processes)


def _tls_faults(options: ConfigFile) -> Iterator[str]:
    # brings OpenSSL, which most starts can do without
    from gateway.cli.options.tls_files import tls_faults  # noqa: PLC0415

    return tls_faults(options.tls_cert, options.tls_key, options.tls_client_ca)


def _limit_faults(options: ConfigFile) -> Iterator[str]:
    for option, size in (
        ("--max-message-size", options.max_message_size),
        ("--max-queue-size", options.max_queue_size),
    ):
        if size == 0:
            yield f"{option}: must be more than 0B"
    if (options.max_message_size or 0) > _MOST_MESSAGE_BYTES:
        yield (
            "--max-message-size: must be below 2GiB, which is as much as gRPC can "
            f"send, got {options.max_message_size}"
        )
    for option, age in (
        ("--max-connection-age", options.max_connection_age),
        ("--max-connection-age-grace", options.max_connection_age_grace),
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


def given(**values: Any) -> dict[str, Any]:
    """The options that are given; for the others their owners' defaults hold."""
    return {name: value for name, value in values.items() if value is not None}
