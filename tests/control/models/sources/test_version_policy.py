"""The version policy picks live versions from those that are there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.models.sources.version_policy import (
    VersionPolicy,
    live_versions,
    missing_versions,
)

VERSIONS = st.lists(st.integers(1, 50), max_size=12)
POLICIES = st.one_of(
    st.just(VersionPolicy("all")),
    st.integers(1, 12).map(lambda count: VersionPolicy("latest", count)),
    st.lists(st.integers(1, 50), min_size=1, max_size=6).map(VersionPolicy.parse),
)


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("latest", VersionPolicy("latest", 1)),
        ("latest 3", VersionPolicy("latest", 3)),
        ("all", VersionPolicy("all")),
        ([3, 1, 3], VersionPolicy("specific", versions=(1, 3))),
    ],
)
def test_a_policy_is_read(text, policy):
    assert VersionPolicy.parse(text) == policy


@pytest.mark.parametrize(
    "text",
    [
        "",
        "latest 0",
        "latest -1",
        "newest",
        1,
        True,
        [],
        [0],
        [-1],
        ["1"],
        [True],
        {"latest": 1},
        None,
    ],
)
def test_what_is_no_policy_is_refused_with_examples(text):
    with pytest.raises(ValueError, match=r"latest 2, all, or a list of versions such as \[1, 3\]"):
        VersionPolicy.parse(text)


@given(POLICIES)
def test_a_policy_is_read_back_as_it_shows(policy):
    shown = repr(policy)
    assert (
        VersionPolicy.parse(list(policy.versions) if policy.kind == "specific" else shown) == policy
    )


@given(POLICIES, VERSIONS)
def test_live_versions_are_there_ascending_and_once(policy, available):
    live = live_versions(policy, available)
    assert list(live) == sorted(set(live))
    assert set(live) <= set(available)


@given(st.integers(1, 12), VERSIONS)
def test_latest_keeps_the_newest_and_as_many_as_it_says(count, available):
    live = live_versions(VersionPolicy("latest", count), available)
    assert len(live) == min(count, len(set(available)))
    assert all(version < min(live) for version in set(available) - set(live))


@given(st.lists(st.integers(1, 50), min_size=1, max_size=6), VERSIONS)
def test_specific_versions_are_live_or_missing(named, available):
    policy = VersionPolicy.parse(named)
    assert sorted(
        (*live_versions(policy, available), *missing_versions(policy, available))
    ) == sorted(set(named))


@given(VERSIONS)
def test_all_keeps_every_one(available):
    assert live_versions(VersionPolicy("all"), available) == tuple(sorted(set(available)))
