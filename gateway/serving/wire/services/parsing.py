"""Bytes to request messages, in a serving process."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from gateway.core.errors import InvalidRequest

M = TypeVar("M", bound=Message)


def parse(kind: type[M], message: bytes) -> M:
    """The request; raises InvalidRequest where the bytes are none of this kind."""
    try:
        return kind.FromString(message)
    except DecodeError as error:
        raise InvalidRequest(f"the message is not a {kind.DESCRIPTOR.full_name}: {error}") from None
