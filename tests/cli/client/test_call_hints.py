"""What is said of a call that failed, and the exit status for it."""

import pytest

from gateway.cli.client.call_hints import exit_status, hint
from gateway.cli.client.client_options import ClientOptions
from gateway.cli.command_errors import FAILED, NO_ANSWER, NOT_FOUND, NOT_NOW, NOT_PERMITTED

REFUSED = "failed to connect to all addresses; last error: Connection refused"
NOT_READY = "Request for unknown model: 'm' is not at ready state: "


@pytest.mark.parametrize(
    ("code", "details", "text"),
    [
        ("UNAVAILABLE", REFUSED, "nothing answers at a:1"),
        ("UNAVAILABLE", "DNS resolution failed for a:1", "nothing answers at a:1"),
        ("UNAVAILABLE", NOT_READY + "it is LOADING", "try again in a moment"),
        ("UNAVAILABLE", NOT_READY + "unloaded", "`gateway load m` brings it back"),
        (
            "UNAVAILABLE",
            "circuit breaker for model 'm' version 1 is open: it failed 5 times",
            "`gateway breakers --address a:1`",
        ),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", "did not answer within 5s"),
        ("RESOURCE_EXHAUSTED", "Exceeds maximum queue size", "send fewer rows"),
        ("UNIMPLEMENTED", "unknown method", "does not speak the Open Inference Protocol"),
        ("INVALID_ARGUMENT", "unexpected shape", ""),
    ],
)
def test_each_status_comes_with_what_to_do_about_it(code, details, text):
    said = hint(code, details, ClientOptions("a:1"), "m")
    assert text in said
    assert bool(said) == bool(text)


@pytest.mark.parametrize(
    ("code", "details"),
    [
        ("UNAVAILABLE", NOT_READY + "model.onnx is no model: the connection was reset"),
        ("UNAVAILABLE", NOT_READY + "unloaded"),
        ("UNAVAILABLE", "the server is stopping: nothing can be changed any more"),
        ("UNAVAILABLE", "explicit model load / unload is not allowed if polling is enabled"),
        (
            "RESOURCE_EXHAUSTED",
            "the answer has 9 bytes, and a message may have 4 (--max-message-size): ask",
        ),
        ("RESOURCE_EXHAUSTED", "SERVER: Received message larger than max (9 vs. 4)"),
        ("NOT_FOUND", "there is no model 'm'"),
        ("INTERNAL", "failed to load 'm'"),
    ],
)
def test_nobody_is_told_to_try_again_where_that_cannot_help(code, details):
    assert "try again" not in hint(code, details, ClientOptions("a:1"), "m")


@pytest.mark.parametrize(
    ("code", "details", "status"),
    [
        ("UNAVAILABLE", REFUSED, NO_ANSWER),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", NO_ANSWER),
        ("UNAVAILABLE", NOT_READY + "unloaded", NOT_NOW),
        ("UNAVAILABLE", NOT_READY + "connection closed", NOT_NOW),
        ("RESOURCE_EXHAUSTED", "Exceeds maximum queue size", NOT_NOW),
        ("RESOURCE_EXHAUSTED", "message larger than max (9 vs. 4)", FAILED),
        ("NOT_FOUND", "there is no model 'm'", NOT_FOUND),
        ("UNAUTHENTICATED", "changing the server takes a token", NOT_PERMITTED),
        ("PERMISSION_DENIED", "only callers on the machine", NOT_PERMITTED),
        ("INTERNAL", "failed to load 'm'", FAILED),
    ],
)
def test_the_exit_status_tells_the_kind_of_failure(code, details, status):
    assert exit_status(code, details) == status
