"""`gateway breakers`: the command line shows the circuit breakers of a gateway, or sets them."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any, cast

from gateway.cli.client.client_options import ClientOptions
from gateway.cli.client.control_client import ControlClient
from gateway.cli.command_errors import CommandError
from gateway.cli.options.connection_options import (
    add_connection_arguments,
    add_token_argument,
    connection_options,
    token,
)
from gateway.cli.reports.breaker_report import (
    MODES,
    breaker_report,
    breakers_json,
    no_instance,
    set_json,
    set_text,
)
from gateway.protocol.generated.gateway_control_pb2 import (
    AUTOMATIC,
    FORCE_CLOSED,
    FORCE_OPEN,
    ListBreakersRequest,
    ListBreakersResponse,
    SetBreakerRequest,
    SetBreakerResponse,
)

DESCRIPTION = """\
Shows the circuit breakers of a gateway, in all its processes, or sets them.

Each process has a breaker for every version, and one for every instance of it that can fail on
its own (a worker process, a remote address). It opens when too many batches fail: requests are
then refused at once, or answered by the fallback, until a request that is let through to try
succeeds. An operator can hold it open (nothing passes, nothing is tried) or closed (everything
passes, whatever fails) until it is set to automatic again or the gateway is started anew.

Setting is for callers on the gateway's own machine, and for those with its admin token."""

EXAMPLES = """\
examples:
  gateway breakers
  gateway breakers digits:2
  gateway breakers digits:2 --force-open
  gateway breakers digits --automatic --address 127.0.0.1:8001"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument(
        "model",
        metavar="MODEL[:VERSION]",
        nargs="?",
        default="",
        help="whose breakers [default: all; all its versions]",
    )
    instance = "only this instance's breaker, such as 'worker 1'"
    parser.add_argument("--instance", metavar="NAME", default="", help=instance)
    modes = parser.add_mutually_exclusive_group()
    for option, mode, help_text in (
        ("--force-open", FORCE_OPEN, "let nothing pass"),
        ("--force-close", FORCE_CLOSED, "let everything pass"),
        ("--automatic", AUTOMATIC, "let the breaker decide again, beginning with closed"),
    ):
        modes.add_argument(option, dest="mode", action="store_const", const=mode, help=help_text)
    parser.add_argument("--json", action="store_true", help="all that was told, as JSON")
    add_token_argument(parser, "setting")
    add_connection_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Shows circuit breakers, or sets them; returns the exit status."""
    options, given = _read(arguments)
    model, version = _name(arguments.model)
    with _BreakerClient(options, given) as client:
        if arguments.mode is None:
            listed = client.list_breakers(model, version)
            show = breakers_json if arguments.json else breaker_report
            print(show(listed, arguments.instance))
            return 0
        done = client.set_breaker(
            SetBreakerRequest(
                model=model, version=version, instance=arguments.instance, mode=arguments.mode
            )
        )
    for warning in done.warnings:
        print(f"gateway breakers: warning: {warning}", file=sys.stderr)
    print(set_json(done) if arguments.json else set_text(done, MODES[arguments.mode]))
    return 0


def _read(arguments: argparse.Namespace) -> tuple[ClientOptions, str]:
    faults: list[str] = []
    if arguments.mode is not None and not arguments.model:
        faults.append("name the MODEL, or MODEL:VERSION, whose breakers are to be set")
    given = token(arguments, faults)
    return connection_options(arguments, faults), given


def _name(text: str) -> tuple[str, str]:
    """The model and the version that a text names; a model's name may hold a colon."""
    found = re.fullmatch(r"(.+):(\d+)", text)
    return (found[1], found[2]) if found else (text, "")


class _BreakerClient(ControlClient):
    """A client that asks a gateway for its circuit breakers, which no other server has."""

    def __init__(self, options: ClientOptions, token: str) -> None:
        super().__init__(options, token)
        self._set = SetBreakerRequest()

    def list_breakers(self, model: str, version: str) -> ListBreakersResponse:
        return cast(
            "ListBreakersResponse",
            self._ask(
                self._control.ListBreakers, ListBreakersRequest(model=model, version=version), model
            ),
        )

    def set_breaker(self, request: SetBreakerRequest) -> SetBreakerResponse:
        self._set = request
        method = self._permitted(self._control.SetBreaker)
        return cast("SetBreakerResponse", self._ask(method, request, request.model))

    def _why_no_instance(self) -> Sequence[str]:
        """Why no such instance was found, where the version has none at all.

        Where it has some the gateway's own answer names them.
        """
        asked = self._set
        self._set = SetBreakerRequest()
        try:
            there = self.list_breakers(asked.model, asked.version)
        except CommandError:  # there is no such model either
            return self._other_models(asked.model)
        return (
            ()
            if any(breaker.instance for breaker in there.breakers)
            else (no_instance(there, asked.instance),)
        )

    def _hints(self, code: Any, details: str, model: str) -> Sequence[str]:
        if code.name == "UNIMPLEMENTED":
            return (f"{self._options.address} is a gRPC server, but no gateway that has breakers",)
        if code.name == "NOT_FOUND" and self._set.instance:
            return self._why_no_instance()
        return super()._hints(code, details, model)
