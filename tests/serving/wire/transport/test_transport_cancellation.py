"""Deadlines, cancellations and clients that vanish."""

import os
import signal
import subprocess
import sys
import time

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.contract_client import stream, unary, wait_until
from tests.support.raw_client import RawClient, bytes_of_a_call, framed

WAITS = ["Wait", "WaitInTask"]  # on a Waiter, driven by hand; on asyncio's own future


@pytest.mark.parametrize("method", WAITS)
def test_a_passed_deadline_ends_the_call_and_cancels_the_method(server, channel, method):
    began = time.monotonic()
    with pytest.raises(grpc.RpcError) as caught:
        unary(channel, method)(b"", timeout=0.3)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    server.wait_for("cancelled")
    assert 0.25 < time.monotonic() - began < 0.9


@pytest.mark.parametrize("path", ["Wait", "WaitInTask", "StreamWait"])
def test_the_server_itself_ends_a_call_whose_deadline_has_passed(server, path):
    with RawClient(server) as client:  # this client has no clock of its own
        call = client.begin(f"/test.Contract/{path}", ("grpc-timeout", "200m"))
        client.send(call, framed(b""), end=path != "StreamWait")
        assert client.ended(call, 5)["grpc-status"] == "4"
    server.wait_for("cancelled")


@pytest.mark.parametrize("path", ["Hot", "Echo"])
def test_a_call_that_never_sends_its_message_ends_at_its_deadline(server, path):
    with RawClient(server) as client:
        call = client.begin(f"/test.Contract/{path}", ("grpc-timeout", "200m"))
        assert client.ended(call, 5)["grpc-status"] == "4"


@pytest.mark.parametrize("method", WAITS)
@pytest.mark.parametrize("waited_s", [0.0, 0.2], ids=["just begun", "waiting for a while"])
def test_a_clients_cancellation_reaches_the_method_soon(server, channel, method, waited_s):
    call = unary(channel, method).future(b"")
    server.wait_for("started")
    time.sleep(waited_s)
    call.cancel()
    cancelled = time.monotonic()
    server.wait_for("cancelled")
    assert time.monotonic() - cancelled < 0.5


def test_a_streams_cancellation_reaches_the_method_soon(server, channel):
    call = stream(channel, "Wait")(iter(()))
    assert next(call) == b"ready"
    call.cancel()
    cancelled = time.monotonic()
    server.wait_for("cancelled")
    assert time.monotonic() - cancelled < 0.5


def test_one_cancelled_call_leaves_the_others_alone(server, channel):
    calls = [unary(channel, "Slow").future(b"0.5") for _ in range(20)]
    server.wait_for("started", 20)
    for call in calls[::2]:
        call.cancel()
    assert [call.result() for call in calls[1::2]] == [b"0.5"] * 10


CLIENT = """
import sys, grpc
channel = grpc.insecure_channel(sys.argv[1])
calls = [channel.unary_unary("/test.Contract/" + sys.argv[2]).future(b"") for _ in range(1000)]
calls[0].result()
"""


@pytest.mark.parametrize("method", WAITS)
def test_a_thousand_calls_whose_client_was_killed_are_cancelled_and_leave_nothing(
    server, channel, method
):
    tasks = server.state()["tasks"]
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, server.address, method],
        env={**os.environ, "GRPC_VERBOSITY": "NONE"},
    )
    try:
        server.wait_for("started", 1000, within_s=30)
    finally:
        client.send_signal(signal.SIGKILL)
        client.wait()
    server.wait_for("cancelled", 1000)
    assert server.is_idle()
    assert wait_until(lambda: server.state()["tasks"] <= tasks), server.state()
    assert unary(channel, "Hot")(b"still there", timeout=10) == b"still there"


def begun(client):
    client.begin("/test.Contract/Echo")


def half_sent(client):
    client.send(client.begin("/test.Contract/Echo"), framed(bytes(100_000))[:10_000], end=False)


def sent_by_half(client):
    """A call whose message is sent whole, while the client's side stays open."""
    client.send(client.begin("/test.Contract/Wait"), framed(b"message"), end=False)


def waiting(client):
    client.send(client.begin("/test.Contract/Wait"), framed(b"message"))


def answered_in_part(client):
    """A call whose window lets 64 KiB of the answer pass, and is never opened further."""
    client.send(client.begin("/test.Contract/Sized"), framed(b"20000000"))
    client.read_until(lambda: bool(client.headers))


def streaming(client):
    client.send(client.begin("/test.Contract/StreamWait"), framed(b"message"), end=False)
    client.read_until(lambda: bool(client.bodies))


def flooded(client):
    client.begin("/test.Contract/StreamFlood")
    client.read_until(lambda: bool(client.headers))


STAGES = [begun, half_sent, sent_by_half, waiting, answered_in_part, streaming, flooded]


@pytest.mark.parametrize(
    "leave", ["reset the stream", "reset the connection", "closed the connection"]
)
@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__)
def test_a_client_may_vanish_at_any_stage(server, channel, stage, leave):
    for _ in range(5):
        client = RawClient(server)
        stage(client)
        if leave == "reset the stream":
            client.reset(1)
            assert server.is_idle()
        if leave == "reset the connection":
            client.vanish()
        else:
            client.__exit__()
    assert server.is_idle()
    assert unary(channel, "Hot")(b"still there", timeout=10) == b"still there"


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_client_may_vanish_after_any_byte(server, channel, data):
    sent = bytes_of_a_call(
        data.draw(
            st.sampled_from(
                ["/test.Contract/Hot", "/test.Contract/Slow", "/test.Contract/StreamEcho"]
            )
        ),
        b"0.01",
    )
    client = RawClient(server)
    # the preface has been sent
    client._socket.sendall(sent[24:][: data.draw(st.integers(0, len(sent) - 24))])
    client.vanish()
    assert unary(channel, "Hot")(b"still there", timeout=10) == b"still there"
