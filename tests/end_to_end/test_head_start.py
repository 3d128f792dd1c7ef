"""The serving process that is started before the command line is read.

It gets everything else over its link, and ends where it is not needed.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.callers import until
from tests.support.checkout import ROOT

PROBE = """
import os, sys
def tell_when_grpc_is_imported(event, arguments):
    if event == "import" and arguments[0] == "grpc":
        with open(os.environ["TELL"], "a") as file:
            print(os.environ.get("GRPC_EXPERIMENTS", ""), file=file)
sys.addaudithook(tell_when_grpc_is_imported)
"""


def test_every_serving_process_has_the_io_mode_when_it_imports_grpc(gateway, models, tmp_path):
    (tmp_path / "probe").mkdir()
    (tmp_path / "probe" / "sitecustomize.py").write_text(PROBE)
    told = tmp_path / "told"
    environment = {
        "PYTHONPATH": str(tmp_path / "probe"),
        "TELL": str(told),
        "GRPC_EXPERIMENTS": "tcp_rcv_lowat",
    }
    with gateway("--processes", "2", env=environment) as running:
        assert len(running.serving_pids()) == 2
        # one may be ready before the other has imported gRPC
        first, second = until(lambda: len(lines := told.read_text().splitlines()) > 1 and lines)
    assert first == second
    assert set(first.split(",")) >= {"tcp_rcv_lowat", "-event_engine_listener"}


def test_a_serving_process_brings_no_grpc_before_it_has_its_settings():
    code = "import sys, gateway.assembly.serving_process; print('grpc' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["--models", "models", "--prot", "1"], 2),
        (["--models", "models", "--max-message-size", "much"], 2),
        (["--models", "/nonexistent/folder"], 2),
        (["--models", "models", "--host", "203.0.113.1"], 1),
        (["--help"], 0),
    ],
)
def test_a_gateway_that_does_not_come_to_serving_leaves_no_process_behind(words, status, tmp_path):
    """A process that is left and holds the pipe's other end would keep the reader waiting."""
    read_fd, write_fd = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "serve", *words],
        cwd=ROOT,
        stdout=write_fd,
        stderr=write_fd,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
    )
    os.close(write_fd)
    with os.fdopen(read_fd, "rb") as reader:
        text = reader.read().decode()
    assert process.wait(30) == status, text
    assert "Traceback" not in text
