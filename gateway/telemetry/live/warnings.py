"""What people should know before they read any number of the telemetry process.

The gateway stops, a process is gone, something is missing from what is shown.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from gateway.ipc.repository_index import UNLOADED, VersionState
from gateway.ipc.telemetry_messages import Overview, ProcessState
from gateway.records.breaker_state import OPEN, TO_TRY
from gateway.telemetry.live.gauges import Standing
from gateway.telemetry.live.lost_spans import Lost

_PHASES: Final = {
    "starting": "The gateway is starting: models are being loaded.",
    "draining": "The gateway is draining: it says that it is not ready, and serves what comes.",
    "stopping": "The gateway is stopping: calls in flight are finished, no new ones are taken.",
}

Notice = dict[str, str]


def notices(
    overview: Overview,
    silent: Collection[int],
    standing: Iterable[Standing],
    dropped: Mapping[int, int],
    lost: Iterable[Lost] = (),
) -> list[Notice]:
    """All notices, warnings first.

    `silent`: slots of processes that serve and send no gauges; `dropped`: by slot, cells that a
    process found no room for of late; `lost`: what exporters lost of late.
    """
    found = list(_of_gateway(overview))
    for process in overview.processes:
        found += _of_process(process, silent, overview.phase)
    found += _of_versions(overview)
    found += _of_breakers(standing)
    found += [_of_dropped(slot, cells) for slot, cells in dropped.items()]
    found += [_of_exporter(each) for each in lost]
    return sorted(found, key=lambda notice: notice["level"] != "warning")


def _of_gateway(overview: Overview) -> Iterator[Notice]:
    if overview.phase in _PHASES:
        yield _notice(
            "info" if overview.phase == "starting" else "warning", _PHASES[overview.phase]
        )
    elif not overview.ready:
        yield _notice(
            "warning", "The gateway is not ready: something that it is to serve, it does not."
        )


def _of_process(process: ProcessState, silent: Collection[int], phase: str) -> Iterator[Notice]:
    if process.state == "serving":
        if process.slot in silent:
            yield _notice(
                "warning",
                f"Process {process.slot} sends no gauges: its queue and requests "
                "in flight are not known.",
            )
    elif phase != "starting":
        reason = f"; the one before it ended: {process.reason}" if process.reason else ""
        yield _notice("warning", f"Process {process.slot} is {process.state}{reason}.")


def _of_versions(overview: Overview) -> Iterator[Notice]:
    lost = sum(
        entry.state is VersionState.UNAVAILABLE and entry.reason != UNLOADED
        for entry in overview.index
    )
    if lost:
        yield _notice("warning", f"{_count(lost, 'version', 'versions')} cannot be served.")
    loading = sum(entry.state is VersionState.LOADING for entry in overview.index)
    if loading and overview.phase != "starting":
        yield _notice("info", f"{_count(loading, 'version is', 'versions are')} being loaded.")


def _of_dropped(slot: int, cells: int) -> Notice:
    return _notice(
        "warning",
        f"Process {slot} had no room for {cells} records: figures are exact, lists "
        "and traces are not complete.",
    )


def _of_exporter(lost: Lost) -> Notice:
    if not lost.spans:
        return _notice(
            "warning",
            f"Spans wait: the exporter {lost.exporter} has had no answer for {lost.hangs_s:.0f} s.",
        )
    reasons = ", ".join(reason.replace("_", " ") for reason in lost.reasons)
    spans = _count(lost.spans, "span was", "spans were")
    return _notice(
        "warning",
        f"{spans} not exported by {lost.exporter} within the last minute ({reasons}): traces are "
        "not complete. The log says more.",
    )


def _of_breakers(standing: Iterable[Standing]) -> Iterator[Notice]:
    states = [{version.breaker for _, version in each} & {OPEN, TO_TRY} for each in standing]
    opened = sum(map(bool, states))
    to_try = sum(each == {TO_TRY} for each in states)
    if opened:
        which = "which" if to_try == opened else f"{to_try} of which"
        tried = f", {which} the next request tries" if to_try else ""
        yield _notice(
            "warning", f"{_count(opened, 'version has', 'versions have')} an open breaker{tried}."
        )


def _notice(level: str, text: str) -> Notice:
    return {"level": level, "text": text}


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
