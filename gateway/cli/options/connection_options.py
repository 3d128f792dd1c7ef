"""Options on the command line of commands that ask a server: its address, TLS, a time-out."""

from __future__ import annotations

import argparse
import re

from gateway.cli.client.inference_client import ClientOptions
from gateway.cli.command_errors import CommandError
from gateway.config.quantities import parse_duration_s

_NAMES = ("address", "tls", "tls_ca", "tls_cert", "tls_key", "tls_server_name")


def add_connection_arguments(parser: argparse.ArgumentParser) -> None:
    """The address, the time-out, and a group for TLS."""
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        default="127.0.0.1:8001",
        help="where the server is [default: 127.0.0.1:8001]",
    )
    parser.add_argument(
        "--timeout",
        metavar="DURATION",
        default="5s",
        help="for everything that is asked [default: 5s]",
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
    if not re.fullmatch(r".+:\d{1,5}|unix:.+", arguments.address):
        faults.append(
            f"--address: expected HOST:PORT, such as 127.0.0.1:8001, got {arguments.address!r}"
        )
    try:
        timeout_s = parse_duration_s(arguments.timeout)
    except ValueError as error:
        faults.append(f"--timeout: {error}")
    if faults:
        raise CommandError(faults)
    return ClientOptions(timeout_s=timeout_s, **{name: getattr(arguments, name) for name in _NAMES})
