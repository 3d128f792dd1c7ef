"""A client with a thousand calls in flight vanishes at once."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.support import graphs
from tests.support.callers import answered_so_far, factor_of, multiply, take_time, until
from tests.support.checkout import ROOT

CALLS = 1000
CONNECTIONS = 4
ROUNDS = 60_000  # 1000 calls of this many rounds take a second or more, in batches of 64
WARM_UP = 3
REPEATS = 9
AT_ONCE_S = 2.0  # long, for a busy machine
# Of about a thousand connections that are reset, gRPC's core overlooks one when its I/O is done by
# polling, and closes it by its keepalive.
OVERLOOKED = 1
KEEPALIVE_S = 60 + 20

# MiB. 36 on the completion queue if the objects of a call wait for the garbage collector.
# grpc.aio keeps 3 to 4 for each thousand calls that are cancelled while they wait (grpc/grpc#43360,
# up to 1.83.1).
MAY_GROW = {"completion-queue": 20, "aio": 50}


@pytest.fixture(params=MAY_GROW)
def transport(request):
    return request.param


@pytest.fixture
def may_grow_mib(transport):
    return MAY_GROW[transport]


@pytest.fixture
def served(gateway, models, transport):
    graphs.scale(models, "scale", factor=2.0)
    graphs.patient(models, "patient")
    with gateway("--processes", "1", "--http-port", "off", "--transport", transport) as running:
        yield running


def vanish(address: str, after_s: float) -> None:
    """Starts a client that makes its calls, and kills it while they wait.

    `after_s` is the time from its last call to its death.
    """
    client = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.support.vanishing_client",
            address,
            str(CALLS),
            str(CONNECTIONS),
        ],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with client:
        client.stdin.write(take_time("patient", ROUNDS).SerializeToString())
        client.stdin.close()
        assert client.stdout.readline() == b"sent\n"
        time.sleep(after_s)
        client.kill()


def resident_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0]) / 1024


def connections_of(pid: int) -> int:
    return sum(
        descriptor.readlink().name.startswith("socket:")
        for descriptor in Path(f"/proc/{pid}/fd").iterdir()
    )


@pytest.mark.timeout(120 + KEEPALIVE_S)
def test_the_gateway_forgets_them_and_serves_others_at_once(served, may_grow_mib, connect):
    """The gateway lives, and its queue empties without running calls that nobody waits for.

    Its memory does not grow from one time to the next.
    """
    (pid,) = served.serving_pids()
    channel = connect(served)
    stub = GRPCInferenceServiceStub(channel)
    before = until(lambda: connections_of(pid))
    sizes = []
    for repeat in range(REPEATS):
        counted = answered_so_far(channel, "patient")
        vanish(served.address, after_s=0.1 * (repeat % 3))  # on their way, arriving, all waiting

        began = time.monotonic()
        fresh = GRPCInferenceServiceStub(connect(served))
        assert factor_of(fresh.ModelInfer(multiply("scale", 3.0), timeout=10), 3.0) == 2.0
        assert time.monotonic() - began < AT_ONCE_S
        fresh.ModelInfer(take_time("patient", 1), timeout=10)
        assert time.monotonic() - began < AT_ONCE_S
        assert answered_so_far(channel, "patient") - counted < CALLS / 2
        sizes.append(resident_mib(pid))
    until(
        lambda: connections_of(pid) <= before + REPEATS + OVERLOOKED
    )  # the fresh clients are still there
    until(lambda: connections_of(pid) <= before + REPEATS, timeout_s=KEEPALIVE_S + 10)

    assert served.serving_pids() == [pid]
    assert stub.ModelInfer(take_time("patient", 1), timeout=10)
    assert sizes[-1] - sizes[WARM_UP - 1] < may_grow_mib, sizes
