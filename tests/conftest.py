"""Tests run on two cores at once; those marked `alone` have the machine to themselves."""

from __future__ import annotations

import fcntl
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "alone: measures times, so no other test runs beside it")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """First of all wrappers, so that no time limit runs while a test waits for its turn."""
    if not hasattr(item.config, "workerinput"):
        return (yield)
    folder = Path(item.config.workerinput["turns"])
    alone = item.get_closest_marker("alone") is not None
    with _turn(folder, alone=alone):
        return (yield)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """Every worker is told where the turns are taken."""
    folder = Path(node.config.cache.mkdir("turns"))  # type: ignore[attr-defined]
    node.workerinput["turns"] = str(folder)  # type: ignore[attr-defined]


@contextmanager
def _turn(folder: Path, *, alone: bool) -> Iterator[None]:
    """Tests share the second lock, and one that is alone has it for itself.

    A test holds the first while it waits for the second, so that one that is to be alone is not
    passed by others for ever.
    """
    with (folder / "next").open("w") as queue, (folder / "running").open("w") as running:
        fcntl.flock(queue, fcntl.LOCK_EX)
        fcntl.flock(running, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(queue, fcntl.LOCK_UN)
        yield
