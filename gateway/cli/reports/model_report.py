"""What `gateway models` and its like print on the command line: how versions stand."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from gateway.cli.reports.protection_report import count
from gateway.cli.reports.tables import table, terminal_width
from gateway.ipc.repository_index import UNLOADED, VersionState
from gateway.protocol.generated.gateway_control_pb2 import ModelVersion

_HEADER: Final = ("model", "version", "state", "since", "processes", "digest", "reason")
_DIGITS: Final = 12
"""Of a digest, which are enough to tell files apart."""


def models_text(versions: Sequence[ModelVersion], none: str) -> str:
    """A table of the versions; `none`: what is said where there is none."""
    if not versions:
        return none
    return table(_HEADER, [_row(version) for version in versions], room=terminal_width())


def models_json(versions: Sequence[ModelVersion]) -> str:
    """The same for programs: whole digests, times of UTC."""
    return json.dumps({"models": [_json(version) for version in versions]}, indent=2)


def live_text(model: str, versions: Sequence[ModelVersion]) -> str:
    """What of a model is live, in a line: `wine: version 2 is live in 2 processes`."""
    live = [version for version in versions if version.state == VersionState.READY]
    if not live:
        return f"{model}: no version is live"
    numbers = ", ".join(version.version for version in live)
    processes = max(version.processes for version in live)
    where = f" in {count(processes, 'process', 'processes')}" if processes else ""
    verb = "version {} is" if len(live) == 1 else "versions {} are"
    return f"{model}: {verb.format(numbers)} live{where}"


def refusals(versions: Sequence[ModelVersion]) -> list[str]:
    """A line for each version that was to be loaded and was refused."""
    return [
        f"{_name(version)}: {version.reason}"
        for version in versions
        if version.reason not in ("", UNLOADED)
        and version.state in (VersionState.UNAVAILABLE, VersionState.READY)
    ]


def _name(version: ModelVersion) -> str:
    return f"{version.model} version {version.version}" if version.version else version.model


def _row(version: ModelVersion) -> tuple[str, ...]:
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(version.since))
    return (
        version.model,
        version.version or "-",
        version.state or "never loaded",
        since if version.since else "-",
        str(version.processes or "-"),
        version.digest[:_DIGITS] or "-",
        version.reason or "-",
    )


def _json(version: ModelVersion) -> dict[str, Any]:
    since = datetime.fromtimestamp(version.since, UTC).isoformat() if version.since else None
    return {
        "model": version.model,
        "version": version.version,
        "state": version.state,
        "since": since,
        "processes": version.processes,
        "digest": version.digest,
        "reason": version.reason,
    }
