"""Which phase a sequence of signals leads to."""

from __future__ import annotations

import asyncio
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.processes.stop_phase import Phase, StopProgress, next_phase


class TestSignals:
    @pytest.mark.parametrize(
        ("signals", "phase"),
        [
            ((signal.SIGTERM,), Phase.DRAINING),
            ((signal.SIGTERM, signal.SIGTERM), Phase.DRAINING),
            ((signal.SIGINT,), Phase.STOPPING),
            ((signal.SIGTERM, signal.SIGINT), Phase.STOPPING),
            ((signal.SIGINT, signal.SIGTERM), Phase.STOPPING),
            ((signal.SIGINT, signal.SIGINT), Phase.KILLED),
            ((signal.SIGTERM, signal.SIGINT, signal.SIGINT), Phase.KILLED),
        ],
    )
    def test_a_sequence_of_signals_leads_so_far(self, signals, phase):
        now = Phase.SERVING
        for number in signals:
            now = next_phase(now, number)
        assert now is phase

    @given(st.lists(st.sampled_from([signal.SIGTERM, signal.SIGINT])))
    def test_no_signal_leads_back(self, signals):
        phases = [Phase.SERVING]
        for number in signals:
            phases.append(next_phase(phases[-1], number))
        assert phases == sorted(phases)

    def test_who_waits_for_a_phase_is_woken_by_a_later_one(self):
        async def run():
            stop = StopProgress()
            waiting = asyncio.create_task(stop.wait(Phase.DRAINING))
            await asyncio.sleep(0)
            assert not waiting.done()
            stop.signalled(signal.SIGINT)
            await asyncio.wait_for(waiting, 1)
            assert repr(stop) == "<StopProgress stopping>"

        asyncio.run(run())
