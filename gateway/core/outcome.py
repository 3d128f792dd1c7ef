"""What the run of a batch in a serving process showed about the instance that ran it."""

from __future__ import annotations

from enum import Enum


class Outcome(Enum):
    """Three, not two.

    What says nothing about the model must neither trip a breaker nor close one.
    """

    SUCCESS = "success"
    FAILURE = "failure"
    NEUTRAL = "neutral"
    """Nothing learnt: a cancelled or expired batch, a caller's own fault."""
