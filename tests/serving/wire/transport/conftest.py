"""Servers in processes of their own, one for each transport, and channels to them."""

import importlib.metadata

import grpc
import pytest

from tests.support.contract_client import TRANSPORTS, UNLIMITED, Server


@pytest.fixture(scope="session", params=TRANSPORTS)
def transport(request):
    """A transport and its I/O mode."""
    version = tuple(int(part) for part in importlib.metadata.version("grpcio").split(".")[:2])
    if request.param.endswith("event-engine") and version < (1, 76):
        pytest.skip("this grpcio has no EventEngine for Python")
    return request.param


@pytest.fixture(scope="session")
def _shared_server(transport):
    # by polling the core overlooks some TCP resets until it pings
    server = Server(transport, keepalive_time_s=1, keepalive_timeout_s=3)
    yield server
    server.do("begin stop", grace_s=5)
    server.do("await stop")
    assert server.exit() == 0
    assert server.stderr() == ""


@pytest.fixture
def server(_shared_server):
    """A server with the default options.

    After the test it must have no open calls, and must have logged nothing unexpected.
    """
    _shared_server.do("forget")
    _shared_server.expected_log = 0
    yield _shared_server
    assert _shared_server.is_idle()
    log = _shared_server.state()["log"]
    assert len(log) == _shared_server.expected_log, log


@pytest.fixture
def start_server(transport):
    """Starts servers with options of their own.

    Servers that the test has not stopped are stopped after it, and must end well.
    """
    started = []

    def start(**options):
        started.append(Server(transport, **options))
        return started[-1]

    yield start
    for each in started:
        if each.error is None and each._process.poll() is None:
            each.do("begin stop", grace_s=0)
            each.do("await stop")
        assert each.exit() == 0
        assert each.error or each.stderr() == ""


@pytest.fixture
def connect():
    """Opens channels, each on connections of its own, and closes them after the test."""
    channels = []

    def open_channel(server, *options, credentials=None, **arguments):
        options = (("grpc.use_local_subchannel_pool", 1), *UNLIMITED, *options)
        if credentials is None:
            channels.append(grpc.insecure_channel(server.address, options, **arguments))
        else:
            channels.append(grpc.secure_channel(server.address, credentials, options, **arguments))
        return channels[-1]

    yield open_channel
    for each in channels:
        each.close()


@pytest.fixture
def channel(server, connect):
    return connect(server)
