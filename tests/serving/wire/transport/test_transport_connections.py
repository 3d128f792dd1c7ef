"""Ports, TLS, pings and the age of connections on each transport."""

import json
import os
import signal
import subprocess
import sys
import time

import grpc
import pytest
import trustme

from tests.support.contract_client import unary, wait_until
from tests.support.raw_client import RawClient, framed

ENHANCE_YOUR_CALM = 11


def peer(channel):
    return json.loads(unary(channel, "Describe")(b"", timeout=10))["peer"]


def test_port_0_takes_a_free_one(start_server):
    ports = {start_server(addresses=["127.0.0.1:0"]).port for _ in range(2)}
    assert len(ports) == 2
    assert 0 not in ports


@pytest.mark.parametrize("other", [False, True], ids=["not shared", "shared by the other only"])
def test_a_port_that_is_taken_is_an_error(start_server, other):
    first = start_server(reuse_port=other)
    second = start_server(addresses=[first.address])
    assert second.error == f"OSError: cannot listen on {first.address}"


def test_processes_may_share_a_port(start_server, connect):
    first = start_server(reuse_port=True)
    second = start_server(addresses=[first.address], reuse_port=True)
    assert second.error is None
    for number in range(40):
        assert unary(connect(first), "Echo")(b"%d" % number, timeout=10) == b"%d" % number
    assert first.seen("echoed") + second.seen("echoed") == 40
    assert first.seen("echoed") > 0
    assert second.seen("echoed") > 0


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(authority):
    issued = authority.issue_cert("localhost", "127.0.0.1")
    return {
        "tls_certificate": issued.cert_chain_pems[0].bytes(),
        "tls_key": issued.private_key_pem.bytes(),
    }


def credentials(authority, issued=None):
    """The credentials of a client, with a certificate where one is given."""
    pair = (
        (None, None)
        if issued is None
        else (issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes())
    )
    return grpc.ssl_channel_credentials(authority.cert_pem.bytes(), *pair)


def refused(channel):
    with pytest.raises(grpc.RpcError) as caught:
        unary(channel, "Echo")(b"", timeout=10)
    return caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_tls_serves_clients_that_trust_the_certificate_and_no_others(
    start_server, connect, authority, tls
):
    server = start_server(**tls)
    assert (
        unary(connect(server, credentials=credentials(authority)), "Echo")(b"hidden", timeout=10)
        == b"hidden"
    )
    assert refused(connect(server, credentials=credentials(trustme.CA())))
    assert refused(connect(server))
    assert unary(connect(server, credentials=credentials(authority)), "Hot")(
        bytes(1 << 20), timeout=10
    ) == bytes(1 << 20)


def test_with_client_roots_only_clients_with_a_certificate_of_theirs_are_served(
    start_server, connect, authority, tls
):
    clients = trustme.CA()
    server = start_server(**tls, tls_client_ca=clients.cert_pem.bytes())
    known = clients.issue_cert("client.test")
    stranger = trustme.CA().issue_cert("client.test")
    assert (
        unary(connect(server, credentials=credentials(authority, known)), "Echo")(
            b"hidden", timeout=10
        )
        == b"hidden"
    )
    assert refused(connect(server, credentials=credentials(authority, stranger)))
    assert refused(connect(server, credentials=credentials(authority)))


def test_tls_files_that_cannot_be_used_are_an_error_at_start(start_server, authority, tls):
    other_key = authority.issue_cert("localhost").private_key_pem.bytes()
    for changed, text in (
        ({"tls_key": other_key}, "cannot be used together"),
        ({"tls_key": b"no key"}, "cannot be used together"),
        ({"tls_key": b""}, "without its key"),
        ({"tls_certificate": b"no certificate"}, "cannot be used together"),
        ({"tls_certificate": b""}, "no certificate"),
        ({"tls_client_ca": b"no roots"}, "client roots"),
    ):
        error = start_server(**(tls | changed)).error
        assert error.startswith("ValueError: TLS: ")
        assert text in error


def pings_until_goaway(client, *, every_s, times):
    for _ in range(times):
        client.ping()
        if client.read_until(lambda: client.goaway is not None or client.closed, within_s=every_s):
            return client.goaway
    return None


def test_clients_may_ping_as_often_as_the_option_says_with_and_without_calls(start_server):
    server = start_server(min_client_ping_interval_s=0.05)
    with RawClient(server) as client:
        assert pings_until_goaway(client, every_s=0.1, times=8) is None
        call = client.begin("/test.Contract/Slow")
        client.send(call, framed(b"1"))
        assert pings_until_goaway(client, every_s=0.1, times=8) is None
        assert client.ended(call)["grpc-status"] == "0"


def test_clients_that_ping_much_more_often_are_sent_away(start_server):
    with RawClient(start_server(min_client_ping_interval_s=5)) as client:
        assert pings_until_goaway(client, every_s=0.05, times=20) == ENHANCE_YOUR_CALM


def test_by_default_ten_seconds_between_pings_are_well_tolerated():
    from gateway.serving.wire.transport.interface import TransportOptions, channel_arguments

    arguments = dict(channel_arguments(TransportOptions()))
    assert arguments["grpc.http2.min_recv_ping_interval_without_data_ms"] <= 5000
    assert arguments["grpc.keepalive_permit_without_calls"] == 1


CLIENT = """
import sys, grpc
grpc.insecure_channel(sys.argv[1]).unary_unary("/test.Contract/Wait")(b"")
"""


def test_a_client_that_no_longer_answers_pings_is_given_up(start_server):
    server = start_server(keepalive_time_s=1, keepalive_timeout_s=1)
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, server.address], env={**os.environ, "GRPC_VERBOSITY": "NONE"}
    )
    try:
        server.wait_for("started")
        client.send_signal(signal.SIGSTOP)  # its kernel goes on acknowledging what arrives
        server.wait_for("cancelled", within_s=15)
    finally:
        client.kill()
        client.wait()


def test_connections_of_some_age_are_renewed_without_a_failed_call(start_server, connect):
    server = start_server(max_connection_age_s=0.4, max_connection_age_grace_s=10)
    channel = connect(server)
    long = unary(channel, "Slow").future(b"1.5", timeout=20)
    peers = set()
    give_up = time.monotonic() + 10
    while len(peers) < 4 and time.monotonic() < give_up:
        peers.add(peer(channel))
        assert unary(channel, "Hot")(b"x", timeout=10) == b"x"
    assert len(peers) == 4
    assert long.result() == b"1.5"  # it was asked to leave and has waited for the client to do so


def test_a_connection_that_does_not_leave_in_time_is_closed(start_server, connect):
    server = start_server(max_connection_age_s=0.3, max_connection_age_grace_s=0.3)
    call = unary(connect(server), "Wait").future(b"", timeout=20)
    server.wait_for("cancelled")
    assert wait_until(call.done)
    assert call.code() is grpc.StatusCode.UNAVAILABLE


def test_garbage_on_the_port_harms_nobody(server, channel):
    import socket

    for garbage in (
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        bytes(1000),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(100),
    ):
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(garbage)
            client.settimeout(5)
            while client.recv(1 << 16):
                pass
    assert unary(channel, "Hot")(b"still there", timeout=10) == b"still there"
