"""Everything that clients do, for a moment; `load_tests.soak` does it for as long as one likes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.checkout import ROOT

pytestmark = pytest.mark.alone  # times are compared

SECONDS = float(os.environ.get("GATEWAY_TEST_SOAK_SECONDS", "4"))


@pytest.mark.timeout(90 + 2 * SECONDS)
@pytest.mark.parametrize("transport", ["completion-queue", "aio"])
def test_callers_that_wait_are_answered_and_the_others_leave_nothing_behind(transport):
    """The program fails where a call that was waited for was not answered, or not rightly.

    It also fails where memory grows, or the process dies.
    """
    command = [
        sys.executable,
        "-m",
        "load_tests.soak",
        "--seconds",
        str(SECONDS),
        "--linger",
        "0",
        "--transport",
        transport,
    ]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=ROOT, timeout=80 + 2 * SECONDS
    )

    assert done.returncode == 0, done.stdout + done.stderr
