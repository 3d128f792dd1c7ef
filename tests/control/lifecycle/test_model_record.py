"""The index of models: the state of each version, and what makes a gateway ready."""

from __future__ import annotations

from gateway.control.lifecycle.model_record import ModelRecord, all_ready, index_entries
from gateway.control.models.sources.source import SourceModel
from gateway.ipc.repository_index import IndexEntry, VersionState


def record(name: str = "m", *versions: int, fingerprint: str | None = "f", **fields) -> ModelRecord:
    return ModelRecord(
        name, SourceModel(name, versions), wanted=True, fingerprint=fingerprint, **fields
    )


class TestIndex:
    def test_each_version_has_the_state_it_is_in(self):
        one = record(
            "m", 4, 5, live={3}, draining={2}, gone={1}, loading=(4,), errors={5: "broken"}
        )

        assert index_entries([one]) == (
            IndexEntry("m", "1", VersionState.UNAVAILABLE, "unloaded"),
            IndexEntry("m", "2", VersionState.UNLOADING, ""),
            IndexEntry("m", "3", VersionState.READY, ""),
            IndexEntry("m", "4", VersionState.LOADING, ""),
            IndexEntry("m", "5", VersionState.UNAVAILABLE, "broken"),
        )

    def test_models_come_by_name_and_those_without_versions_say_why(self):
        unloaded = ModelRecord("b", SourceModel("b", (1,)))
        assert index_entries(
            [record("c", fault="skipped"), unloaded, record("a", 1, fingerprint=None)]
        ) == (
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
        one = record(
            "m",
            1,
            2,
            live={1, 2},
            lacking={1: "0 lacks it", 2: "0 and 1 lack it"},
            held_nowhere={2},
        )

        assert index_entries([one]) == (
            IndexEntry("m", "1", VersionState.READY, "0 lacks it"),
            IndexEntry("m", "2", VersionState.UNAVAILABLE, "0 and 1 lack it"),
        )
        assert one.serving == {1}
        assert not all_ready([one])

    def test_a_model_of_a_kind_that_is_not_served_keeps_nobody_from_being_ready(self):
        skipped = ModelRecord(
            "e",
            SourceModel("e", skipped="an ensemble"),
            wanted=True,
            fingerprint="f",
            fault="an ensemble",
        )

        assert all_ready([skipped, record("m", 1, live={1})])
        assert index_entries([skipped]) == (
            IndexEntry("e", "", VersionState.UNAVAILABLE, "an ensemble"),
        )
