"""A gateway that serves models/, for commands that ask one."""

import os
import subprocess
import sys

import pytest

from tests.support.checkout import ROOT
from tests.support.serving_command import serve


class Command:
    """A finished command."""

    def __init__(self, done):
        self.status = done.returncode
        self.bytes = done.stdout
        self.out = done.stdout.decode(errors="replace")
        self.err = done.stderr.decode()
        lines = [line.partition(": ") for line in self.err.splitlines()]
        self.faults = [text for who, _, text in lines if who.startswith("gateway ")]
        self.progress = [text for who, _, text in lines if who == "gateway"]


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """The folder of findings that all commands share, so that each model is inspected once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def gateway(cache):
    """Runs `gateway` with these arguments, in the folder of the checkout."""
    # what runs the tests may have set a width
    inherited = {name: value for name, value in os.environ.items() if name != "COLUMNS"}

    def run(*arguments, stdin=b"", env=None, cwd=ROOT):
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *map(str, arguments)], input=stdin,
            capture_output=True, timeout=100, check=False, cwd=cwd,
            env={**inherited, "XDG_CACHE_HOME": str(cache), **(env or {})},
        )  # fmt: skip
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        return Command(done)

    return run


@pytest.fixture(scope="session")
def served(tmp_path_factory, cache):
    """A gateway that serves models/."""
    running = serve(tmp_path_factory.mktemp("served"), cache, "--models", "models")
    yield running
    assert running.stop() == 0
