"""The settings of a gateway, made of the options of the command line and the `--config` file.

Options go to their processes in the groups that they are declared in. Made here is what takes
several options, the machine, or the content of a file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from msgspec import structs

from gateway.cli.command_errors import CommandError
from gateway.cli.options.declared import server_options
from gateway.cli.options.path_arguments import model_paths
from gateway.config.control import ControlOptions, ListenOptions, ModelPath, SourceOptions
from gateway.config.opentelemetry import OtelOptions, apply
from gateway.config.server_options import ServerOptions
from gateway.config.serving_options import LEAST_WORKER_THREADS, ServingSettings
from gateway.config.settings import Settings
from gateway.config.telemetry_options import TelemetryOptions, TelemetrySettings
from gateway.control.processes.process_count import (
    ProcessChoice,
    choose_processes_here,
    usable_cores,
)


def compose(values: Mapping[str, Any], paths: Sequence[str] = ()) -> Settings:
    """The settings that the values, by key, come to; the files that they name are read.

    `paths` are models besides those of the values. Raises `CommandError` with all that is wrong.
    """
    faults: list[str] = []
    options = server_options(values, faults)
    models = _models(options.source, paths, faults)
    choice = _processes(options.run.processes, models)
    faults.extend(_port_faults(options.listen))
    telemetry = _telemetry(options, faults)
    serving = replace(_serving(options, choice.processes, faults), sampling=telemetry.otel.sampling)
    faults.extend(_tls_faults(options.listen))
    if faults:
        raise CommandError(faults)
    return Settings(
        source=structs.replace(options.source, paths=models),
        defaults=options.defaults,
        control=ControlOptions(
            listen=options.listen,
            processes=choice.processes,
            model_control=options.model_control,
            stop=options.stop,
        ),
        serving=serving,
        telemetry=telemetry,
        processes_reason=choice.reason,
    )


def _models(
    source: SourceOptions, paths: Sequence[str], faults: list[str]
) -> tuple[ModelPath, ...]:
    named = [source.models, *paths] if source.models else paths
    if not named:
        faults.append(
            "no models are named: give a model file or a folder, `gateway serve wine.onnx`, or "
            "--models DIR (or the key `models` of the --config file)"
        )
    return model_paths(named, source.name, faults)


def _processes(count: int, models: Sequence[ModelPath]) -> ProcessChoice:
    if count:
        return ProcessChoice(count, "as --processes says")
    return choose_processes_here([path.path for path in models])


def _port_faults(listen: ListenOptions) -> Iterator[str]:
    if listen.port and listen.port == listen.http_port:
        yield (
            f"--port and --http-port are both {listen.port}: choose another one for "
            "either (--http-port off: no HTTP)"
        )


def _serving(options: ServerOptions, processes: int, faults: list[str]) -> ServingSettings:
    cores = max(1, usable_cores() // processes)
    listen = options.listen
    return ServingSettings(
        run=options.run,
        logs=options.logs,
        limits=options.limits,
        max_in_flight_per_process=_share(options.limits.max_in_flight, processes),
        max_in_flight_bytes_per_process=_share(options.limits.max_in_flight_bytes, processes),
        tls_certificate=_content(listen.tls_cert, "--tls-cert", faults),
        tls_key=_content(listen.tls_key, "--tls-key", faults),
        tls_client_ca=_content(listen.tls_client_ca, "--tls-client-ca", faults),
        admin_token=_token(listen.admin_token_file, faults),
        trust_loopback=listen.trust_loopback,
        worker_threads=options.run.worker_threads or max(LEAST_WORKER_THREADS, cores),
        cores=cores,
    )


def _telemetry(options: ServerOptions, faults: list[str]) -> TelemetrySettings:
    otel, environment = _otel(options.telemetry, faults)
    return TelemetrySettings(
        options=options.telemetry,
        logs=options.logs,
        otel=otel,
        environment=tuple(environment.items()),
    )


def _otel(
    options: TelemetryOptions, faults: list[str]
) -> tuple[OtelOptions, Mapping[str, str | None]]:
    try:
        return apply(
            os.environ,
            traces_exporter=options.traces_exporter,
            metrics_exporter=options.metrics_exporter,
            otlp_endpoint=options.otlp_endpoint,
            otlp_protocol=options.otlp_protocol or "",
            trace_ratio=options.trace_ratio,
        )
    except ValueError as error:
        faults.append(str(error))
        return OtelOptions(), {}


def _share(limit: int, processes: int) -> int:
    """What one process has of a limit, rounded up, so that only 0, no limit, comes to 0."""
    return -(-int(limit) // processes)


def _tls_faults(listen: ListenOptions) -> Iterator[str]:
    if not (listen.tls_cert or listen.tls_key or listen.tls_client_ca):
        return iter(())
    # imported late: it brings OpenSSL, which most starts can do without
    from gateway.cli.options.tls_files import tls_faults  # noqa: PLC0415

    return tls_faults(listen.tls_cert, listen.tls_key, listen.tls_client_ca)


def _content(path: str, option: str, faults: list[str]) -> bytes:
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
