"""A gateway of real processes, with stand-ins for the serving processes, and connections to it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from tests.support.checkout import ROOT

PATIENCE_S = 20.0


def until(holds, patience_s: float = PATIENCE_S):
    """Repeats the question until the answer is true, and returns the answer.

    It waits for what other processes do in their own time.
    """
    end_s = time.monotonic() + patience_s
    while time.monotonic() < end_s:
        with contextlib.suppress(OSError):
            if answer := holds():
                return answer
        time.sleep(0.01)
    raise AssertionError(f"did not come true within {patience_s} s")


class Gateway:
    """A running gateway that is asked in lines of text."""

    def __init__(self, models: Path, **options) -> None:
        self.models = models
        self.stderr_path = models.parent / "stderr.txt"
        with self.stderr_path.open("a") as stderr:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.support.gateway_stand_in",
                    str(models),
                    json.dumps(options),
                ],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                cwd=ROOT,
                start_new_session=True,  # so that a test can signal the whole group
            )
        self.port = 0
        self.http = ""

    def wait_started(self) -> dict:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log
        started = json.loads(line)
        self.port = int(started["address"].rpartition(":")[2])
        self.http = started["http_address"]
        return started

    @property
    def log(self) -> str:
        return self.stderr_path.read_text()

    def connect(self) -> Connection:
        return Connection(self.port)

    def ask(self, *words: str):
        with self.connect() as connection:
            return connection.ask(*words)

    def states(self) -> list[dict]:
        """One state of every process that listens, by slot."""
        found: dict[int, dict] = {}
        for _ in range(100):
            state = self.ask("state")
            found[state["slot"]] = state
            if len(found) == 2:
                break
        return [found[slot] for slot in sorted(found)]

    def live(self) -> list[list[str]]:
        return [state["live"] for state in self.states()]

    def pid_of(self, slot: int) -> int:
        """The id of the process in the slot; 0: it does not listen."""
        return next((state["pid"] for state in self.states() if state["slot"] == slot), 0)

    def begin_call(self, duration_s: float) -> Connection:
        """A connection whose call has reached its process and is answered after `duration_s`."""
        connection = self.connect()
        slot = connection.ask("state")["slot"]
        connection.send("infer", "m", str(duration_s))
        until(lambda: any(state["in_flight"] for state in self.states() if state["slot"] == slot))
        return connection

    def index(self) -> dict[str, tuple[str, str]]:
        return {
            f"{model}/{version}": (state, reason)
            for model, version, state, reason in self.ask("state")["index"]
        }

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


class Connection:
    """One connection, whose lines one process answers."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self.file = self.socket.makefile("rw")

    def send(self, *words: str) -> None:
        self.file.write(" ".join(words) + "\n")
        self.file.flush()

    def receive(self):
        line = self.file.readline()
        if not line:
            raise ConnectionResetError("the process is gone")
        return json.loads(line)

    def ask(self, *words: str):
        self.send(*words)
        return self.receive()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()
