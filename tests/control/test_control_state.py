"""The small parts of the control side: signals, rows, restarts, index, settings, publications."""

from __future__ import annotations

import asyncio
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.control import ControlOptions, ModelControlMode, ModelControlOptions, RestartOptions, StopOptions
from gateway.control.lifecycle.counter_rows import StatisticsRows
from gateway.control.lifecycle.model_record import ModelRecord, SourceModel, all_ready, index_entries
from gateway.control.lifecycle.publisher import Bulletin
from gateway.control.lifecycle.runtime_settings import AgreedSettings
from gateway.control.processes.stop_sequence import Phase, StopSequence, next_phase
from gateway.core.errors import InvalidRequest
from gateway.ipc.messages import Change, IndexEntry, VersionState


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
            stop = StopSequence()
            waiting = asyncio.create_task(stop.wait(Phase.DRAINING))
            await asyncio.sleep(0)
            assert not waiting.done()
            stop.signalled(signal.SIGINT)
            await asyncio.wait_for(waiting, 1)
            assert repr(stop) == "<StopSequence stopping>"

        asyncio.run(run())


class TestRows:
    @given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=60), st.integers(1, 6))
    def test_no_two_versions_share_a_row_and_a_row_is_cleared_before_it_changes_hands(self, steps, size):
        cleared: list[int] = []
        rows = StatisticsRows(cleared.append, rows=size)
        live: dict[int, int] = {}
        last_owner: dict[int, int] = {}
        for load, version in steps:
            if load and version not in live:
                cleared.clear()
                row = rows.assign(("m", version))
                if row < 0:
                    assert len(live) == size
                    continue
                assert row not in live.values()
                if last_owner.get(row, version) != version:
                    assert cleared == [row]
                else:
                    assert cleared == []
                live[version] = row
                last_owner[row] = version
            elif not load and version in live:
                rows.release(("m", version))
                del live[version]

    def test_a_version_that_comes_back_has_its_row_again(self):
        rows = StatisticsRows(lambda _: None)
        first = rows.assign(("m", 1))
        rows.release(("m", 1))
        assert rows.assign(("n", 1)) != first
        assert rows.assign(("m", 1)) == first


class TestOptions:
    @given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
    def test_a_restart_is_never_late_by_more_than_the_jitter(self, deaths, draw):
        options = RestartOptions()
        delay_s = options.delay_s(deaths, draw)
        assert options.first_delay_s * (1 - options.jitter) <= delay_s <= options.longest_delay_s * (1 + options.jitter)

    def test_restarts_slow_down_until_the_longest_delay(self):
        options = RestartOptions(first_delay_s=0.1, longest_delay_s=1.0, jitter=0)
        assert [options.delay_s(n, 0.5) for n in (1, 2, 3, 4, 5, 99)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]

    def test_what_makes_no_sense_is_refused_with_its_name(self):
        with pytest.raises(ValueError, match="--load-model is for --model-control explicit, not poll"):
            ModelControlOptions(mode=ModelControlMode.POLL, load_models=("m",))
        with pytest.raises(ValueError, match="poll interval"):
            ModelControlOptions(poll_interval_s=0)
        with pytest.raises(ValueError, match="drain_delay_s must be 0 or more: -1"):
            StopOptions(drain_delay_s=-1)
        with pytest.raises(ValueError, match="--processes must be 1 to 64"):
            ControlOptions(processes=65)


def record(name: str = "m", *versions: int, fingerprint: str | None = "f", **fields) -> ModelRecord:
    return ModelRecord(name, SourceModel(name, versions), wanted=True, fingerprint=fingerprint, **fields)


