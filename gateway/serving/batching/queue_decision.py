"""What a queue of a serving process has decided, for its caller to act on."""

from __future__ import annotations

import msgspec

from gateway.serving.batching.queued_request import QueuedRequest


class Decision(msgspec.Struct):
    """What is to be done now. There are three cases.

    A batch goes; or `wait_s` says when to ask again; or there is neither, and it is time to ask
    when somebody comes. In each of them `expired` may have some who are too late.
    """

    batch: list[QueuedRequest] = msgspec.field(default_factory=list)
    rows: int = 0
    expired: list[QueuedRequest] = msgspec.field(default_factory=list)
    wait_s: float | None = None
