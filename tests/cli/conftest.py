"""A gateway that serves models/, for commands that ask one."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "models"


class Command:
    """A finished command."""

    def __init__(self, done):
        self.status, self.bytes, self.out, self.err = done.returncode, done.stdout, done.stdout.decode(errors="replace"), done.stderr.decode()
        self.faults = [line.partition(": ")[2] for line in self.err.splitlines() if line.startswith("gateway")]


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """Where all commands of these tests keep findings: every model is inspected once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def gateway(cache):
    """Runs `gateway` with these arguments, in the folder of the checkout."""

    def run(*arguments, stdin=b"", env=None, cwd=ROOT):
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *map(str, arguments)],
            input=stdin, capture_output=True, timeout=100, check=False, cwd=cwd, env={**os.environ, "XDG_CACHE_HOME": str(cache), **(env or {})},
        )  # fmt: skip
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        return Command(done)

    return run


class Served:
    """A gateway that runs: `banner` is what it printed, `address` where it says it is."""

    def __init__(self, process, stdout, stderr):
        self._process, self._stdout, self._stderr = process, stdout, stderr
        self.banner = self._wait_for_banner()
        self.address = re.search(r"gRPC +(\S+)", self.banner)[1]

    def _wait_for_banner(self):
        give_up = time.monotonic() + 60
        while time.monotonic() < give_up and self._process.poll() is None:
            text = self._stdout.read_text()
            if "try it:" in text and text.endswith("'\n"):
                return text
            time.sleep(0.02)
        raise AssertionError(f"the gateway did not start ({self._process.poll()}): {self._stderr.read_text()}")

    def stop(self):
        self._process.terminate()
        return self._process.wait(30)


def serve(folder, cache, *options):
    """Starts `gateway serve` on a free port."""
    stdout, stderr = folder / "stdout", folder / "stderr"
    command = [sys.executable, "-m", "gateway", "serve", "--port", "0", "--http-port", "off", "--drain-delay", "0s", "--processes", "1", *options]
    with stdout.open("wb") as out, stderr.open("wb") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, cwd=ROOT, env={**os.environ, "XDG_CACHE_HOME": str(cache)})
    try:
        return Served(process, stdout, stderr)
    except BaseException:
        process.kill()
        process.wait()
        raise


@pytest.fixture(scope="session")
def served(tmp_path_factory, cache):
    """A gateway on models/."""
    running = serve(tmp_path_factory.mktemp("served"), cache, "--models", "models")
    yield running
    assert running.stop() == 0
