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

_MOST_NAMED: Final = 3
"""Versions of a kind that are named; the others are counted."""
_LONGEST_REASON: Final = 200
_BUSY_PERCENT: Final = 40.0
_IDLE_PERCENT: Final = 2.0

Notice = dict[str, str]


def notices(
    overview: Overview,
    silent: Collection[int],
    standing: Iterable[Standing],
    dropped: Mapping[int, int],
    lost: Iterable[Lost] = (),
    cpu_percent: Mapping[int, float] = {},
) -> list[Notice]:
    """All notices, warnings first.

    `silent`: slots of processes that serve and send no gauges; `dropped`: by slot, cells that a
    process found no room for of late; `lost`: what exporters lost of late; `cpu_percent`: by slot,
    how much of a core its process uses.
    """
    found = list(_of_gateway(overview))
    for process in overview.processes:
        found += _of_process(process, silent, overview.phase)
    found += _of_versions(overview)
    found += _of_breakers(standing)
    found += [_of_dropped(slot, cells) for slot, cells in dropped.items()]
    found += [_of_exporter(each) for each in lost]
    found += _of_imbalance(cpu_percent)
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
    lost = [
        entry
        for entry in overview.index
        if entry.state is VersionState.UNAVAILABLE and entry.reason != UNLOADED
    ]
    for entry in lost[:_MOST_NAMED]:
        which = f"{entry.model} version {entry.version}" if entry.version else entry.model
        yield _notice(
            "warning",
            f"{which} cannot be served: {_shortened(entry.reason)}. Mended, "
            f"`gateway load {entry.model}` loads it.",
        )
    if more := len(lost) - _MOST_NAMED:
        yield from _more(more, "cannot be served")
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
    opened = [each for each in standing if _states(each) & {OPEN, TO_TRY}]
    for each in opened[:_MOST_NAMED]:
        yield _notice("warning", _open_breaker(each))
    if more := len(opened) - _MOST_NAMED:
        yield from _more(more, "have an open circuit breaker")


def _open_breaker(standing: Standing) -> str:
    """Which version's breaker is open, and the command that undoes it or says why."""
    version = standing[0][1]
    name = f"{version.model}:{version.version}"
    opened = sum(each.breaker in (OPEN, TO_TRY) for _, each in standing)
    where = "" if len(standing) == 1 else f" in {opened} of {len(standing)} processes"
    text = f"The circuit breaker of {version.model} version {version.version} is open{where}"
    if any(each.forced for _, each in standing):
        return f"{text}, because it was set so; `gateway breakers {name} --automatic` undoes it."
    states = _states(standing)
    tried = "; the next request tries it" if TO_TRY in states and OPEN not in states else ""
    return f"{text}{tried}. `gateway breakers {name}` says why."


def _states(standing: Standing) -> set[str]:
    return {version.breaker for _, version in standing}


def _of_imbalance(cpu_percent: Mapping[int, float]) -> Iterator[Notice]:
    """A connection lives on one process, so few connections leave the others idle."""
    idle = [slot for slot, percent in cpu_percent.items() if percent < _IDLE_PERCENT]
    busiest = max(cpu_percent, key=lambda slot: cpu_percent[slot], default=None)
    if busiest is None or not idle or cpu_percent[busiest] < _BUSY_PERCENT:
        return
    yield _notice(
        "info",
        f"{len(idle)} of {len(cpu_percent)} processes are idle while process {busiest} uses "
        f"{cpu_percent[busiest]:.0f} % of a core: a connection lives on one process, so callers "
        "should open several.",
    )


def _more(count: int, what: str) -> Iterator[Notice]:
    if count > 0:
        yield _notice("warning", f"{_count(count, 'more version', 'more versions')} {what}.")


def _shortened(reason: str) -> str:
    text = " ".join(reason.split()).rstrip(".")
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."


def _notice(level: str, text: str) -> Notice:
    return {"level": level, "text": text}


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
