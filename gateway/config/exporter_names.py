"""Which exporters traces and metrics go to, by name, as the main process reads it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from gateway.config.otlp_variables import fault

_KNOWN_EXPORTERS: Final = {
    "traces": ("otlp", "console", "none"),
    "metrics": ("otlp", "console", "prometheus", "none"),
}


def exporter_names(
    signal: str, option: str, seen: Mapping[str, str], *, default: bool
) -> tuple[str, ...]:
    """The exporters of a signal: those of our option, else those of OpenTelemetry's variable.

    `signal`: `traces` or `metrics`; `default`: it goes out over OTLP where neither says anything.
    Raises ValueError where a name is none, or is that of no exporter that is installed.
    """
    variable = f"OTEL_{signal.upper()}_EXPORTER"
    otherwise = "otlp" if default else "none"
    name = f"--{signal}-exporter" if option else variable
    text = option or seen.get(variable, otherwise)
    words = tuple(word.strip() for word in text.split(","))
    if not all(re.fullmatch(r"[\w.-]+", word) for word in words) or (
        "none" in words and len(words) > 1
    ):
        raise fault(name, "names of exporters with commas between, or none", text)
    if unknown := [word for word in words if word not in _KNOWN_EXPORTERS[signal]]:
        _check_installed(name, signal, unknown)
    return () if words == ("none",) else words


def _check_installed(name: str, signal: str, words: Iterable[str]) -> None:
    # imported late: it reads the folders of all packages, which most starts can do without
    from importlib.metadata import entry_points  # noqa: PLC0415

    known = _KNOWN_EXPORTERS[signal]
    installed = sorted(
        {point.name for point in entry_points(group=f"opentelemetry_{signal}_exporter")}
        - set(known)
    )
    for word in words:
        if word not in installed:
            raise fault(
                name,
                f"{', '.join(known)} or an exporter of an installed package "
                f"({', '.join(installed) or 'there is none'})",
                word,
            )
