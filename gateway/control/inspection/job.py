"""What the inspecting process is asked and answers, and the frames they travel in.

Four bytes of length, then msgpack.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

import msgspec

from gateway.core.plan import Findings, SessionPlan, WarmupInput

LENGTH: Final = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class InspectionJob:
    """One model file to inspect, and all that its findings depend on."""

    path: str
    """The model file."""
    file_hash: str
    """Hash over the file and what it refers to (external data)."""
    session: SessionPlan = field(default_factory=SessionPlan)
    reference: str = ""
    """Path of a reference sample (.npz); empty: there is none."""
    warmup: tuple[WarmupInput, ...] = ()
    """A configured warm-up request, taken for inputs the reference sample lacks."""
    max_batch_size: int = 0
    """Rows configured for a batch: the cost curve goes there even against the evidence.

    0: to 64 where the evidence is for batching.
    """
    measure: bool = True
    """The cost curve is wanted."""
    timeout_s: float = 60.0
    """The process is killed when it has not answered by then."""


class Report(msgspec.Struct):
    """What the process says: first what it is doing to the model, in the end the findings."""

    doing: str = ""
    findings: Findings | None = None


def frame(message: InspectionJob | Report) -> bytes:
    """The message as it travels."""
    data = msgspec.msgpack.encode(message)
    return LENGTH.pack(len(data)) + data
