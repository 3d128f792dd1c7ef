"""Forced breakers, and how the reports of all processes come together."""

from __future__ import annotations

import asyncio

from gateway.control.lifecycle.forced_breakers import ForcedBreakers
from gateway.ipc.messages import BreakerReport, ReportBreakers
from gateway.records.breaker_state import Snapshot

KEY = ("m", 1, "")
REPORT = ((KEY, Snapshot("m", "open", "", 5, 20, 5, 3.0, 1, "no memory")),)


class Processes:
    """The slots that are up, and the messages that were sent to them."""

    def __init__(self, *slots):
        self.slots = dict.fromkeys(slots)
        self.told = []
        self.board = ForcedBreakers(self.slots.keys(), self.told.append, patience_s=0.05)

    def survey(self):
        return asyncio.ensure_future(self.board.survey())


def test_a_survey_is_over_when_all_have_reported():
    async def run():
        processes = Processes(0, 1)
        survey = processes.survey()
        await asyncio.sleep(0)
        assert processes.told == [ReportBreakers(1)]
        processes.board.reported(1, BreakerReport(1, REPORT))
        processes.board.reported(0, BreakerReport(1, ()))
        assert (await survey).reports == {0: (), 1: REPORT}

    asyncio.run(run())


def test_a_process_that_does_not_answer_in_time_is_silent():
    async def run():
        processes = Processes(0, 1)
        survey = processes.survey()
        await asyncio.sleep(0)
        processes.board.reported(1, BreakerReport(1, REPORT))
        assert (await survey).reports == {0: None, 1: REPORT}
        processes.board.reported(0, BreakerReport(1, REPORT))  # the message comes too late

    asyncio.run(run())


def test_a_process_that_dies_meanwhile_is_not_waited_for_and_one_that_comes_up_is_not_asked():
    async def run():
        processes = Processes(0, 1)
        processes.board = ForcedBreakers(
            processes.slots.keys(), processes.told.append, patience_s=60
        )
        survey = processes.survey()
        await asyncio.sleep(0)
        processes.slots[2] = None
        processes.board.reported(2, BreakerReport(1, REPORT))
        processes.board.reported(0, BreakerReport(1, REPORT))
        processes.board.on_leave(1)
        assert (await survey).reports == {0: REPORT}

    asyncio.run(run())


def test_surveys_at_the_same_time_do_not_mix():
    async def run():
        processes = Processes(0)
        first = processes.survey()
        second = processes.survey()
        await asyncio.sleep(0)
        processes.board.reported(0, BreakerReport(2, REPORT))
        processes.board.reported(0, BreakerReport(1, ()))
        assert (await first).reports == {0: ()}
        assert (await second).reports == {0: REPORT}

    asyncio.run(run())


def test_without_processes_there_is_nothing_to_wait_for():
    async def run():
        assert (await Processes().board.survey()).reports == {}

    asyncio.run(run())


def test_what_is_forced_is_kept_until_it_is_set_to_automatic():
    board = Processes().board
    board.force([KEY, ("m", 2, "")], "open")
    board.force([("m", 2, "")], "closed")
    before = board.forced
    assert before == {KEY: "open", ("m", 2, ""): "closed"}
    board.force([KEY], "")
    assert board.forced == {("m", 2, ""): "closed"}
    assert before[KEY] == "open"  # what was published stays as it was
