"""What a serving process and a worker process send each other, one message a packet.

Tensors stand in the arena. The worker sends first, once: Opened or Refused. Then each Run is
answered by Ran or Failed before the next is sent.
"""

from __future__ import annotations

import pickle
from typing import Final

import msgspec
from msgspec.structs import replace

from gateway.core.plan import VersionPlan
from gateway.core.protection import ProtectionPlan
from gateway.serving.runtime.process.arena import Arena
from gateway.serving.runtime.process.arena_tensors import Place

MESSAGE_BYTES: Final = 1 << 18
"""The longest message; the kernel's own limit of a packet is lower by default."""
_TEXT_LENGTH: Final = 2000
_PLAN_AT: Final = 8


class Opened(msgspec.Struct, array_like=True, tag=True, frozen=True):
    """The model is open and warm."""

    warning: str = ""
    """Why it could not be warmed up; empty where it could."""


class Refused(msgspec.Struct, array_like=True, tag=True, frozen=True):
    """The model cannot be opened."""

    reason: str


class Run(msgspec.Struct, array_like=True, frozen=True):
    """A batch, whose inputs stand in the arena.

    Equal packets are equal in everything but the inputs' values.
    """

    rows: int
    wanted: tuple[int, ...]
    inputs: tuple[Place, ...]
    outputs_at: int
    """The offset from which on outputs may be written."""


class Ran(msgspec.Struct, array_like=True, tag=True, frozen=True):
    """The outputs stand in the arena, in the order wanted."""

    outputs: tuple[Place, ...]


class Failed(msgspec.Struct, array_like=True, tag=True, frozen=True):
    """The model was run and failed."""

    reason: str


Answer = Opened | Refused | Ran | Failed

encode = msgspec.msgpack.Encoder().encode
decode_run = msgspec.msgpack.Decoder(Run).decode
decode_answer = msgspec.msgpack.Decoder[Answer](Answer).decode


def short(error: BaseException | str) -> str:
    """An error's text, short enough for a packet."""
    text = error if isinstance(error, str) else str(error) or type(error).__name__
    return text if len(text) <= _TEXT_LENGTH else f"{text[:_TEXT_LENGTH]}..."


def hand_over(plan: VersionPlan, arena: Arena) -> None:
    """Leaves the plan in the arena for a worker that is to be started.

    It may be longer than a packet. What protects the version stays here, with its secrets.
    """
    data = pickle.dumps(replace(plan, protection=ProtectionPlan(), model_config=b""))
    arena.write(0, len(data).to_bytes(_PLAN_AT, "little"))
    arena.write(_PLAN_AT, data)


def handed_over(arena: Arena) -> VersionPlan:
    """The plan a worker was started with."""
    # our own
    plan: VersionPlan = pickle.loads(  # noqa: S301
        arena.read(_PLAN_AT, int.from_bytes(arena.read(0, _PLAN_AT), "little"))
    )
    return plan
