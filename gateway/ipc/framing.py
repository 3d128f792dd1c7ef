"""How messages are written on a link between the control process and another one.

A frame is four bytes of length, then the pickled message. Each link is a private socket pair
between processes of one gateway, which is what makes pickle safe here: nobody else can write to it.
"""

from __future__ import annotations

import pickle
import struct
from typing import Any

LENGTH = struct.Struct(">I")
"""The head of a frame: the number of bytes that follow."""


def encode(message: object) -> bytes:
    """The message as a frame."""
    body = pickle.dumps(message, protocol=5)
    return LENGTH.pack(len(body)) + body


def decode(body: bytes) -> Any:
    """The message of a frame from which the length has been taken off."""
    return pickle.loads(body)  # noqa: S301  # both ends are ours, see above
