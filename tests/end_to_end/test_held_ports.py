"""A port belongs to one gateway."""

from __future__ import annotations

import re
import socket

import pytest

from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.support import graphs
from tests.support.callers import factor_of, multiply


@pytest.fixture(autouse=True)
def served(models):
    graphs.scale(models, "scale", factor=2.0)


@pytest.mark.parametrize("option", ["--port", "--http-port"])
@pytest.mark.parametrize("shares", [False, True], ids=["alone", "sharing"])
def test_a_port_that_another_program_holds_is_an_error_that_says_what_to_do(
    gateway, option, shares
):
    """A program that shares the port (SO_REUSEPORT) would take half of the calls."""
    with socket.socket() as holder:
        if shares:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]

        refused = gateway(option, str(port)).start()

        assert refused.process.wait(30) == 1
        assert f"port {port} on 127.0.0.1 is taken" in refused.text()
        assert option in refused.text()
        assert "Traceback" not in refused.text()


def test_a_port_that_another_gateway_holds_is_an_error_and_the_other_serves_on(gateway, connect):
    with gateway("--processes", "2", "--http-port", "off") as first:
        second = gateway(
            "--processes", "2", "--http-port", "off", "--port", str(first.port)
        ).start()

        assert second.process.wait(30) == 1
        assert f"port {first.port} on 127.0.0.1 is taken" in second.text()
        for _ in range(4):
            answer = GRPCInferenceServiceStub(connect(first)).ModelInfer(
                multiply("scale", 1.0), timeout=10
            )
            assert factor_of(answer, 1.0) == 2.0


def test_port_0_is_a_free_one_that_the_start_names(gateway, connect):
    running = gateway("--port", "0", "--http-port", "0", "--processes", "2")
    running.start()
    named = running.wait_text(r"gRPC +127\.0\.0\.1:(\d+)")
    running.address = f"127.0.0.1:{named}"

    answer = GRPCInferenceServiceStub(connect(running)).ModelInfer(
        multiply("scale", 1.0), timeout=10
    )

    assert factor_of(answer, 1.0) == 2.0
    (http_port,) = re.findall(r"page +http://127\.0\.0\.1:(\d+)/", running.text())
    with socket.create_connection(("127.0.0.1", int(http_port)), timeout=5):
        pass


def test_the_ports_are_free_again_at_once(gateway, connect):
    """Connections that linger do not keep a gateway from starting again where it was."""
    running = gateway("--processes", "1", "--drain-delay", "0s")
    for _ in range(3):
        running.start().wait_ready()
        GRPCInferenceServiceStub(connect(running)).ModelInfer(multiply("scale", 1.0), timeout=10)
        assert running.stop() == 0
