"""The configuration in effect, as `gateway serve --show-config` prints it on the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from gateway.cli.options.declared import DeclaredOption, declared_options
from gateway.cli.options.written_options import WrittenOption
from gateway.cli.reports.protection_report import count
from gateway.config.settings import Settings

_HEAD: Final = "# The configuration in effect, and where each value came from: a file for --config."
_PLAIN: Final = re.compile(r"[A-Za-z0-9/.][A-Za-z0-9/._-]*")
_AMBIGUOUS: Final = re.compile(
    r"true|false|yes|no|on|off|null|y|n|[\d._]+(e\d+)?|0[xo].*", re.IGNORECASE
)
"""Texts that YAML takes for something else."""
_WIDTH: Final = 40


def configuration_text(
    written: Mapping[str, WrittenOption], settings: Settings, environ: Mapping[str, str]
) -> str:
    """Every option with its value and its source, then what follows from them.

    It can be read again as a `--config` file. Options without a value are comments. The environment
    is shown by names only, because it may hold secrets.
    """
    lines = [_HEAD]
    title = ""
    for option in declared_options().values():
        if option.title != title:
            title = option.title
            lines += ["", f"# {title}"]
        lines.append(_line(option, written.get(option.key)))
    return "\n".join([*lines, "", "# What follows", *_derived(settings, environ)])


def _line(option: DeclaredOption, written: WrittenOption | None) -> str:
    if written is not None:
        return f"{option.key}: {_yaml(written.value)}".ljust(_WIDTH) + f"  # {written.source}"
    if not option.option.default and option.default not in (None, "", ()):
        return f"{option.key}: {_default(option)}".ljust(_WIDTH) + "  # default"
    words = option.default_text
    return f"# {option.key}:".ljust(_WIDTH) + f"  # default{f': {words}' if words else ''}"


def _default(option: DeclaredOption) -> str:
    if isinstance(option.default, bool):
        return _yaml(option.default)
    return option.default_text if option.is_number else _yaml(option.default_text)


def _yaml(value: Any) -> str:
    """The value as YAML; JSON is YAML too."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and not _AMBIGUOUS.fullmatch(value):
        return value
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def _derived(settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    serving = settings.serving
    otel = settings.telemetry.otel
    threads = count(serving.worker_threads, "thread")
    yield f"# models are in: {', '.join(str(path.path) for path in settings.source.paths)}"
    yield f"# serving processes: {settings.control.processes} ({settings.processes_reason})"
    yield f"# in each: {threads}, {count(serving.cores, 'core')} for ONNX Runtime"
    yield f"# traces go to: {', '.join(otel.trace_exporters) or 'nobody'}"
    yield f"# metrics go to: {', '.join(otel.metric_exporters) or 'whoever asks for /metrics'}"
    variables = sorted(name for name in environ if name.startswith("OTEL_"))
    if variables:
        yield f"# variables of OpenTelemetry in the environment: {', '.join(variables)}"
