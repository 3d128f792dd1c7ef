"""A port belongs to the gateway alone, and to all of its serving processes."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys

import pytest

from gateway.control.processes.ports import PortUnavailable, ReservedPort, reserve_port

GRPC_LISTENER = """
import sys
from concurrent.futures import ThreadPoolExecutor
import grpc

class Echo(grpc.GenericRpcHandler):
    def service(self, call):
        return grpc.unary_unary_rpc_method_handler(lambda request, context: sys.argv[2].encode())

server = grpc.server(ThreadPoolExecutor(4), handlers=[Echo()], options=[("grpc.so_reuseport", 1)])
print(server.add_insecure_port(sys.argv[1]), flush=True)
server.start()
sys.stdin.read()
"""


@contextlib.contextmanager
def grpc_listener(address: str, name: str):
    process = subprocess.Popen(
        [sys.executable, "-c", GRPC_LISTENER, address, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline() or -1)
    finally:
        process.kill()
        process.wait()


def test_grpc_listens_in_other_processes_while_the_port_is_held_and_no_call_is_lost():
    import grpc

    with (
        reserve_port("127.0.0.1", 0) as held,
        grpc_listener(held.addresses[0], "a") as first,
        grpc_listener(held.addresses[0], "b") as second,
    ):
        assert first == second == held.port
        answers = []
        for _ in range(60):
            with grpc.insecure_channel(
                held.addresses[0], options=[("grpc.use_local_subchannel_pool", 1)]
            ) as channel:
                answers.append(channel.unary_unary("/echo/Echo")(b"", timeout=10))
        assert len(answers) == 60
        assert set(answers) == {b"a", b"b"}


def test_nobody_else_can_reserve_a_port_that_is_held_before_anyone_listens():
    with (
        reserve_port("127.0.0.1", 0) as held,
        pytest.raises(PortUnavailable, match=rf"port {held.port} on 127.0.0.1 is taken.*--port"),
    ):
        reserve_port("127.0.0.1", held.port)


def test_nobody_else_can_reserve_a_port_that_serving_processes_listen_on():
    with reserve_port("127.0.0.1", 0) as held, grpc_listener(held.addresses[0], "a"):
        for host in ("127.0.0.1", "localhost", "0.0.0.0", "::"):
            with pytest.raises(PortUnavailable, match="is taken"):
                reserve_port(host, held.port)


@pytest.mark.parametrize("share", [False, True])
def test_a_port_that_another_program_listens_on_is_refused(share):
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, share)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortUnavailable, match=f"ss -ltnp 'sport = :{port}'"):
            reserve_port("127.0.0.1", port)


def test_a_port_is_free_again_when_given_up_and_while_old_connections_linger():
    held = reserve_port("127.0.0.1", 0)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", held.port))
        listener.listen()
        _leave_in_time_wait(listener)
    held.close()

    with reserve_port("127.0.0.1", held.port) as again:
        assert again.port == held.port


def test_a_strangers_lingering_connections_do_not_keep_the_port_and_it_is_still_ours_alone():
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        _leave_in_time_wait(stranger)

    with (
        reserve_port("127.0.0.1", port) as held,
        grpc_listener(held.addresses[0], "a") as listening,
    ):
        assert listening == port
        with pytest.raises(PortUnavailable):
            reserve_port("127.0.0.1", port)


def _leave_in_time_wait(listener: socket.socket) -> None:
    with socket.create_connection(listener.getsockname()) as client:
        accepted, _ = listener.accept()
        accepted.close()  # the side that closes first lingers
        client.recv(1)


def test_the_same_port_on_another_address_is_another_port():
    with reserve_port("127.0.0.1", 0) as held, reserve_port("127.0.0.2", held.port) as other:
        assert other.port == held.port


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
class TestIPv6:
    def test_an_ipv6_address_is_written_as_grpc_wants_it(self):
        with reserve_port("::1", 0) as held, grpc_listener(held.addresses[0], "a") as listening:
            assert held.addresses == (f"[::1]:{held.port}",)
            assert listening == held.port

    @pytest.mark.parametrize("host", ["0.0.0.0", "::"])
    def test_a_wildcard_is_all_addresses_of_both_families(self, host):
        with reserve_port(host, 0) as held, grpc_listener(held.addresses[0], "a") as listening:
            assert listening == held.port
            assert held.local_address == f"127.0.0.1:{held.port}"
            for address in ("127.0.0.1", "::1"):
                socket.create_connection((address, held.port), timeout=5).close()
            with pytest.raises(PortUnavailable):
                reserve_port("127.0.0.1", held.port)


def test_a_name_is_reserved_on_each_of_its_addresses_at_one_port():
    with reserve_port("localhost", 0) as held:
        assert isinstance(held, ReservedPort)
        assert {address.rpartition(":")[2] for address in held.addresses} == {str(held.port)}
        assert f"127.0.0.1:{held.port}" in held.addresses


def test_a_host_that_is_not_here_is_refused_with_advice():
    with pytest.raises(PortUnavailable, match="--host"):
        reserve_port("192.0.2.1", 0)
    with pytest.raises(PortUnavailable, match=r"'no\.such\.host\.invalid' cannot be resolved"):
        reserve_port("no.such.host.invalid", 0)
