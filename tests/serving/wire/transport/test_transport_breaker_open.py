"""A call that an open circuit breaker refuses is refused at once, and told not to try again."""

import json
import time

import grpc
import pytest

from tests.support.contract_client import unary
from tests.support.raw_client import RawClient, framed

CIRCUIT_OPEN = json.dumps({"kind": "CircuitBreakerOpen", "text": "retrying in 3.2 s"}).encode()
UNAVAILABLE = json.dumps({"kind": "Unavailable", "text": "it is loading"}).encode()
RETRIES = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 5,
                    "initialBackoff": "2s",
                    "maxBackoff": "2s",
                    "backoffMultiplier": 1,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    }
)


def refusal(channel, message=CIRCUIT_OPEN):
    with pytest.raises(grpc.RpcError) as caught:
        unary(channel, "Fail")(message, timeout=30)
    return caught.value


def test_it_is_unavailable_with_its_text_and_a_pushback_that_ends_retries(channel):
    ended = refusal(channel)
    assert (ended.code(), ended.details()) == (grpc.StatusCode.UNAVAILABLE, "retrying in 3.2 s")
    assert ("grpc-retry-pushback-ms", "-1") in tuple(ended.trailing_metadata())


def test_what_is_unavailable_for_another_reason_may_be_tried_again(channel):
    assert "grpc-retry-pushback-ms" not in dict(refusal(channel, UNAVAILABLE).trailing_metadata())


def test_it_is_told_in_trailers_only(server):
    with RawClient(server) as client:
        for _ in range(3):
            stream = client.begin("/test.Contract/Fail")
            client.send(stream, framed(CIRCUIT_OPEN))
            ended = client.ended(stream)
            assert (
                ended["grpc-status"],
                ended["grpc-retry-pushback-ms"],
                ended["grpc-message"],
            ) == ("14", "-1", "retrying in 3.2 s")
            assert client.headers[stream] is ended  # the only headers there were
            assert stream not in client.bodies


def test_a_client_with_a_retry_policy_is_not_kept_waiting(server, connect):
    channel = connect(server, ("grpc.enable_retries", 1), ("grpc.service_config", RETRIES))
    refusal(channel)  # connects
    asked = time.monotonic()
    refusal(channel)
    # without the pushback it tries four more times, seconds apart
    assert time.monotonic() - asked < 1.0
