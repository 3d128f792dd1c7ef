"""Messages between the control process and an inspection process, and their frames.

A frame is four bytes of length, then msgpack.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from gateway.core.plan import Findings, SessionPlan, WarmupInput

LENGTH: Final = struct.Struct("<I")


class InspectionJob(msgspec.Struct, frozen=True):
    """One model file to inspect, and all that its findings depend on."""

    path: str
    """The model file."""
    file_hash: str
    """Hash over the file and what it refers to (external data)."""
    session: SessionPlan = msgspec.field(default_factory=SessionPlan)
    reference: str = ""
    """Path of a reference sample (.npz); empty: there is none."""
    warmup: tuple[WarmupInput, ...] = ()
    """A configured warm-up request, for inputs that the reference sample lacks."""
    max_batch_size: int = 0
    """Rows configured for a batch, up to which the cost curve goes even against the evidence.

    0: it goes to 64 where the evidence is for batching.
    """
    measure: bool = True
    """The cost curve is wanted."""
    timeout_s: float = 60.0
    """Seconds after which the process is killed if it has not answered."""


class Report(msgspec.Struct):
    """A message from the process: what it is doing with the model, and in the end the findings."""

    doing: str = ""
    findings: Findings | None = None


def frame(message: InspectionJob | Report) -> bytes:
    """The message with its length before it."""
    data = msgspec.msgpack.encode(message)
    return LENGTH.pack(len(data)) + data
