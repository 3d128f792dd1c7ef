"""The client's side of the contract's tests: `contract_server.py` as a process, and calls to it."""

import base64
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time

from tests.support.checkout import ROOT

TRANSPORTS = ("completion-queue/polling", "completion-queue/event-engine", "aio/auto")
UNLIMITED = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


def wait_until(holds, within_s=10.0):
    """Waits until something outside this process holds; returns the last value."""
    give_up = time.monotonic() + within_s
    while not (value := holds()) and time.monotonic() < give_up:
        time.sleep(0.005)
    return value


class Server:
    """A running `contract_server.py`, with the options of its transport."""

    def __init__(self, transport, **options):
        transport, io_mode = transport.split("/")
        encoded = {
            name: base64.b64encode(value).decode() if isinstance(value, bytes) else value
            for name, value in options.items()
        }
        environ = {
            name: value for name, value in os.environ.items() if name != "GRPC_EXPERIMENTS"
        } | {"GRPC_VERBOSITY": "ERROR"}
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed by `exit`
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.support.contract_server",
                transport,
                io_mode,
                json.dumps(encoded),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environ,
            cwd=ROOT,
        )
        started = self._line()
        self.error = started.get("error")
        self.address = f"127.0.0.1:{started.get('port')}"
        self.port = started.get("port")

    def do(self, command, **arguments):
        """Sends a command and returns its answer."""
        self._process.stdin.write(json.dumps({"do": command, **arguments}) + "\n")
        self._process.stdin.flush()
        return self._line()

    def _line(self):
        line = self._process.stdout.readline()
        if not line:
            self._process.wait(10)
            raise AssertionError(
                f"the server's process has ended with {self._process.returncode}: {self.stderr()}"
            )
        return json.loads(line)

    def state(self):
        return self.do("state")

    def seen(self, what):
        return self.state()["seen"].get(what, 0)

    def wait_for(self, what, count=1, within_s=10.0):
        """Waits until the server has counted `what` so often."""
        assert wait_until(lambda: self.seen(what) >= count, within_s), self.state()

    def is_idle(self, within_s=10.0):
        """Whether no call is open, now or within this time."""
        return wait_until(lambda: self.state()["open"] == 0, within_s)

    def stderr(self):
        self._errors.seek(0)
        return self._errors.read()

    def exit(self):
        """Ends the process and returns its exit code."""
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


def unary(channel, name):
    return channel.unary_unary(f"/test.Contract/{name}")


def stream(channel, name):
    return channel.stream_stream(f"/test.Contract/Stream{name}")
