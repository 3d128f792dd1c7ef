"""Gateways that tests use as remotes; what is shared is in remote_parts."""

import sys
from pathlib import Path

import pytest

END_TO_END = str(Path(__file__).parents[1] / "end_to_end")
if END_TO_END not in sys.path:  # running gateways and their models are at home there
    sys.path.insert(0, END_TO_END)


@pytest.fixture
def stand():
    """Starts servers of the tests' own; stops them."""
    from remote_parts import Stand

    started = []

    def start(*behaviour, **options):
        started.append(Stand(*behaviour, **options))
        return started[-1]

    yield start
    for each in started:
        each.stop()
