"""One connection lives on one process, and several clients of one program may be one connection.

What gateway/control/README.md says of connections, with Triton's client and with grpc itself.
"""

import contextlib
import re
import subprocess
import sys

import pytest

from tests.support.callers import until
from tests.support.checkout import ROOT
from tests.support.connections import client_ports, owner_of
from tests.support.graphs import scale

pytest.importorskip("tritonclient", reason="needs tritonclient[grpc], of the dev extra")

CLIENTS = 8


@pytest.fixture
def running(gateway, models):
    scale(models, "double")
    return gateway("--processes", "2").start().wait_ready()


@contextlib.contextmanager
def ports_of(running, *words):
    """A program whose eight clients have each been answered; gives the ports that it calls from."""
    with subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as started:
        assert started.stdout.readline() == f"{CLIENTS}\n"
        yield client_ports(running.port, started.pid)
        started.stdin.close()


def program(running, which, *own):
    words = ["-m", "tests.support.several_clients", which, running.address, str(CLIENTS), *own]
    return ports_of(running, *words)


@pytest.mark.parametrize("which", ["triton", "grpc"])
def test_eight_clients_in_one_program_are_one_connection_on_one_process(running, which):
    with program(running, which) as ports:
        (port,) = ports
        assert owner_of(running.port, port, running.serving_pids())


@pytest.mark.parametrize("which", ["triton", "grpc"])
def test_with_pools_of_their_own_they_are_eight_and_spread_over_the_processes(running, which):
    """The kernel chooses: all on one process of two is one chance in 128, so another program may.

    Each is asked the same of.
    """
    pids = running.serving_pids()

    def spread():
        with program(running, which, "own") as ports:
            assert len(ports) == CLIENTS
            return {owner_of(running.port, port, pids) for port in ports} == set(pids)

    until(spread)


def test_the_clients_of_the_readme_have_a_connection_each(running):
    readme = (ROOT / "gateway" / "control" / "README.md").read_text()
    (shown,) = re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    asked = "print(sum(client.is_server_live() for client in clients), flush=True)"
    whole = f"{shown}\n{asked}\nimport sys; sys.stdin.read()"
    with ports_of(running, "-c", whole.replace("127.0.0.1:8001", running.address)) as ports:
        assert len(ports) == CLIENTS
