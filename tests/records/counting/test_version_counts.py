"""The declaration of the counters: the fast writes keep to it, and no name is given twice."""

from __future__ import annotations

import inspect
import os
from dataclasses import fields

import pytest

from gateway.protocol.generated.inference_pb2 import InferStatistics, ModelStatistics
from gateway.records.counters import (
    StatisticsTable,
    VersionStatistics,
    size_statistics_file,
)
from gateway.records.counting.counter_fields import Shape
from gateway.records.counting.counter_layout import HEAD_WORDS, PLACES, ROW_BYTES, ROW_WORDS
from gateway.records.counting.version_counts import FIELDS, VersionCounts

ROW = 2
NAMES = [each.name for each in FIELDS]
WRITES = [name for name in vars(VersionStatistics) if name.startswith("record_")]
VALUES = {"int": 3, "float": 0.003}


@pytest.fixture
def fd():
    made = os.memfd_create("statistics")
    size_statistics_file(made, 1)
    yield made
    os.close(made)


def count(table, write):
    """Calls a fast write with a value for each of its parameters."""
    method = getattr(table.writer(0, ROW), write)
    method(*[VALUES[each.annotation] for each in inspect.signature(method).parameters.values()])


def declared(write):
    return {each.name for each in FIELDS if each.writes == write}


READ_FROM_ANOTHER = {each.name for each in FIELDS if each.source}


def owners():
    """The counter of each word of a row; None where the word belongs to no counter."""
    found = [None] * HEAD_WORDS + ["batches"] * (ROW_WORDS - HEAD_WORDS)
    for place in PLACES:
        for at in range(place.start, place.end):
            assert found[at] is None
            found[at] = place.name
    return found


@pytest.mark.parametrize("write", WRITES)
def test_a_fast_write_changes_what_is_declared_for_it_and_no_other_word(fd, write):
    with StatisticsTable(fd) as table:
        count(table, write)
    file = memoryview(os.pread(fd, (ROW + 2) * ROW_BYTES, 0)).cast("q").tolist()
    row = slice(ROW * ROW_WORDS, (ROW + 1) * ROW_WORDS)

    changed = {owner for owner, word in zip(owners(), file[row], strict=True) if word}

    assert changed == declared(write) - READ_FROM_ANOTHER != set()
    assert not any(file[: row.start])
    assert not any(file[row.stop :])


@pytest.mark.parametrize("write", WRITES)
def test_what_a_fast_write_counts_is_read_under_its_name(fd, write):
    with StatisticsTable(fd) as table:
        count(table, write)
        counts = table.read(ROW)

    nothing = VersionCounts()
    assert {name for name in NAMES if getattr(counts, name) != getattr(nothing, name)} == declared(
        write
    )


def test_every_counter_has_a_fast_write_but_those_of_the_cache_that_is_not_there():
    assert {each.name for each in FIELDS if not each.writes} == {"cache_hit", "cache_miss"}
    assert {each.writes for each in FIELDS if each.writes} == set(WRITES)


def test_the_declaration_names_every_field_in_its_order():
    assert [each.name for each in fields(VersionCounts)] == NAMES
    assert [place.name for place in PLACES] == NAMES


def test_no_two_counters_bear_the_same_name():
    for names in (
        [(each.metric.name, each.outcome) for each in FIELDS if each.metric],
        [(each.metric.otlp_name, each.outcome) for each in FIELDS if each.metric],
        [each.rate for each in FIELDS if each.rate],
        [each.statistics for each in FIELDS if each.statistics],
        [
            metric.name
            for each in FIELDS
            for metric in (each.triton_count, each.triton_us)
            if metric is not None
        ],
    ):
        assert len(set(names)) == len(names)


def test_what_model_statistics_shows_are_its_members():
    spent = set(InferStatistics.DESCRIPTOR.fields_by_name)
    members = set(ModelStatistics.DESCRIPTOR.fields_by_name)

    for each in FIELDS:
        if each.statistics:
            assert each.statistics in (spent if each.shape is Shape.DURATION else members)
    assert spent == {each.statistics for each in FIELDS if each.shape is Shape.DURATION}
