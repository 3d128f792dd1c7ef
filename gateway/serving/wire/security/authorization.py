"""Who may change the server (Load, Unload, settings). Runs in a serving process.

Two kinds of callers may: those on this machine, and bearers of the administrators' token.
"""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from gateway.core.errors import NotPermitted, Unauthenticated
from gateway.serving.wire.transport.interface import Call

# What proxies send about the caller whose call they pass on. A caller could leave them out, a proxy
# on this machine only if it is configured so.
_FORWARDED: Final = frozenset(
    {
        "forwarded",
        "via",
        "x-forwarded-for",
        "x-real-ip",
        "x-forwarded-client-cert",
        "x-envoy-external-address",
    }
)


@dataclass(frozen=True, slots=True)
class AuthorizationOptions:
    """Which callers may change the server."""

    token: str = field(default="", repr=False)
    """Callers that send it as `authorization: Bearer TOKEN` may; empty: none may by a token.

    Without TLS it can be read on the way.
    """
    trust_loopback: bool = True
    """Callers on this machine may, without a token.

    It must be False where a reverse proxy on this machine passes on the calls of others. Most
    proxies send `x-forwarded-for` or the like, and such calls do not count as loopback, but one
    that does not makes every caller look local.
    """


class Authorization:
    """Lets callers change the server, or not."""

    def __init__(self, options: AuthorizationOptions) -> None:
        self._trust_loopback = options.trust_loopback
        self._token = options.token.encode()

    def require(self, call: Call) -> None:
        """Returns if the caller may change the server.

        Raises Unauthenticated where a token would help, else NotPermitted.
        """
        if self._trust_loopback and is_loopback(call.peer()) and not _is_forwarded(call):
            return
        if not self._token:
            raise NotPermitted(
                "only callers on the server's own machine may change it: call from there, or "
                "start the server with --admin-token-file and send the token as metadata "
                "'authorization: Bearer TOKEN'"
            )
        sent = [_bearer(value) for key, value in call.metadata() if key == "authorization"]
        if not any(hmac.compare_digest(token, self._token) for token in sent if token is not None):
            wrong = (
                "the token in the metadata 'authorization' is not the server's"
                if any(sent)
                else "changing the server takes a token"
            )
            raise Unauthenticated(
                f"{wrong}: send that of the server's --admin-token-file as metadata "
                "'authorization: Bearer TOKEN'"
            )

    def __repr__(self) -> str:
        who = ["loopback callers"] * self._trust_loopback + ["bearers of the token"] * bool(
            self._token
        )
        return f"<Authorization of {' and '.join(who) or 'nobody'}>"


def read_token(file: Path) -> str:
    """The token in a file, without the white space around it.

    Raises OSError, ValueError where the file holds none.
    """
    token = file.read_text(encoding="utf-8").strip()
    if (
        not token
        or any(character.isspace() for character in token)
        or not token.isascii()
        or not token.isprintable()
    ):
        raise ValueError(
            f"{file} must hold one token, of printable ASCII characters without spaces"
        )
    return token


def is_loopback(peer: str) -> bool:
    """The caller's address, in gRPC's form with its percent signs, is this machine's own."""
    scheme, _, rest = peer.partition(":")
    if scheme in ("unix", "unix-abstract"):
        return True
    if scheme not in ("ipv4", "ipv6"):
        return False
    host = unquote(rest).rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _is_forwarded(call: Call) -> bool:
    return any(key in _FORWARDED for key, _ in call.metadata())


def _bearer(value: str | bytes) -> bytes | None:
    """The token in a header's value; None where it is of another scheme."""
    scheme, _, token = (value if isinstance(value, bytes) else value.encode()).partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else None
