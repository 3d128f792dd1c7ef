"""An open loop, whose figures show every stall."""

import asyncio
import struct

import numpy as np
import pytest

from gateway.protocol.generated import inference_pb2
from load_tests.http2 import DATA, OK, PREFACE, SETTINGS, frame
from load_tests.open_loop import Call, OpenLoop, intended_times, report
from tests.support.http2_answers import answer


def right_reply(payload):
    """A right reply as it comes off the wire."""
    response = inference_pb2.ModelInferResponse(
        model_name=payload.model, raw_output_contents=[payload.expected.tobytes()]
    )
    response.outputs.add(name="probs", datatype="FP32", shape=payload.expected.shape)
    message = response.SerializeToString()
    return b"\0" + len(message).to_bytes(4, "big") + message


class StallingServer(asyncio.Protocol):
    """Answers every call at once, up to a stall.

    From call number `stall_at` on it stands still for `stall_s` (0: for ever).
    """

    def __init__(self, reply, stall_at, stall_s):
        self.reply = reply
        self.stall_at = stall_at
        self.stall_s = stall_s
        self.received = b""
        self.calls = 0
        self.held = []

    def connection_made(self, transport):
        self.transport = transport
        transport.write(frame(SETTINGS, 0, 0, b""))

    def data_received(self, data):
        self.received += data
        self.received = self.received.removeprefix(PREFACE)
        while len(self.received) >= 9:
            high, low, kind, _, stream = struct.unpack_from(">BHBBI", self.received)
            end = 9 + (high << 16 | low)
            if len(self.received) < end:
                return
            self.received = self.received[end:]
            if kind == DATA:
                self.on_call(stream)

    def on_call(self, stream):
        self.calls += 1
        if self.calls == self.stall_at and self.stall_s:
            asyncio.get_running_loop().call_later(self.stall_s, self.go_on)
        if self.calls >= self.stall_at:
            self.held.append(stream)
        else:
            self.transport.write(answer(stream, self.reply))

    def go_on(self):
        self.transport.write(b"".join(answer(stream, self.reply) for stream in self.held))
        self.held = []
        self.stall_at = float("inf")


def address_of(server):
    host, port = server.sockets[0].getsockname()
    return f"{host}:{port}"


def run_against_stall(load, reply, stall_at, stall_s):
    async def run():
        server = await asyncio.get_running_loop().create_server(
            lambda: StallingServer(reply, stall_at, stall_s), "127.0.0.1", 0
        )
        async with server:
            await load.run(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", 1)

    asyncio.run(run())


class TestOpenLoop:
    def test_even_times_are_evenly_spaced(self):
        assert intended_times(4, 1).tolist() == [0, 0.25, 0.5, 0.75]

    def test_poisson_times_keep_the_mean_rate_and_vary_as_their_mean(self):
        gaps = np.diff(intended_times(1000, 50, poisson=True))
        assert gaps.mean() == pytest.approx(1e-3, rel=0.03)
        assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)

    def test_latency_counts_from_the_intended_time(self, payload):
        """Ten calls that were due while a generator stood still are late by what they waited.

        They left together and were answered in 1 ms.
        """
        framed = right_reply(payload)
        calls = [
            Call(k * 0.01, payload, left_s=0.1, ended_s=0.101, status=OK, reply=framed)
            for k in range(10)
        ]
        found = report(calls, seconds=0.1, deadline_s=0.05)
        assert found.latency_ms["p100"] == pytest.approx(101)
        assert found.latency_ms["p50"] == pytest.approx(51)
        # those of the last 50 ms: 11, 21, 31 and 41 ms
        assert found.goodput_per_s == pytest.approx(40)
        assert found.left_late_p99_ms == pytest.approx(100)

    def test_wrong_answers_are_no_goodput(self, payload):
        found = report([Call(0, payload, 0, 0.001, OK, b"nonsense")], seconds=1, deadline_s=1)
        assert found.goodput_per_s == 0
        assert "WRONG" in str(found)

    def test_a_server_that_stands_still_shows_in_every_call_due_meanwhile(self, payload):
        load = OpenLoop([Call(at, payload) for at in intended_times(200, 1)], deadline_s=10)
        run_against_stall(load, right_reply(payload), stall_at=51, stall_s=0.4)
        found = report(load.calls, seconds=1, deadline_s=10)
        assert (found.statuses, found.faults) == ({"OK": 200}, [])
        assert found.latency_ms["p100"] >= 390
        # of the 60 due in its first 0.3 s
        assert sum(call.ended_s - call.intended_s > 0.1 for call in load.calls) >= 55

    def test_a_call_ends_at_its_deadline_when_nobody_answers(self, payload):
        load = OpenLoop([Call(0.01 * k, payload) for k in range(5)], deadline_s=0.2)
        run_against_stall(load, right_reply(payload), stall_at=2, stall_s=0)
        found = report(load.calls, seconds=0.05, deadline_s=0.2)
        assert found.statuses == {"OK": 1, "DEADLINE_EXCEEDED": 4}
        assert all(0.2 <= call.ended_s - call.intended_s < 1 for call in load.calls[1:])

    def test_a_server_that_hangs_up_is_an_error_with_its_address(self, payload):
        async def run():
            server = await asyncio.get_running_loop().create_server(HangingUp, "127.0.0.1", 0)
            async with server:
                await OpenLoop([Call(0, payload)], deadline_s=1).run(address_of(server), 1)

        with pytest.raises(
            ConnectionError, match=r"127\.0\.0\.1:\d+: the server closed the connection"
        ):
            asyncio.run(run())


class HangingUp(asyncio.Protocol):
    def connection_made(self, transport):
        transport.close()
