"""Servers that tests use as remotes; what is shared is in `tests.support.remote_parts`."""

import pytest


@pytest.fixture
def stand():
    """Starts servers of the tests' own; stops them."""
    from tests.support.remote_parts import Stand

    started = []

    def start(*behaviour, **options):
        started.append(Stand(*behaviour, **options))
        return started[-1]

    yield start
    for each in started:
        each.stop()
