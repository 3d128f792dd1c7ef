"""`gateway health`: the command line asks for gRPC health, as the probe of a container does."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, cast

from gateway.cli.client.inference_client import Client
from gateway.cli.command_errors import FAILED, CommandError
from gateway.cli.options.connection_options import add_connection_arguments, connection_options
from gateway.protocol.generated.health_pb2 import HealthCheckRequest, HealthCheckResponse

DESCRIPTION = """\
Asks for the health of a gateway, or of a model, over gRPC (grpc.health.v1.Health).

Prints SERVING and returns 0, or says what was answered and returns another status. It is the \
probe of the Dockerfile; Kubernetes asks for the same without a command."""

EXAMPLES = """\
examples:
  gateway health
  gateway health digits
  gateway health digits/2 --address 127.0.0.1:8001 --timeout 2s"""

_CHECK = "/grpc.health.v1.Health/Check"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument(
        "service",
        metavar="MODEL[/VERSION]",
        nargs="?",
        default="",
        help="whose health [default: the server's: whether its start is over and no stop begun]",
    )
    add_connection_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints the health; returns 0 for SERVING, and raises `CommandError` for all else."""
    options = connection_options(arguments, [])
    with _HealthClient(options) as client:
        status = client.health(arguments.service)
    if status != "SERVING":
        raise CommandError(f"{arguments.service or options.address} is {status}", FAILED)
    print(status)
    return 0


class _HealthClient(Client):
    """A client that asks any gRPC server for its health."""

    def health(self, service: str) -> str:
        """The status of a service by its name in the protocol; '' is the server."""
        check = self._channel.unary_unary(
            _CHECK,
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )
        answer = cast(
            "HealthCheckResponse", self._ask(check, HealthCheckRequest(service=service), service)
        )
        return HealthCheckResponse.ServingStatus.Name(answer.status)

    def _hints(self, code: Any, details: str, model: str) -> Sequence[str]:
        if code.name == "UNIMPLEMENTED":
            return (f"{self._options.address} is a gRPC server without the health service",)
        if code.name == "NOT_FOUND":  # the answer says which names are known
            return ()
        return super()._hints(code, details, model)
