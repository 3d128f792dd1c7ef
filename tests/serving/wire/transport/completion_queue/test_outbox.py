"""Sockets are corked only while replies leave, even where their numbers change meanwhile."""

import contextlib
import socket

import pytest

from gateway.serving.wire.transport.completion_queue.outbox import Corks, peer_text


@pytest.fixture
def connections():
    """Opens connections on loopback.

    The accepted ends are this process's own sockets, as gRPC's core has them.
    """
    with contextlib.ExitStack() as stack:

        def connect(family=socket.AF_INET, host="127.0.0.1"):
            listening = stack.enter_context(socket.create_server((host, 0), family=family))
            client = stack.enter_context(socket.create_connection(listening.getsockname()[:2]))
            accepted, _ = listening.accept()
            stack.callback(accepted.close)
            return client, accepted

        yield connect


def peer(accepted):
    return peer_text(accepted).encode()


def is_corked(accepted):
    return accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK) == 1


def test_a_corked_socket_is_corked_and_an_uncorked_one_is_not(connections):
    _, accepted = connections()
    corks = Corks()
    corked = corks.cork([peer(accepted)])
    assert is_corked(accepted)
    corks.uncork(corked)
    assert not is_corked(accepted)
    corks.close()


def test_a_stranger_among_the_peers_leaves_nobody_corked(connections):
    """The search for one socket lets go of those that were known; none of them may stay corked."""
    accepted = [connections()[1] for _ in range(3)]
    corks = Corks()
    corks.uncork(corks.cork([peer(accepted[0])]))
    corks._next_scan = 0.0
    corked = corks.cork([peer(accepted[0]), b"ipv4:127.0.0.1:1", peer(accepted[1])])
    assert [is_corked(each) for each in accepted] == [True, True, False]
    corks.uncork(corked)
    assert not any(is_corked(each) for each in accepted)
    corks.close()


def test_a_socket_that_was_closed_meanwhile_is_forgotten(connections):
    _, accepted = connections()
    _, other = connections()
    corks = Corks()
    name = peer(accepted)
    corked = corks.cork([name, peer(other)])
    accepted.close()
    corks.uncork(corked)
    assert not is_corked(other)
    assert corks.cork([name]) == []
    corks.close()


def test_looking_for_sockets_closes_none(connections):
    client, accepted = connections()
    corks = Corks()
    for _ in range(3):
        corks._next_scan = 0.0
        corks.cork([b"ipv4:127.0.0.1:1"])
    corks.close()
    accepted.sendall(b"alive")
    assert client.recv(5) == b"alive"


def test_looking_for_sockets_is_rationed(connections):
    _, accepted = connections()
    corks = Corks()
    corks.cork([b"ipv4:127.0.0.1:1"])
    assert corks.cork([peer(accepted)]) != []
    _, late = connections()
    corks._next_scan = float("inf")
    assert corks.cork([peer(late)]) == []
    corks.close()


def test_peers_are_written_as_the_core_writes_them(connections):
    _, accepted = connections()
    host, port = accepted.getpeername()
    assert peer_text(accepted) == f"ipv4:{host}:{port}"
    _, accepted = connections(socket.AF_INET6, "::1")
    assert peer_text(accepted) == f"ipv6:%5B::1%5D:{accepted.getpeername()[1]}"
