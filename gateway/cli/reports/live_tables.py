"""What `gateway top` shows on the command line, as tables of rich."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.text import Text

from gateway.cli.reports.fitted_table import Column, FittedTable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from gateway.cli.client.live_client import Entry, State

_EVENTS: Final = 4
_NOTHING: Final = "-"
_TONES: Final = {
    **dict.fromkeys(("READY", "serving", "closed"), "green"),
    **dict.fromkeys(
        ("LOADING", "UNLOADING", "half-open", "starting", "draining", "stopping", "silent"),
        "yellow",
    ),
    **dict.fromkeys(("UNAVAILABLE", "open", "restarting"), "bold red"),
}
_OF_VERSIONS: Final = (
    Column("model", 0, least=12),
    Column("ver", 0),
    Column("state", 1),
    Column("calls/s", 2, number=True),
    Column("err/s", 3, number=True),
    Column("p50", 7, number=True, usual=7),
    Column("p90", 9, number=True, usual=7),
    Column("p99", 5, number=True, usual=7),
    Column("queue p90", 11, number=True),
    Column("rows/batch", 10, number=True),
    Column("waiting", 6, number=True),
    Column("in flight", 8, number=True),
    Column("breaker", 4, usual=9),
)
_OF_PROCESSES: Final = (
    Column("process", 0),
    Column("state", 1),
    Column("pid", 7, number=True),
    Column("cpu", 2, number=True),
    Column("memory", 3, number=True, usual=9),
    Column("loop lag", 6, number=True),
    Column("in flight", 4, number=True),
    Column("restarts", 5, number=True),
    Column("ended before", 8, least=16),
)
_LAST_BOUND_MS: Final = 10_000
_SECOND_MS: Final = 1000


def screen(state: State, *, rows: int | None, lost: str = "") -> RenderableType:
    """The whole screen, with `rows` versions at most; None: all of them.

    `lost`: why the state is no longer up to date; empty: it is.
    """
    return Group(*_head(state, lost), _versions(state, rows), _processes(state), *_events(state))


def _head(state: State, lost: str) -> Iterator[Text]:
    yield _title(state)
    if lost:
        yield Text(lost, "bold red")
    yield from (
        Text(notice["text"], "yellow" if notice["level"] == "warning" else "cyan")
        for notice in state.notices
    )
    yield _figures(state.total)


def _title(state: State) -> Text:
    gateway = state.gateway
    phase = (
        gateway["phase"]
        if gateway["ready"] or gateway["phase"] != "serving"
        else "serving, not ready"
    )
    line = Text.assemble(("ONNX gateway ", "bold"), (phase, _tone(phase)))
    up_s = state.made_at_s - gateway["started_at_s"] if gateway["started_at_s"] else 0
    line.append(
        f"  {gateway['address']}{f'  up {_span(up_s)}' if up_s else ''}  as of "
        f"{time.strftime('%H:%M:%S', time.localtime(state.made_at_s))}",
        "dim",
    )
    return line


def _figures(total: Entry) -> Text:
    figures = Text.assemble(
        (_rate(total["calls_per_s"]), "bold"), " calls/s  ",
        (_rate(total["errors_per_s"]), "bold red" if total["errors_per_s"] else "bold"),
        " errors/s  p50 ", (_milliseconds(total["latency_p50_ms"]), "bold"), "  p90 ",
        (_milliseconds(total["latency_p90_ms"]), "bold"), "  p99 ",
        (_milliseconds(total["latency_p99_ms"]), "bold"), "  ", (f"{total['queued']:,}", "bold"),
        " waiting  ", (f"{total['in_flight']:,}", "bold"), " in flight",
    )  # fmt: skip
    reasons = sorted(total["errors_per_s_by_reason"].items(), key=lambda each: -each[1])
    if reasons:
        figures.append(
            "  ("
            + ", ".join(f"{reason.replace('_', ' ')} {_rate(value)}" for reason, value in reasons)
            + ")",
            "dim",
        )
    return figures


def _versions(state: State, rows: int | None) -> FittedTable:
    ordered = sorted(state.versions, key=_busiest_first)
    shown = ordered if rows is None else ordered[:rows]
    left = len(ordered) - len(shown)
    return FittedTable(
        _OF_VERSIONS, [_version(each) for each in shown], f"and {left:,} more" if left else ""
    )


def _version(each: Entry) -> list[Text]:
    return [
        Text(each["model"]),
        Text(each["version"]),
        Text(_state_word(each), _tone(each["state"]) if each["reason"] != "unloaded" else "dim"),
        Text(_rate(each["calls_per_s"])),
        Text(_rate(each["errors_per_s"]), "bold red" if each["errors_per_s"] else ""),
        *(
            Text(_milliseconds(each[name]))
            for name in ("latency_p50_ms", "latency_p90_ms", "latency_p99_ms", "queue_p90_ms")
        ),
        Text(_NOTHING if each["rows_per_batch"] is None else f"{each['rows_per_batch']:.1f}"),
        Text(f"{each['queued']:,}"),
        Text(f"{each['in_flight']:,}"),
        Text(_breaker_word(each), _tone(each["breaker"])),
    ]


def _processes(state: State) -> FittedTable:
    return FittedTable(_OF_PROCESSES, [_process(each) for each in state.processes])


def _process(each: Entry) -> list[Text]:
    word = "silent" if each["state"] == "serving" and not each["speaks"] else each["state"]
    return [
        Text(str(each["process"])),
        Text(word, _tone(word)),
        Text(str(each["pid"] or _NOTHING)),
        Text(_NOTHING if each["cpu_percent"] is None else f"{each['cpu_percent']:.0f} %"),
        Text(
            _NOTHING if each["memory_bytes"] is None else f"{each['memory_bytes'] / 2**20:.0f} MiB"
        ),
        Text(_milliseconds(each["loop_lag_ms"])),
        Text(_NOTHING if each["in_flight"] is None else f"{each['in_flight']:,}"),
        Text(f"{each['restarts']:,}"),
        Text(each["last_end"]),
    ]


def _events(state: State) -> Iterator[Text]:
    for event in state.events[:_EVENTS]:
        when = time.strftime("%H:%M:%S", time.localtime(event["at_s"]))
        who = " ".join(filter(None, (event["model"], event["version"], event["instance"])))
        what = f"{event['what']} {event['state'].lower().replace('_', ' ')}"
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append(f"{when}  ", "dim").append(what, _tone(event["state"])).append(
            "  " + "  ".join(filter(None, (who, event["text"])))
        )
        yield line


def _busiest_first(version: Entry) -> tuple[float, int, bool, bool, str, str]:
    troubled = (
        version["state"] in ("LOADING", "UNLOADING", "UNAVAILABLE")
        and version["reason"] != "unloaded"
    )
    return (
        -version["calls_per_s"],
        -version["queued"],
        not troubled,
        version["state"] != "READY",
        version["model"],
        version["version"].zfill(20),
    )


def _state_word(version: Entry) -> str:
    return (
        "unloaded"
        if version["reason"] == "unloaded"
        else str(version["state"]).lower().replace("_", " ")
    )


def _breaker_word(version: Entry) -> str:
    if version["breaker_forced"]:
        return f"forced {version['breaker_forced']}"
    instances = version["instances"]
    away = sum(not each["available"] or each["breaker"] == "open" for each in instances)
    tries = (
        ", next call tries"
        if 0 < version["breaker_to_try_processes"] == version["breaker_open_processes"]
        else ""
    )
    return (
        f"{version['breaker'] or _NOTHING}{tries}"
        f"{f', {away} of {len(instances)} away' if away else ''}"
    )


def _tone(word: str) -> str:
    return _TONES.get(word.partition(",")[0] if "not ready" not in word else "starting", "")


def _rate(value: float) -> str:
    if not value:
        return "0"
    if value >= 100:  # noqa: PLR2004
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _milliseconds(value: float | None) -> str:
    if value is None:
        return _NOTHING
    if value >= _SECOND_MS:
        return f"{value / _SECOND_MS:.1f} s" if value < _LAST_BOUND_MS else ">10 s"
    return f"{value:.2f} ms" if value < 10 else f"{value:.1f} ms"  # noqa: PLR2004


def _span(seconds: float) -> str:
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
