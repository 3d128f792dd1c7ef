"""What a client of the command line says and does about a call that failed.

A hint names what would help; none says to try again where that cannot.
"""

from __future__ import annotations

from typing import Final

from gateway.cli.client.client_options import ClientOptions
from gateway.cli.command_errors import FAILED, NO_ANSWER, NOT_FOUND, NOT_NOW, NOT_PERMITTED
from gateway.config.quantities import format_duration

_LEFT_ALONE: Final = ("circuit breaker for", "no instance can run")
"""What a gateway says of a version whose circuit breakers are open."""
_STATUS: Final = {
    "DEADLINE_EXCEEDED": NO_ANSWER,
    "NOT_FOUND": NOT_FOUND,
    "UNAUTHENTICATED": NOT_PERMITTED,
    "PERMISSION_DENIED": NOT_PERMITTED,
    "RESOURCE_EXHAUSTED": NOT_NOW,
    "UNAVAILABLE": NOT_NOW,
}
_NOT_READY: Final = "not at ready state: "
_SOON: Final = (
    "it is loading",
    "it is unloading",
    "ready state: loading",
    "still opening",
    "is starting",
    "being replaced",
)
_ADVICE: Final = (
    ("is stopping", "it is on its way out: ask another server, or this one when it is back"),
    (
        "load / unload is not allowed",
        "this gateway serves what its folder holds: change that, then `gateway reload`",
    ),
    ("unloaded", "somebody unloaded it: `gateway load {model}` brings it back"),
)
"""What helps where the details of UNAVAILABLE hold these words; the first that fits counts."""


def exit_status(code: str, details: str) -> int:
    """The exit status for a call that ended with this gRPC status, by the kind of failure."""
    if code == "UNAVAILABLE" and _is_of_the_connection(details.lower()):
        return NO_ANSWER
    if code == "RESOURCE_EXHAUSTED" and is_too_large(details):
        return FAILED
    return _STATUS.get(code, FAILED)


def hint(code: str, details: str, options: ClientOptions, model: str = "") -> str:
    """What to do about a status; empty where the server's own text says it all."""
    if code == "UNAVAILABLE":
        return _unavailable_hint(details, options, model)
    if code == "DEADLINE_EXCEEDED":
        return (
            f"{options.address} did not answer within {format_duration(options.timeout_s)}: "
            "give it longer with --timeout"
        )
    if code == "RESOURCE_EXHAUSTED":
        return _exhausted_hint(details)
    if code == "UNIMPLEMENTED":
        return (
            f"{options.address} is a gRPC server, but does not speak the Open Inference "
            "Protocol: is it the right port?"
        )
    return ""


def is_too_large(details: str) -> bool:
    """The message is over a limit, and will be the next time."""
    return "--max-message-size" in details or "larger than max" in details


def _exhausted_hint(details: str) -> str:
    """There are three cases: too large, over the caller's quota, or the server is busy."""
    if is_too_large(details):
        return (
            "send fewer rows (--rows N), or start the server with a larger --max-message-size: "
            "the same request will be refused again"
        )
    if "quota" in details:
        return ""
    return "the server has more to do than it can: send fewer rows (--rows N), or try again later"


def _unavailable_hint(details: str, options: ClientOptions, model: str) -> str:
    """What to do about UNAVAILABLE, of which only the details tell one cause from another."""
    if any(part in details for part in _LEFT_ALONE):
        return (
            f"`gateway breakers --address {options.address}` shows its circuit breakers, and "
            "sets them"
        )
    words = details.lower()
    if connection := _connection_hint(words, options):
        return connection
    return _hint_of_a_server(details, options, model)


def _hint_of_a_server(details: str, options: ClientOptions, model: str) -> str:
    """What to do where a server answers that it cannot."""
    words = details.lower()
    if any(part in words for part in _SOON):
        return "it is not there yet, or not any more: try again in a moment"
    advice = next((advice for part, advice in _ADVICE if part in words), "")
    if advice:
        return advice.format(model=model or "NAME")
    cure = "mend its files, then `gateway reload`: asking again alone does not help"
    if _NOT_READY in details:
        return f"{cure}; `gateway check DIR` shows all that is wrong with a model"
    return (
        f"`gateway models --address {options.address}` shows what is live, and why others are not"
    )


def _is_of_the_connection(words: str) -> bool:
    """No connection came about, or it broke."""
    return bool(_connection_hint(words, ClientOptions("")))


def _connection_hint(words: str, options: ClientOptions) -> str:
    """What to do where no connection came about; empty where one did."""
    address = options.address
    if _NOT_READY in words:  # a server's own words, whatever they quote
        return ""
    if "wrong_version_number" in words:
        return f"{address} does not speak TLS: leave out --tls and its like"
    if any(word in words for word in ("handshake", "certificate", "verification")):
        return (
            "TLS failed: give the roots of the server's certificate with --tls-ca, and the name "
            "in it with --tls-server-name"
        )
    if "http/2" in words:
        return f"{address} is no gRPC server: is it the right port?"
    return _closed_hint(words, options)


def _closed_hint(words: str, options: ClientOptions) -> str:
    address = options.address
    if "closed" in words or "reset" in words:
        return (
            f"{address} took the connection and closed it: does it want "
            f"{_wanted_of_clients(options)}, or is it no gRPC server?"
        )
    if "connect" in words or "dns" in words:
        return (
            f"nothing answers at {address}: start a server there with `gateway serve --models "
            "DIR`, or say where it is with --address"
        )
    return ""


def _wanted_of_clients(options: ClientOptions) -> str:
    """What a server that closes connections may want, and the options do not give it."""
    if options.secure:
        return "a certificate of its clients (--tls-cert FILE --tls-key FILE)"
    return "TLS (--tls-ca FILE)"
