"""gRPC's status numbers as spans tell them."""

from __future__ import annotations

from typing import Final

STATUS_NAMES: Final = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)

SERVER_FAULTS: Final = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
"""What the semantic conventions (docs/rpc/grpc.md) call an error of a SERVER span; any other is the caller's own."""


def status_name(number: int) -> str:
    """The name of a status; its number where gRPC has none such."""
    return STATUS_NAMES[number] if number < len(STATUS_NAMES) else str(number)
