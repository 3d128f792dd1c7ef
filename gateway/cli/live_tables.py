"""What `gateway top` shows, as tables of rich."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from gateway.cli.live_client import Entry, State

_EVENTS: Final = 4
_NOTHING: Final = "-"
_TONES: Final = {
    **dict.fromkeys(("READY", "serving", "closed"), "green"),
    **dict.fromkeys(("LOADING", "UNLOADING", "half-open", "starting", "draining", "stopping", "silent"), "yellow"),
    **dict.fromkeys(("UNAVAILABLE", "open", "restarting"), "bold red"),
}
_LAST_BOUND_MS: Final = 10_000
_SECOND_MS: Final = 1000


def screen(state: State, *, rows: int | None, lost: str = "") -> RenderableType:
    """Everything; at most so many versions, None: all. `lost`: why this is not how it is any more."""
    return Group(*_head(state, lost), _versions(state, rows), _processes(state), *_events(state))


def _head(state: State, lost: str) -> Iterator[Text]:
    gateway, total = state.gateway, state.total
    phase = gateway["phase"] if gateway["ready"] or gateway["phase"] != "serving" else "serving, not ready"
    line = Text.assemble(("ONNX gateway ", "bold"), (phase, _tone(phase)))
    up_s = state.made_at_s - gateway["started_at_s"] if gateway["started_at_s"] else 0
    line.append(
        f"  {gateway['address']}{f'  up {_span(up_s)}' if up_s else ''}  as of {time.strftime('%H:%M:%S', time.localtime(state.made_at_s))}", "dim"
    )
    yield line
    if lost:
        yield Text(lost, "bold red")
    yield from (Text(notice["text"], "yellow" if notice["level"] == "warning" else "cyan") for notice in state.notices)
    figures = Text.assemble(
        (_rate(total["calls_per_s"]), "bold"), " calls/s  ",
        (_rate(total["errors_per_s"]), "bold red" if total["errors_per_s"] else "bold"), " errors/s  p50 ",
        (_milliseconds(total["latency_p50_ms"]), "bold"), "  p90 ", (_milliseconds(total["latency_p90_ms"]), "bold"),
        "  p99 ", (_milliseconds(total["latency_p99_ms"]), "bold"), "  ", (f"{total['queued']:,}", "bold"), " waiting  ",
        (f"{total['in_flight']:,}", "bold"), " in flight",
    )  # fmt: skip
    reasons = sorted(total["errors_per_s_by_reason"].items(), key=lambda each: -each[1])
    if reasons:
        figures.append("  (" + ", ".join(f"{reason.replace('_', ' ')} {_rate(value)}" for reason, value in reasons) + ")", "dim")
    yield figures


def _versions(state: State, rows: int | None) -> Table:
    ordered = sorted(state.versions, key=_busiest_first)
    shown = ordered if rows is None else ordered[:rows]
    left = len(ordered) - len(shown)
    table = _table(
        ("model", "ver", "state"), ("calls/s", "err/s", "p50", "p90", "p99", "queue p90", "rows/batch", "waiting", "in flight"), ("breaker",)
    )
    for each in shown:
        table.add_row(
            Text(each["model"]),
            each["version"],
            Text(_state_word(each), _tone(each["state"]) if each["reason"] != "unloaded" else "dim"),
            _rate(each["calls_per_s"]),
            Text(_rate(each["errors_per_s"]), "bold red" if each["errors_per_s"] else ""),
            *(_milliseconds(each[name]) for name in ("latency_p50_ms", "latency_p90_ms", "latency_p99_ms", "queue_p90_ms")),
            _NOTHING if each["rows_per_batch"] is None else f"{each['rows_per_batch']:.1f}",
            f"{each['queued']:,}",
            f"{each['in_flight']:,}",
            Text(_breaker_word(each), _tone(each["breaker"])),
        )
    if left:
        table.caption = f"and {left:,} more"
    return table


def _processes(state: State) -> Table:
    table = _table(("process", "state"), ("pid", "cpu", "memory", "loop lag", "in flight", "restarts"), ("ended before",))
    for each in state.processes:
        word = "silent" if each["state"] == "serving" and not each["speaks"] else each["state"]
        table.add_row(
            str(each["process"]),
            Text(word, _tone(word)),
            str(each["pid"] or _NOTHING),
            _NOTHING if each["cpu_percent"] is None else f"{each['cpu_percent']:.0f} %",
            _NOTHING if each["memory_bytes"] is None else f"{each['memory_bytes'] / 2**20:.0f} MiB",
            _milliseconds(each["loop_lag_ms"]),
            _NOTHING if each["in_flight"] is None else f"{each['in_flight']:,}",
            f"{each['restarts']:,}",
            Text(each["last_end"]),
        )
    return table


def _events(state: State) -> Iterator[Text]:
    for event in state.events[:_EVENTS]:
        when = time.strftime("%H:%M:%S", time.localtime(event["at_s"]))
        who = " ".join(filter(None, (event["model"], event["version"], event["instance"])))
        what = f"{event['what']} {event['state'].lower().replace('_', ' ')}"
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append(f"{when}  ", "dim").append(what, _tone(event["state"])).append("  " + "  ".join(filter(None, (who, event["text"]))))
        yield line


def _table(words: Sequence[str], numbers: Sequence[str], last: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), header_style="bold", caption_style="dim", caption_justify="left")
    for name in words:
        table.add_column(name, overflow="fold" if name == "model" else "ellipsis", no_wrap=name != "model")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    for name in last:
        table.add_column(name, overflow="ellipsis", no_wrap=True)
    return table


def _busiest_first(version: Entry) -> tuple[float, int, int, str, str]:
    troubled = version["state"] in ("LOADING", "UNLOADING", "UNAVAILABLE") and version["reason"] != "unloaded"
    rank = 0 if troubled else 1 if version["state"] == "READY" else 2
    return (-version["calls_per_s"], -version["queued"], rank, version["model"], version["version"].zfill(20))


def _state_word(version: Entry) -> str:
    return "unloaded" if version["reason"] == "unloaded" else str(version["state"]).lower().replace("_", " ")


def _breaker_word(version: Entry) -> str:
    if version["breaker_forced"]:
        return str(version["breaker_forced"]).replace("_", " ")
    instances = version["instances"]
    away = sum(not each["available"] or each["breaker"] == "open" for each in instances)
    return f"{version['breaker'] or _NOTHING}{f', {away} of {len(instances)} away' if away else ''}"


def _tone(word: str) -> str:
    return _TONES.get(word.partition(",")[0] if "not ready" not in word else "starting", "")


def _rate(value: float) -> str:
    return "0" if not value else f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"  # noqa: PLR2004


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
