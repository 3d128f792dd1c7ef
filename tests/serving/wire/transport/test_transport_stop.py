"""How each transport stops."""

import threading
import time

import grpc
import pytest

from tests.support.contract_client import stream, unary, wait_until
from tests.support.raw_client import RawClient, framed

# the statuses that a late call may end with
REFUSED = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


def stop(server, grace_s):
    """Stops the server, and returns how long that took."""
    began = time.monotonic()
    server.do("begin stop", grace_s=grace_s)
    server.do("await stop")
    return time.monotonic() - began


def status(call):
    """The status a future ended with."""
    error = call.exception(timeout=20)
    return grpc.StatusCode.OK if error is None else error.code()


def test_accepted_calls_are_answered_within_the_grace_and_new_ones_refused(start_server, connect):
    server = start_server()
    calls = [unary(connect(server), "Slow").future(b"0.4", timeout=20) for _ in range(5)]
    server.wait_for("started", 5)
    server.do("begin stop", grace_s=10)
    late = unary(connect(server), "Slow").future(b"0", timeout=5)
    assert status(late) in REFUSED
    assert [call.result() for call in calls] == [b"0.4"] * 5
    assert server.do("await stop")["waited_s"] < 5
    assert "stopped" in server.state()["repr"]


def test_a_stop_under_load_answers_all_that_was_accepted(start_server, connect):
    """Clients call as fast as they can while the server stops.

    All methods that began are answered, and the other calls are refused.
    """
    server = start_server()
    stopped = threading.Event()
    statuses = []

    def load(channel):
        while not stopped.is_set():
            calls = [unary(channel, "Slow").future(b"0.003", timeout=20) for _ in range(16)]
            statuses.extend(status(call) for call in calls)

    threads = [threading.Thread(target=load, args=(connect(server),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    server.wait_for("finished", 300)
    stop(server, 10)
    seen = server.state()["seen"]
    stopped.set()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {grpc.StatusCode.OK} | REFUSED
    assert seen["started"] == seen["finished"] == statuses.count(grpc.StatusCode.OK)


@pytest.mark.parametrize("method", ["Wait", "WaitInTask"])
def test_a_call_that_hangs_is_cancelled_when_the_grace_is_over(start_server, connect, method):
    server = start_server()
    call = unary(connect(server), method).future(b"", timeout=20)
    server.wait_for("started")
    assert 0.25 < stop(server, 0.3) < 3
    assert status(call) in REFUSED
    assert server.seen("cancelled") == 1
    assert any("not finished within the grace" in line for line in server.state()["log"])


def test_open_streams_are_cancelled_when_the_grace_is_over(start_server, connect):
    server = start_server()
    channel = connect(server)
    streams = [stream(channel, "Wait")(iter(())) for _ in range(50)]
    for each in streams:
        assert next(each) == b"ready"
    assert 0.25 < stop(server, 0.3) < 3
    assert server.seen("cancelled") == 50
    for each in streams:
        with pytest.raises(grpc.RpcError) as caught:
            next(each)
        assert caught.value.code() in REFUSED


def test_a_stream_that_ends_within_the_grace_ends_well(start_server, connect):
    server = start_server()
    outgoing = iter([b"1", b"2"])
    may_end = threading.Event()

    def messages():
        yield from outgoing
        may_end.wait(20)

    call = stream(connect(server), "Echo")(messages(), timeout=20)
    assert [next(call), next(call)] == [b"1", b"2"]
    server.do("begin stop", grace_s=10)
    may_end.set()
    assert list(call) == []
    assert call.code() is grpc.StatusCode.OK
    assert server.do("await stop")["waited_s"] < 5


def test_an_idle_server_stops_soon_though_clients_are_connected_that_may_not_read(
    start_server, connect
):
    server = start_server()
    channels = [connect(server) for _ in range(5)]
    for channel in channels:
        unary(channel, "Echo")(b"", timeout=10)
    with RawClient(server):
        assert stop(server, 20) < 3
    assert server.state()["log"] == []


@pytest.mark.parametrize("name", ["Sized", "StreamSized"])
def test_an_answer_that_is_still_on_its_way_is_not_cut_off(start_server, name):
    server = start_server()
    with RawClient(server) as client:
        call = client.begin(f"/test.Contract/{name}")
        client.send(call, framed(b"10000000"))
        client.read_until(lambda: bool(client.headers))
        server.do("begin stop", grace_s=20)
        time.sleep(1.5)  # the client is slow: idle ones are given a second
        assert client.ended(call)["grpc-status"] == "0"
        assert len(client.bodies[call]) == 10_000_005
    assert server.do("await stop")["waited_s"] < 3


def test_without_a_grace_everything_is_cancelled_at_once(start_server, connect):
    server = start_server()
    call = unary(connect(server), "Wait").future(b"", timeout=20)
    server.wait_for("started")
    assert stop(server, 0) < 2
    assert status(call) in REFUSED
    assert server.seen("cancelled") == 1


def test_a_call_whose_message_never_comes_does_not_hold_the_stop_up_for_longer_than_the_grace(
    start_server,
):
    server = start_server()
    with RawClient(server) as client:
        client.begin("/test.Contract/Hot")
        client.begin("/test.Contract/Echo")
        client.ping()
        assert wait_until(lambda: client.read_until(lambda: client.settings, 1))
        assert stop(server, 0.3) < 3


def test_a_second_stop_waits_for_the_first(start_server, connect):
    server = start_server()
    call = unary(connect(server), "Slow").future(b"0.4", timeout=20)
    server.wait_for("started")
    server.do("begin stop", grace_s=10)
    server.do("begin stop", grace_s=10)
    assert server.do("await stop")["waited_s"] > 0.2
    assert status(call) is grpc.StatusCode.OK
    assert stop(server, 0) < 1


def test_a_second_stop_with_a_shorter_grace_counts(start_server, connect):
    server = start_server()
    call = unary(connect(server), "Wait").future(b"", timeout=20)
    server.wait_for("started")
    server.do("begin stop", grace_s=60)
    assert stop(server, 0.1) < 3
    assert status(call) in REFUSED


def test_the_port_is_free_after_a_stop(start_server):
    server = start_server()
    stop(server, 0)
    again = start_server(addresses=(f"127.0.0.1:{server.port}",))
    assert again.error is None


def test_a_server_that_could_not_start_can_be_stopped_and_its_process_ends_well(start_server):
    port = start_server().port
    server = start_server(addresses=(f"127.0.0.1:{port}",))
    assert server.error == f"OSError: cannot listen on 127.0.0.1:{port}"
    assert server.exit() == 0
