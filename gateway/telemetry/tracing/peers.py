"""A caller's address and port, which the telemetry process reads from gRPC's text of them."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote


class Peer(NamedTuple):
    """A caller's address; the port is 0 where there is none."""

    address: str = ""
    port: int = 0


@lru_cache(4096)
def read_peer(text: str) -> Peer:
    """The address and port in gRPC's text of a peer.

    It has the forms `ipv4:127.0.0.1:5123`, `ipv6:[::1]:5123` (the brackets may be escaped) and
    `unix:/path`; any other text is taken for an address.
    """
    kind, _, rest = text.partition(":")
    if kind not in {"ipv4", "ipv6"}:
        return Peer(rest if kind == "unix" else text)
    address, _, port = unquote(rest).rpartition(":")
    if not address or not port.isdecimal() or int(port) > 0xFFFF:  # noqa: PLR2004
        return Peer(unquote(rest))
    return Peer(address.strip("[]"), int(port))
