"""A real gateway in processes of its own, for tests that see it as its users do."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import grpc

from gateway.protocol.generated import inference_pb2 as pb
from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.support.checkout import ROOT

START_S = 60


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class RunningGateway:
    """`gateway serve` on ports of its own; `log` is the file of all that it prints."""

    def __init__(
        self,
        models: Path,
        log: Path,
        *options: str,
        cache: Path | None = None,
        env: dict[str, str] | None = None,
        program: tuple[str, ...] = (sys.executable, "-m", "gateway"),
        folder: Path = ROOT,
    ) -> None:
        self.port = free_port()
        self.http_port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.log = log
        self._command = [
            *program, "serve", "--models", str(models), "--port",
            str(self.port), "--http-port", str(self.http_port), "--cache-dir",
            str(cache or log.parent / "cache"), *options,
        ]  # fmt: skip
        self._folder = folder
        self._env = {**os.environ, **(env or {})}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> RunningGateway:
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self._command,
                stdout=out,
                stderr=out,
                cwd=self._folder,
                env=self._env,
                start_new_session=True,
            )
        return self

    def wait_ready(self, timeout_s: float = START_S) -> RunningGateway:
        """Waits until ServerReady answers that the gateway is ready."""
        until = time.monotonic() + timeout_s
        with self.channel(
            **{"grpc.initial_reconnect_backoff_ms": 100, "grpc.max_reconnect_backoff_ms": 100}
        ) as channel:  # the default would be a second
            stub = GRPCInferenceServiceStub(channel)
            while True:
                with contextlib.suppress(grpc.RpcError):
                    if stub.ServerReady(pb.ServerReadyRequest(), timeout=2).ready:
                        return self
                assert self.process is not None
                if self.process.poll() is not None or time.monotonic() > until:
                    raise AssertionError(
                        "the gateway did not come up (exit status "
                        f"{self.process.poll()}):\n{self.text()}"
                    )
                time.sleep(0.05)

    def wait_text(self, pattern: str, timeout_s: float = START_S) -> str:
        """Waits until the log matches the pattern, and returns the pattern's first group."""
        until = time.monotonic() + timeout_s
        while (found := re.search(pattern, self.text())) is None:
            assert self.process is not None
            if self.process.poll() is not None or time.monotonic() > until:
                raise AssertionError(
                    f"the gateway did not say {pattern!r} (exit status "
                    f"{self.process.poll()}):\n{self.text()}"
                )
            time.sleep(0.02)
        return found[1]

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def channel(self, **options: object) -> grpc.Channel:
        return grpc.insecure_channel(
            self.address, options=[("grpc.max_receive_message_length", -1), *options.items()]
        )

    def serving_pids(self) -> list[int]:
        """The serving processes, found among the children of the main process."""
        return self._children_that_run(b"child_main")

    def telemetry_pids(self) -> list[int]:
        """The telemetry process; none before it has started."""
        return self._children_that_run(b"telemetry_main")

    def _children_that_run(self, program: bytes) -> list[int]:
        assert self.process is not None
        found = []
        for pid in _children(self.process.pid):
            with contextlib.suppress(OSError):
                if program in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
        return found

    def terminate(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    def stop(self, timeout_s: float = 40) -> int:
        """Sends SIGTERM, waits for the end and returns the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.terminate()
        try:
            return self.process.wait(timeout_s)
        finally:
            self.kill()

    def kill(self) -> None:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def __enter__(self) -> Self:
        return self.start().wait_ready()

    def __exit__(self, *_: object) -> None:
        self.kill()


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    return []