class TestIndex:
    def test_each_version_has_the_state_it_is_in(self):
        one = record("m", 4, 5, live={3}, draining={2}, gone={1}, loading=(4,), errors={5: "broken"})

        assert index_entries([one]) == (
            IndexEntry("m", "1", VersionState.UNAVAILABLE, "unloaded"),
            IndexEntry("m", "2", VersionState.UNLOADING, ""),
            IndexEntry("m", "3", VersionState.READY, ""),
            IndexEntry("m", "4", VersionState.LOADING, ""),
            IndexEntry("m", "5", VersionState.UNAVAILABLE, "broken"),
        )

    def test_models_come_by_name_and_those_without_versions_say_why(self):
        unloaded = ModelRecord("b", SourceModel("b", (1,)))
        assert index_entries([record("c", fault="skipped"), unloaded, record("a", 1, fingerprint=None)]) == (
            IndexEntry("a", "1", VersionState.LOADING, ""),
            IndexEntry("b", "", None, ""),
            IndexEntry("c", "", VersionState.UNAVAILABLE, "skipped"),
        )

    def test_a_version_that_serves_although_its_successor_failed_says_so(self):
        (entry,) = index_entries([record("m", 1, live={1}, errors={1: "broken"})])

        assert entry.state is VersionState.READY
        assert "the last load failed: broken" in entry.reason

    def test_ready_means_a_live_version_of_every_model_that_is_wanted(self):
        assert all_ready([record("m", 1, live={1}), ModelRecord("unwanted")])
        assert not all_ready([record("m", 1, live={1}), record("n", 1, errors={1: "broken"})])

    def test_what_a_process_lacks_is_said_and_is_unavailable_where_no_process_has_it(self):
        one = record("m", 1, 2, live={1, 2}, lacking={1: "0 lacks it", 2: "0 and 1 lack it"}, held_nowhere={2})

        assert index_entries([one]) == (
            IndexEntry("m", "1", VersionState.READY, "0 lacks it"),
            IndexEntry("m", "2", VersionState.UNAVAILABLE, "0 and 1 lack it"),
        )
        assert one.serving == {1}
        assert not all_ready([one])

    def test_a_model_of_a_kind_that_is_not_served_keeps_nobody_from_being_ready(self):
        skipped = ModelRecord("e", SourceModel("e", skipped="an ensemble"), wanted=True, fingerprint="f", fault="an ensemble")

        assert all_ready([skipped, record("m", 1, live={1})])
        assert index_entries([skipped]) == (IndexEntry("e", "", VersionState.UNAVAILABLE, "an ensemble"),)


class TestSettings:
    def test_a_change_is_all_or_nothing(self):
        settings = AgreedSettings({}, {"level": 1, "format": "default"})

        with pytest.raises(InvalidRequest, match="setting 'format' must be of type str, got 3"):
            settings.change(Change.LOG_SETTINGS, {"level": 2, "format": 3})

        assert settings.change(Change.LOG_SETTINGS, {}) == {"level": 1, "format": "default"}
        assert settings.change(Change.LOG_SETTINGS, {"level": 2})["level"] == 2

    def test_a_setting_without_a_value_is_the_starts_again_and_the_others_stay(self):
        settings = AgreedSettings({}, {"level": 1, "format": "default"})
        settings.change(Change.LOG_SETTINGS, {"level": 2, "format": "json"})

        assert settings.change(Change.LOG_SETTINGS, {"level": ()}) == settings.log == {"level": 1, "format": "json"}
        assert repr(settings) == "<AgreedSettings trace {} log {'level': 1, 'format': 'json'}>"

    def test_unknown_names_are_told_the_known_ones(self):
        with pytest.raises(InvalidRequest, match="unknown setting 'lever': expected one of format, level"):
            AgreedSettings({}, {"level": 1, "format": ""}).change(Change.LOG_SETTINGS, {"lever": 2})
        with pytest.raises(InvalidRequest, match="must be of type bool, got 1"):
            AgreedSettings({"on": True}, {}).change(Change.TRACE_SETTINGS, {"on": 1})


class TestBulletin:
    def run(self, test, pause_s=0.0):
        published = []

        async def publish():
            published.append(None)

        async def main():
            bulletin = Bulletin(publish, pause_s)
            await test(bulletin, published)
            bulletin.close()

        asyncio.run(main())

    def test_nothing_is_published_before_it_is_opened(self):
        async def test(bulletin, published):
            bulletin.soon()
            await bulletin.now()
            assert not published
            bulletin.open()
            await asyncio.sleep(0)
            assert len(published) == 1

        self.run(test)

    def test_many_changes_make_one_publication(self):
        async def test(bulletin, published):
            bulletin.open()
            for _ in range(100):
                bulletin.soon()
            while len(published) < 2:
                await asyncio.sleep(0)
            for _ in range(10):
                await asyncio.sleep(0)
            assert len(published) == 2

        self.run(test)

    def test_who_waits_is_not_kept_for_the_pause(self):
        async def test(bulletin, published):
            bulletin.open()
            await asyncio.sleep(0)
            bulletin.soon()
            await bulletin.now()
            assert len(published) == 2
            assert "pending" not in repr(bulletin)

        self.run(test, pause_s=3600)
