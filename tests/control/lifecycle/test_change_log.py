"""The line that a change of versions leaves in the log."""

import asyncio

import pytest

from gateway.control.lifecycle.change_log import ChangeLog, versions
from gateway.control.lifecycle.changes import Change, Drained, Settled

CHANGE = Change(7, "wine")


def keys(*numbers):
    return tuple(("wine", number) for number in numbers)


@pytest.fixture
def lines(caplog):
    """The lines of a change, whose draining ends after `drains_s`; None: nothing drains."""
    caplog.set_level("INFO")

    def run(live=(), retired=(), before=(), drains_s=0.0, patience_s=1.0):
        async def change():
            changes = ChangeLog(lambda _: 2, patience_s)
            changes.settled(Settled(CHANGE, keys(*live), keys(*retired)), before)
            await asyncio.sleep(drains_s)
            changes.drained(Drained(CHANGE, keys(*retired)))

        asyncio.run(change())
        return [record.getMessage() for record in caplog.records]

    return run


def test_what_became_live_and_what_drained_stand_in_one_line(lines):
    assert lines(live=[2], retired=[1], before=[1]) == [
        "wine: version 2 is live in 2 processes, version 1 drained (0.00 s)"
    ]


def test_a_version_that_replaces_nothing_is_live_at_once(lines):
    assert lines(live=[1, 2]) == ["wine: versions 1, 2 are live in 2 processes"]


def test_a_version_whose_files_changed_says_that_the_former_drained(lines):
    assert lines(live=[1], before=[1]) == [
        "wine: version 1 is live in 2 processes, what it replaced drained (0.00 s)"
    ]


def test_a_model_that_is_unloaded_says_so(lines):
    assert lines(retired=[1], before=[1]) == ["wine: version 1 is no longer live, drained (0.00 s)"]


def test_what_drains_long_has_a_line_of_its_own_and_nobody_waits_for_the_first(lines):
    said = lines(live=[2], retired=[1], before=[1], drains_s=0.2, patience_s=0.01)
    assert said[0] == "wine: version 2 is live in 2 processes, version 1 still answers calls"
    assert said[1].startswith("wine: version 1 drained (0.2")


def test_a_change_that_changed_nothing_is_not_told(lines):
    assert lines() == []


def test_versions_are_counted():
    assert [versions([]), versions([1]), versions([2, 1])] == [
        "",
        "version 1 is",
        "versions 1, 2 are",
    ]
