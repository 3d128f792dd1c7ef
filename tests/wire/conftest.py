"""Servers in processes of their own, one for each transport, and channels to them."""

import base64
import contextlib
import importlib.metadata
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import grpc
import pytest

SERVER = pathlib.Path(__file__).parent / "contract_server.py"
TRANSPORTS = ("completion-queue/polling", "completion-queue/event-engine", "aio/auto")
UNLIMITED = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


def wait_until(holds, within_s=10.0):
    """Waits for something outside this process; returns the last value."""
    give_up = time.monotonic() + within_s
    while not (value := holds()) and time.monotonic() < give_up:
        time.sleep(0.005)
    return value


class Server:
    """A running `contract_server.py`."""

    def __init__(self, transport, **options):
        transport, io_mode = transport.split("/")
        encoded = {name: base64.b64encode(value).decode() if isinstance(value, bytes) else value for name, value in options.items()}
        environ = {name: value for name, value in os.environ.items() if name != "GRPC_EXPERIMENTS"}
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed by `exit`
        self._process = subprocess.Popen(
            [sys.executable, SERVER, transport, io_mode, json.dumps(encoded)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, env=environ,
        )  # fmt: skip
        started = self._line()
        self.error = started.get("error")
        self.address = f"127.0.0.1:{started.get('port')}"
        self.port = started.get("port")

    def do(self, command, **arguments):
        """Its answer to a command."""
        self._process.stdin.write(json.dumps({"do": command, **arguments}) + "\n")
        self._process.stdin.flush()
        return self._line()

    def _line(self):
        line = self._process.stdout.readline()
        if not line:
            self._process.wait(10)
            raise AssertionError(f"the server's process has ended with {self._process.returncode}: {self.stderr()}")
        return json.loads(line)

    def state(self):
        return self.do("state")

    def seen(self, what):
        return self.state()["seen"].get(what, 0)

    def wait_for(self, what, count=1, within_s=10.0):
        """Waits until something has been seen so often."""
        assert wait_until(lambda: self.seen(what) >= count, within_s), self.state()

    def is_idle(self, within_s=10.0):
        """Soon no call is open."""
        return wait_until(lambda: self.state()["open"] == 0, within_s)

    def stderr(self):
        self._errors.seek(0)
        return self._errors.read()

    def exit(self):
        """Ends the process; its exit code."""
        if self._process.poll() is None:
            with contextlib.suppress(BrokenPipeError, AssertionError):
                self.do("exit")
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            stream.close()
        return self._process.returncode


@pytest.fixture(scope="session", params=TRANSPORTS)
def transport(request):
    """A transport and its I/O mode."""
    version = tuple(int(part) for part in importlib.metadata.version("grpcio").split(".")[:2])
    if request.param.endswith("event-engine") and version < (1, 76):
        pytest.skip("this grpcio has no EventEngine for Python")
    return request.param


@pytest.fixture(scope="session")
def _shared_server(transport):
    server = Server(transport, keepalive_time_s=1, keepalive_timeout_s=3)  # by polling the core overlooks some TCP resets until it pings
    yield server
    server.do("begin stop", grace_s=5)
    server.do("await stop")
    assert server.exit() == 0
    assert server.stderr() == ""


@pytest.fixture
def server(_shared_server):
    """A server with the default options; after the test it has no open calls and has logged nothing that was not expected."""
    _shared_server.do("forget")
    _shared_server.expected_log = 0
    yield _shared_server
    assert _shared_server.is_idle()
    log = _shared_server.state()["log"]
    assert len(log) == _shared_server.expected_log, log


@pytest.fixture
def start_server(transport):
    """Starts servers with options of their own; those not stopped by the test are stopped after it, and must end well."""
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
        assert each.stderr() == ""


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


def unary(channel, name):
    return channel.unary_unary(f"/test.Contract/{name}")


def stream(channel, name):
    return channel.stream_stream(f"/test.Contract/Stream{name}")
