"""What a serving process writes down beside requests and batches, and what has no fixed length.

On their way to the telemetry process events are plain tuples in marshal's form, for both ends are
this program.
"""

from __future__ import annotations

import marshal
from typing import Any, Final, NamedTuple

from gateway.core.request import RequestEvent


class ProcessStarted(NamedTuple):
    """A process has begun to write; the numbers that an earlier one gave mean nothing any more."""

    pid: int
    seed: bytes
    """16 random bytes, from which its readers make ids for it (`gateway.records.span_ids`)."""


class NameAssigned(NamedTuple):
    """What a number in the cells that follow stands for."""

    kind: str
    """`peer`, `instance` or `version`."""
    number: int
    text: str
    """A peer as gRPC writes it; an instance's name; MODEL/VERSION."""


class Detail(NamedTuple):
    """More of the request whose cell comes next."""

    error: str = ""
    """The error text its caller got."""
    served_by: str = ""
    fallback_reason: str = ""
    retries: int = 0
    """How often a batch it was in has failed and was run again."""
    request_id: str = ""
    """The whole id, where the cell has no room for it; else empty."""
    tracestate: str = ""
    model: str = ""
    """The name that the caller wrote, where no version was found; never a label of a metric."""
    events: tuple[RequestEvent, ...] = ()
    """What was decided about the request, in order."""


class StateChanged(NamedTuple):
    """Something happened that is no request.

    For example, a breaker moved, a worker process died, or a remote address was lost.
    """

    at_ns: int
    what: str
    """`breaker`, `worker`, ..."""
    model: str
    version: int
    instance: str
    """An instance's name; empty: the version as a whole."""
    state: str
    """What it is from here on, such as `open`."""
    text: str


class InstanceGauges(NamedTuple):
    """One instance of a version at one moment."""

    name: str
    available: bool
    running: int
    """Batches that run."""
    breaker: str
    """`closed`, `open`, `half-open`."""


class VersionGauges(NamedTuple):
    """One version in one process at one moment."""

    row: int
    model: str
    version: int
    queued: int
    queued_bytes: int
    in_flight: int
    running: int
    """Batches that run."""
    breaker: str
    forced: str
    """What an operator has set its breaker to; empty: nothing."""
    instances: tuple[InstanceGauges, ...]
    """There are none where threads of the process run it."""


class Gauges(NamedTuple):
    """One process at one moment; written every second."""

    at_ns: int
    pid: int
    loop_lag_s: float
    """How late the event loop came to a timer, at worst, since the gauges before these."""
    in_flight: int
    dropped: int
    """Cells that found no room, ever."""
    cpu_s: float
    """Processor time of the process, ever."""
    rss_bytes: int
    versions: tuple[VersionGauges, ...]


Event = ProcessStarted | NameAssigned | Detail | StateChanged | Gauges

_KINDS: Final = (ProcessStarted, NameAssigned, Detail, StateChanged, Gauges)
_TAGS: Final = {kind: tag for tag, kind in enumerate(_KINDS)}


def encode(event: Event) -> bytes:
    """The event as bytes."""
    fields: tuple[Any, ...] = tuple(event)
    if type(event) is Gauges:
        fields = (
            *fields[:-1],
            tuple(
                (*version[:-1], tuple(map(tuple, version.instances))) for version in event.versions
            ),
        )
    return marshal.dumps((_TAGS[type(event)], *fields))


def decode(data: bytes) -> Event:
    """The event of these bytes."""
    fields: list[Any]
    tag, *fields = marshal.loads(data)  # noqa: S302  # see above
    if _KINDS[tag] is Gauges:
        fields[-1] = tuple(
            VersionGauges._make((*version[:-1], tuple(map(InstanceGauges._make, version[-1]))))
            for version in fields[-1]
        )
    event: Event = _KINDS[tag]._make(fields)
    return event
