"""What each transport does with calls of many messages either way."""

import itertools
import json
import queue
import statistics
import time

import grpc
import pytest

from tests.support.contract_client import stream, unary, wait_until
from tests.support.raw_client import RawClient, framed, parsed


class Caller:
    """A stream whose messages are sent one by one."""

    def __init__(self, channel, name, **options):
        self._outgoing = queue.SimpleQueue()
        self.call = stream(channel, name)(iter(self._outgoing.get, None), **options)

    def send(self, message):
        self._outgoing.put(message)

    def end(self):
        self._outgoing.put(None)


def failing(call):
    """The error that this stream ends with, after the messages before it."""
    received = []
    with pytest.raises(grpc.RpcError) as caught:
        received.extend(call)
    return caught.value


def test_messages_go_back_and_forth_one_by_one(channel):
    caller = Caller(channel, "Echo", timeout=10)
    for number in range(100):
        caller.send(b"%d" % number)
        assert next(caller.call) == b"%d" % number
    caller.end()
    assert list(caller.call) == []
    assert caller.call.code() is grpc.StatusCode.OK


def test_messages_keep_their_order_and_their_content(channel):
    messages = [b"", b"x", bytes(20 << 20), *(b"%d" % number for number in range(1000))]
    assert list(stream(channel, "Echo")(iter(messages), timeout=30)) == messages


def test_many_messages_may_answer_one(channel):
    assert list(stream(channel, "Count")(iter([b"1000"]), timeout=10)) == [
        b"%d" % number for number in range(1000)
    ]


def test_the_method_may_end_while_the_client_would_go_on(channel):
    caller = Caller(channel, "Three", timeout=10)
    for number in range(5):
        caller.send(b"%d" % number)
    assert list(caller.call) == [b"0", b"1", b"2"]
    assert caller.call.code() is grpc.StatusCode.OK
    caller.end()


def test_a_method_that_neither_reads_nor_writes_ends_the_stream(channel):
    caller = Caller(channel, "Ignore", timeout=10)
    assert list(caller.call) == []
    assert caller.call.code() is grpc.StatusCode.OK
    caller.end()


def test_a_client_that_sends_nothing_gets_an_empty_answer(channel):
    assert list(stream(channel, "Echo")(iter(()), timeout=10)) == []


def test_the_method_sees_metadata_peer_and_deadline(channel):
    (described,) = stream(channel, "Describe")(
        iter(()), timeout=5, metadata=(("name", "value"), ("octets-bin", b"\x00\xff"))
    )
    described = json.loads(described)
    assert {("name", "value"), ("octets-bin", "00ff")} <= {
        tuple(pair) for pair in described["metadata"]
    }
    assert described["peer"].startswith("ipv4:127.0.0.1:")
    assert described["remaining_s"] == pytest.approx(5, abs=0.25)


@pytest.mark.parametrize("after", [0, 3])
def test_an_error_ends_the_stream_with_its_status_after_what_was_sent_before(channel, after):
    failure = json.dumps(
        {"kind": "CallEnded", "code": 9, "text": "told", "trailers": [["why", "because"]]}
    ).encode()
    caller = Caller(channel, "Fail", timeout=10)
    for number in range(after):
        caller.send(b"%d" % number)
        assert next(caller.call) == b"%d" % number
    caller.send(failure)
    ended = failing(caller.call)
    assert (ended.code(), ended.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "told")
    assert dict(ended.trailing_metadata()) == {"why": "because"}
    caller.end()


def test_an_unexpected_exception_tells_its_class_only_and_is_logged_once(server, channel):
    ended = failing(
        stream(channel, "Fail")(
            iter([b'{"kind": "SomethingOfOurs", "text": "a secret"}']), timeout=10
        )
    )
    assert (ended.code(), ended.details()) == (
        grpc.StatusCode.INTERNAL,
        "internal error: ValueError",
    )
    assert ["ValueError: a secret" in line for line in server.state()["log"]] == [True]
    server.expected_log = 1


def test_a_passed_deadline_ends_the_stream_and_cancels_the_method(server, channel):
    ended = failing(stream(channel, "Wait")(iter(()), timeout=0.3))
    assert ended.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    server.wait_for("cancelled")


def test_messages_over_the_limit_end_the_stream_naming_it(start_server, connect):
    server = start_server(max_message_bytes=50_000)
    channel = connect(server)
    for ended in (
        failing(stream(channel, "Echo")(iter([b"x", bytes(50_001)]), timeout=10)),
        failing(stream(channel, "Flood")(iter(()), timeout=10)),
    ):
        assert ended.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "50000" in ended.details()
    server.wait_for("cancelled")
    assert server.is_idle()
    assert server.state()["log"] == []


def test_a_slow_reader_holds_the_method_back_and_costs_no_memory(server, channel):
    before = server.state()["resident"]
    call = stream(channel, "Flood")(iter(()))
    next(call)
    counts = []

    def stands_still():
        counts.append(server.seen("flooded"))
        return len(counts) > 20 and counts[-20] == counts[-1]

    assert wait_until(stands_still), counts
    assert server.state()["resident"] - before < 64 << 20
    for _ in itertools.islice(call, 200):  # reading lets the method go on
        pass
    assert server.seen("flooded") > counts[-1]
    call.cancel()
    server.wait_for("cancelled")


def test_a_client_that_floods_is_held_back_by_a_method_that_does_not_read(server):
    frame = framed(bytes((1 << 14) - 5))
    sent = 0
    with RawClient(server) as client:
        call = client.begin("/test.Contract/StreamWait")
        while client.read_until(lambda: client.window(call) >= len(frame), within_s=0.5):
            client.send(call, frame, end=False)
            sent += len(frame)
            assert sent < 32 << 20
    server.wait_for("cancelled")


def test_messages_may_be_split_and_joined_at_any_byte(server):
    messages = [b"first", b"", b"x" * 1000, b"last"]
    body = b"".join(map(framed, messages))
    with RawClient(server) as client:
        call = client.begin("/test.Contract/StreamEcho")
        for start in range(0, len(body), 7):
            client.send(call, body[start : start + 7], end=False)
        client.end(call)
        assert client.ended(call)["grpc-status"] == "0"
        assert [message for _, message in parsed(client.bodies[call])] == messages


@pytest.mark.timeout(60)
def test_with_a_thousand_streams_open_a_call_on_another_connection_is_answered_within_50_ms(
    server, connect
):
    channel = connect(server)
    calls = [stream(channel, "Wait")(iter(())) for _ in range(1000)]
    for call in calls:
        assert next(call) == b"ready"
    assert server.state()["open"] == 1000
    latencies = []
    for _ in range(7):
        other = connect(server)
        began = time.monotonic()
        assert unary(other, "Echo")(b"?", timeout=10) == b"?"
        latencies.append(time.monotonic() - began)
    assert statistics.median(latencies) < 0.05, latencies
    for call in calls:
        call.cancel()
    server.wait_for("cancelled", 1000)


@pytest.mark.timeout(60)
def test_a_thousand_streams_echo_side_by_side(server):
    with RawClient(server) as client:
        calls = [client.begin("/test.Contract/StreamEcho") for _ in range(1000)]
        for call in calls:
            client.send(call, framed(b"%d" % call), end=True)
        assert all(client.ended(call)["grpc-status"] == "0" for call in calls)
        assert all(parsed(client.bodies[call]) == [(0, b"%d" % call)] for call in calls)
