"""Many models at once.

`load_tests.many_models` measures times with a thousand; here the same program must pass with fewer.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.checkout import ROOT

pytestmark = pytest.mark.alone  # times are compared

COUNT = 100


def test_all_of_many_models_are_live_and_cost_no_threads_of_their_own():
    """The program fails where a model is not live, an answer is wrong, or models cost threads."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "load_tests.many_models",
            "--models",
            str(COUNT),
            "--processes",
            "2",
        ],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=110,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(f"loaded {COUNT + 4} of {COUNT + 4} models in") == 2
