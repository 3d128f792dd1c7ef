"""One port for all serving processes and for no other program; the control process reserves it.

Serving processes share their port by SO_REUSEPORT, under which Linux lets any socket of the same
user in: a second gateway on the same port would silently take half of the calls. So the control
process first binds the port as its only owner, then opens it to sockets that share, and holds it
without listening: connections go to the serving processes only, and the port stays the gateway's
while all of them are dead.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from typing import Self

ATTEMPTS = 16
"""How many free ports are tried where one must be free on several addresses."""


class PortUnavailable(Exception):
    """The address cannot be listened on; the text says who may hold it and what to do."""


class ReservedPort:
    """A port that no other program can take while this is open."""

    def __init__(self, sockets: list[socket.socket]) -> None:
        self.sockets = sockets
        self.port: int = sockets[0].getsockname()[1]
        self.addresses = tuple(_address_text(s) for s in sockets)
        """Where serving processes listen, as gRPC writes it: `127.0.0.1:8001`, `[::1]:8001`."""

    def __repr__(self) -> str:
        return f"<ReservedPort {' '.join(self.addresses)}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def local_address(self) -> str:
        """An address that a caller on this machine can use."""
        return self.addresses[0].replace("[::]", "127.0.0.1").replace("0.0.0.0", "127.0.0.1")  # noqa: S104

    def listen(self) -> None:
        """Takes connections itself, for a port that is not shared with other processes."""
        for held in self.sockets:
            held.listen(128)

    def close(self) -> None:
        """Gives the port up."""
        for held in self.sockets:
            held.close()


def reserve_port(host: str, port: int, option: str = "--port") -> ReservedPort:
    """Reserves a port (0..65535) on every address of the host; 0 picks one that is free.

    `host` is a name or an address; `0.0.0.0` and `::` are all addresses of both families, as gRPC
    has it. `option` is what the user would change, for the error's text. Raises `PortUnavailable`
    where another program holds the port, or the host is not this machine.
    """
    addresses = _resolve(host, option)
    for _ in range(ATTEMPTS if port == 0 and len(addresses) > 1 else 1):
        try:
            return ReservedPort(_reserve_all(addresses, port))
        except OSError as error:
            failure = error
            if error.errno != errno.EADDRINUSE:
                break
    raise PortUnavailable(_why(failure, host, port, option)) from failure


def _resolve(host: str, option: str) -> list[tuple[socket.AddressFamily, str]]:
    if host in ("0.0.0.0", "::", "[::]", ""):  # noqa: S104  # asked for by the user
        return [(socket.AF_INET6, "::")] if _has_dual_stack() else [(socket.AF_INET, "0.0.0.0")]  # noqa: S104
    try:
        found = socket.getaddrinfo(
            host.strip("[]"), None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise PortUnavailable(
            f"the host {host!r} cannot be resolved ({error.strerror or error}): give an "
            "address of this machine with --host (127.0.0.1 for local callers only, 0.0.0.0 "
            f"for all), needed for {option}"
        ) from error
    return list(dict.fromkeys((family, str(sockaddr[0])) for family, _, _, _, sockaddr in found))


def _has_dual_stack() -> bool:
    if not socket.has_dualstack_ipv6():
        return False
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::", 0))
        return True
    return False


def _reserve_all(
    addresses: list[tuple[socket.AddressFamily, str]], port: int
) -> list[socket.socket]:
    """Reserves the port on every one of the addresses that this machine has.

    `localhost` may name a family that is switched off. Raises OSError where an address is taken, or
    none is this machine's.
    """
    held: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, address in addresses:
            try:
                held.append(_reserve(family, address, port))
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                missing = error
            else:
                port = held[0].getsockname()[1]
        if not held and missing is not None:
            raise missing
    except OSError:
        for one in held:
            one.close()
        raise
    return held


def _reserve(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    alone = _unbound(family, address)
    try:
        # set while it binds: connections that linger in TIME_WAIT are no obstacle
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        alone.bind((address, port))  # fails if anything else holds the port
        # then unset, or the next gateway could do the same until somebody listens
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError:
        alone.close()
        raise
    with contextlib.closing(alone):
        return _second(family, address, alone.getsockname()[1]) or alone.dup()


def _second(family: socket.AddressFamily, address: str, port: int) -> socket.socket | None:
    """A socket that shares the port from its birth, in place of the first.

    The kernel also keeps, per port, whether sockets shared when they were bound. None: connections
    of another program still linger, and the first socket is kept.
    """
    sharing = _unbound(family, address)
    sharing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        sharing.bind((address, port))
    except OSError:
        sharing.close()
        return None
    return sharing


def _unbound(family: socket.AddressFamily, address: str) -> socket.socket:
    unbound = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET6:
        unbound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address != "::")
    return unbound


def _address_text(bound: socket.socket) -> str:
    host, port = socket.getnameinfo(
        bound.getsockname(), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    )
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _why(error: OSError, host: str, port: int, option: str) -> str:
    where = f"port {port} on {host or 'all addresses'}"
    if error.errno == errno.EADDRINUSE:
        return (
            f"{where} is taken: another program holds it, maybe another gateway. `ss -ltnp "
            f"'sport = :{port}'` shows which; stop it, or choose another port with "
            f"{option} (0 picks a free one)"
        )
    if error.errno == errno.EACCES:
        return (
            f"{where} is for privileged programs only: choose a port of 1024 or more with {option}"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return (
            f"{host} is not an address of this machine: choose one with --host "
            "(127.0.0.1, or 0.0.0.0 for all)"
        )
    return f"{where} cannot be had: {error.strerror or error}"
