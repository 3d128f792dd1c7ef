"""What `gateway breakers` prints on the command line: a row for all processes that agree."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, Final

from gateway.cli.reports.tables import table, terminal_width
from gateway.protocol.generated.gateway_control_pb2 import (
    AUTOMATIC,
    FORCE_CLOSED,
    FORCE_OPEN,
    OPEN,
    Breaker,
    BreakerMode,
    BreakerState,
    ListBreakersResponse,
    ProcessBreaker,
    SetBreakerResponse,
)

_HEADER: Final = (
    "model",
    "version",
    "instance",
    "set to",
    "process",
    "state",
    "in a row",
    "in window",
    "next try",
    "opened",
    "last error",
)
MODES: Final = {AUTOMATIC: "automatic", FORCE_OPEN: "forced open", FORCE_CLOSED: "forced closed"}
"""What a breaker is set to, in words."""
_LONGEST_ERROR: Final = 100


def breaker_report(response: ListBreakersResponse, instance: str) -> str:
    """A table of the breakers, or the reason why there is none.

    `instance` leaves those of one instance; empty: all.
    """
    breakers = [breaker for breaker in response.breakers if instance in ("", breaker.instance)]
    none = no_instance(response, instance) if instance else "there are no breakers"
    lines = [
        table(
            _HEADER, [row for breaker in breakers for row in _rows(breaker)], room=terminal_width()
        )
        if breakers
        else none
    ]
    lines += [f"process {process}: no answer" for process in response.silent_processes]
    return "\n".join(lines)


def breakers_json(response: ListBreakersResponse, instance: str) -> str:
    """The same for programs."""
    return json.dumps(
        {
            "breakers": [
                {
                    "model": breaker.model,
                    "version": breaker.version,
                    "instance": breaker.instance,
                    "mode": MODES.get(breaker.mode, BreakerMode.Name(breaker.mode)),
                    "processes": [_process_json(process) for process in breaker.processes],
                }
                for breaker in response.breakers
                if instance in ("", breaker.instance)
            ],
            "silent_processes": list(response.silent_processes),
        },
        indent=2,
    )


def set_text(response: SetBreakerResponse, mode: str) -> str:
    """What was set, a line for each breaker."""
    return "\n".join(
        f"{each.model} version {each.version}{f' on {each.instance}' if each.instance else ''}: "
        f"{mode} in every process"
        for each in response.breakers
    )


def set_json(response: SetBreakerResponse) -> str:
    """The same for programs."""
    names = [
        {"model": each.model, "version": each.version, "instance": each.instance}
        for each in response.breakers
    ]
    return json.dumps({"breakers": names, "warnings": list(response.warnings)}, indent=2)


def no_instance(response: ListBreakersResponse, instance: str) -> str:
    """Why no breaker of an instance with this name was found."""
    if names := sorted({breaker.instance for breaker in response.breakers if breaker.instance}):
        return f"no instance is called '{instance}' (instances: {', '.join(names)})"
    if silent := response.silent_processes:
        return (
            "which instances there are is not known: process "
            f"{', '.join(map(str, silent))} did not answer within a second"
        )
    if not response.breakers:
        return "there are no breakers: no process serves it at present"
    return (
        f"there is no instance '{instance}': threads of the serving processes run it, with the "
        "version's own breaker; leave out --instance"
    )


def _rows(breaker: Breaker) -> Iterator[tuple[str, ...]]:
    """The rows of a breaker: one for all processes in which it is in the same state."""
    name = (
        breaker.model,
        breaker.version,
        breaker.instance or "-",
        MODES.get(breaker.mode, BreakerMode.Name(breaker.mode)),
    )
    alike: dict[tuple[str, ...], list[str]] = {}
    for process in breaker.processes:
        alike.setdefault(_cells(process), []).append(str(process.process))
    for cells, processes in alike.items():
        yield (*name, ", ".join(processes), *cells)
    if not alike:
        yield (*name, "none", *["-"] * 6)


def _cells(process: ProcessBreaker) -> tuple[str, ...]:
    error = process.last_error
    return (
        BreakerState.Name(process.state).lower().replace("_", "-"),
        f"{process.consecutive_failures} failed",
        f"{process.window_failures} of {process.window_batches} failed",
        _next_try(process),
        str(process.opened),
        error if len(error) <= _LONGEST_ERROR else error[: _LONGEST_ERROR - 3] + "...",
    )


def _process_json(process: ProcessBreaker) -> dict[str, Any]:
    never = math.isinf(process.retry_in_s)
    return {
        "process": process.process,
        "state": BreakerState.Name(process.state).lower().replace("_", "-"),
        "consecutive_failures": process.consecutive_failures,
        "window_batches": process.window_batches,
        "window_failures": process.window_failures,
        "retry_in_s": None if never else process.retry_in_s,
        "opened": process.opened,
        "last_error": process.last_error,
    }


def _next_try(process: ProcessBreaker) -> str:
    """When an open breaker lets a request through to try.

    It stays open until a request comes, however long its time has passed.
    """
    if math.isinf(process.retry_in_s):
        return "never"
    if process.retry_in_s:
        return f"in {process.retry_in_s:.1f} s"
    return "next request" if process.state == OPEN else "-"
