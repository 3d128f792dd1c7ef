"""Calls that have begun and sent nothing take no slot from calls that send their message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.serving.wire.transport.completion_queue.open_calls import OpenCalls
from tests.support.contract_client import Server, unary, wait_until
from tests.support.raw_client import RawClient, framed, parsed

SILENT = 200  # more than the hot method has places


@pytest.fixture(scope="module")
def patient(transport):
    """A server that does not ping: a client that does not read for a while stays connected."""
    server = Server(transport)
    yield server
    server.do("begin stop", grace_s=5)
    server.do("await stop")
    assert server.exit() == 0
    assert server.stderr() == ""


@pytest.fixture
def silent_client(patient):
    """A client with calls of the hot method that have begun and send no message.

    The calls are reset at the end.
    """
    with RawClient(patient) as client:
        client.streams = [client.begin("/test.Contract/Hot") for _ in range(SILENT)]
        yield client
        for stream in client.streams:
            if stream not in client.trailers:
                client.reset(stream)
        assert patient.is_idle()
    assert patient.state()["log"] == []


@pytest.fixture
def patient_channel(patient, connect):
    return connect(patient)


def all_are_open(server, count=SILENT):
    return wait_until(lambda: server.state()["open"] == count)


def answer(client, stream):
    ((_, message),) = parsed(client.bodies[stream])
    return client.trailers[stream]["grpc-status"], message


def test_a_normal_call_is_answered_while_many_send_no_message(silent_client, patient_channel):
    assert unary(patient_channel, "Hot")(b"a message", timeout=10) == b"a message"


def test_all_calls_are_received_though_none_of_them_sends_a_message(
    patient, silent_client, patient_channel
):
    assert all_are_open(patient), patient.state()
    assert [unary(patient_channel, "Hot")(b"%d" % number, timeout=10) for number in range(50)] == [
        b"%d" % number for number in range(50)
    ]


def test_a_call_on_the_same_connection_is_answered_too(patient, silent_client):
    stream = silent_client.begin("/test.Contract/Hot")
    silent_client.send(stream, framed(b"a message"))
    silent_client.ended(stream)
    assert answer(silent_client, stream) == ("0", b"a message")


def test_other_methods_are_answered_while_the_places_of_the_hot_one_are_taken(
    silent_client, patient_channel
):
    assert unary(patient_channel, "Echo")(b"a message", timeout=10) == b"a message"


def test_a_message_that_comes_late_is_answered(patient, silent_client):
    assert all_are_open(patient), patient.state()
    for stream in silent_client.streams:
        silent_client.send(stream, framed(b"%d" % stream))
    for stream in silent_client.streams:
        silent_client.ended(stream)
        assert answer(silent_client, stream) == ("0", b"%d" % stream)


def test_half_a_message_keeps_no_place_either(patient, silent_client, patient_channel):
    for stream in silent_client.streams:
        silent_client.send(stream, framed(b"a long message")[:9], end=False)
    assert all_are_open(patient), patient.state()
    assert unary(patient_channel, "Hot")(b"a message", timeout=10) == b"a message"


def test_a_deadline_ends_a_call_whose_message_does_not_come(server):
    with RawClient(server) as client:
        streams = [
            client.begin("/test.Contract/Hot", ("grpc-timeout", "300m")) for _ in range(SILENT)
        ]
        ends = [client.ended(stream) for stream in streams]
        # the core's own timer may be first, and then resets the stream
        assert all(not isinstance(end, dict) or end["grpc-status"] == "4" for end in ends)
        assert None not in ends


def test_a_client_that_vanishes_with_its_silent_calls_leaves_all_places(server, channel):
    for _ in range(3):
        client = RawClient(server)
        for _ in range(SILENT):
            client.begin("/test.Contract/Hot")
        client.vanish()
    calls = [unary(channel, "Hot").future(b"%d" % number, timeout=20) for number in range(500)]
    assert [call.result() for call in calls] == [b"%d" % number for number in range(500)]


def test_places_are_given_in_wave_after_wave(patient, patient_channel):
    with RawClient(patient) as client:
        for wave in range(1, 4):
            streams = [client.begin("/test.Contract/Hot") for _ in range(SILENT)]
            assert all_are_open(patient), patient.state()
            assert unary(patient_channel, "Hot")(b"%d" % wave, timeout=10) == b"%d" % wave
            for stream in streams:
                client.reset(stream)
            assert patient.is_idle()


class PuppetCall:
    """A call as the sweep sees it."""

    def __init__(self, open_calls, deadline=float("inf")):
        self.deadline = deadline
        self.tick = open_calls.tick
        self.watched = False
        self.places = 0
        self.expired = 0
        open_calls.members.add(self)

    def watch(self):
        assert not self.watched
        self.watched = True

    def give_place(self):
        self.places += 1

    def expire(self):
        self.expired += 1

    def cancel(self):
        raise AssertionError


def test_a_place_is_given_two_sweeps_after_the_call_came():
    open_calls = OpenCalls(outbox=None, max_message_bytes=1)
    open_calls.sweep(all_delivered=True)
    call = PuppetCall(open_calls)
    seen = []
    for _ in range(3):
        open_calls.sweep(all_delivered=True)
        seen.append((call.watched, call.places))
    assert seen == [(False, 0), (True, 0), (True, 1)]


def test_no_place_is_given_while_the_message_may_be_waiting_to_be_seen():
    open_calls = OpenCalls(outbox=None, max_message_bytes=1)
    call = PuppetCall(open_calls)
    for _ in range(10):
        open_calls.sweep(all_delivered=False)
    assert call.watched
    assert call.places == 0
    open_calls.sweep(all_delivered=True)
    assert call.places == 1


def test_a_call_whose_time_is_over_is_ended_instead():
    open_calls = OpenCalls(outbox=None, max_message_bytes=1)
    call = PuppetCall(open_calls, deadline=0.0)
    for _ in range(3):
        open_calls.sweep(all_delivered=True)
    assert call.expired == 3  # nothing takes a puppet off the list
    assert not call.watched
    assert call.places == 0


@given(st.lists(st.sampled_from(["come", "all seen", "not all seen"]), max_size=60))
def test_only_calls_that_are_older_than_a_whole_sweep_lose_their_places(steps):
    open_calls = OpenCalls(outbox=None, max_message_bytes=1)
    calls = []
    sweeps = 0
    for step in steps:
        if step == "come":
            calls.append((sweeps, PuppetCall(open_calls)))
            continue
        before = [call.places for _, call in calls]
        open_calls.sweep(all_delivered=step == "all seen")
        sweeps += 1
        for (came_after, call), places in zip(calls, before, strict=True):
            assert (call.places > places) == (step == "all seen" and sweeps - came_after > 2)
