"""Options on the command line of commands that ask a server: address, TLS, time-out, token."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import Final

from gateway.cli.client.client_options import (
    ADDRESS_VARIABLE,
    DEFAULT_ADDRESS,
    ClientOptions,
)
from gateway.cli.command_errors import CommandError
from gateway.config.quantities import parse_duration_s
from gateway.serving.wire.security.authorization import read_token

_TLS_NAMES = ("tls", "tls_ca", "tls_cert", "tls_key", "tls_server_name")


_ADMIN_FILE: Final = "GATEWAY_TOKEN_FILE"


def add_connection_arguments(parser: argparse.ArgumentParser, timeout: str = "5s") -> None:
    """The address, the time-out, and a group for TLS; `timeout` is what holds by default."""
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        help=f"where the server is [default: ${ADDRESS_VARIABLE}, else {DEFAULT_ADDRESS}]",
    )
    parser.add_argument(
        "--timeout",
        metavar="DURATION",
        default=timeout,
        help=f"for everything that is asked [default: {timeout}]",
    )
    _add_tls_arguments(parser.add_argument_group("TLS"))


def _add_tls_arguments(tls: argparse._ArgumentGroup) -> None:
    tls.add_argument("--tls", action="store_true", help="speak TLS; so does every option below")
    tls.add_argument(
        "--tls-ca",
        metavar="FILE",
        default="",
        help="roots that the server's certificate leads to, PEM [default: gRPC's own]",
    )
    tls.add_argument(
        "--tls-cert", metavar="FILE", default="", help="the client's own certificate, PEM"
    )
    tls.add_argument("--tls-key", metavar="FILE", default="", help="its key, PEM")
    tls.add_argument(
        "--tls-server-name",
        metavar="NAME",
        default="",
        help="the name in the server's certificate [default: as in HOST:PORT]",
    )


def connection_options(arguments: argparse.Namespace, faults: list[str]) -> ClientOptions:
    """What these arguments say.

    Raises `CommandError` with `faults`, which were found before, and all that is wrong with these.
    """
    timeout_s = 0.0
    address = _address(arguments.address, faults)
    try:
        timeout_s = parse_duration_s(arguments.timeout)
    except ValueError as error:
        faults.append(f"--timeout: {error}")
    if faults:
        raise CommandError(faults)
    return ClientOptions(
        address, timeout_s, **{name: getattr(arguments, name) for name in _TLS_NAMES}
    )


def _address(given: str | None, faults: list[str]) -> str:
    """The option, else the variable of the environment, else this machine."""
    address = given or os.environ.get(ADDRESS_VARIABLE) or DEFAULT_ADDRESS
    if not re.fullmatch(r".+:\d{1,5}|unix:.+", address):
        where = "--address" if given else f"${ADDRESS_VARIABLE}"
        faults.append(f"{where}: expected HOST:PORT, such as {DEFAULT_ADDRESS}, got {address!r}")
    return address


def add_token_argument(parser: argparse.ArgumentParser, what_for: str) -> None:
    """The file with the admin token; `what_for` says which of the command's calls want it."""
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help=f"holds the gateway's admin token, for {what_for} from another machine "
        f"[default: ${_ADMIN_FILE}]",
    )


def token(arguments: argparse.Namespace, faults: list[str]) -> str:
    """The admin token; empty: none is given. What is wrong with it is added to the faults."""
    where = "--token-file" if arguments.token_file else f"${_ADMIN_FILE}"
    path = arguments.token_file or os.environ.get(_ADMIN_FILE)
    try:
        return read_token(Path(path)) if path else ""
    except OSError as error:
        faults.append(f"{where}: {path} cannot be read: {error.strerror}")
    except ValueError as error:
        faults.append(f"{where}: {error}")
    return ""
