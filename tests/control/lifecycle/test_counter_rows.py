"""Every version has a row of counters of its own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.control.lifecycle.counter_rows import CounterRows


class TestRows:
    @given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=60), st.integers(1, 6))
    def test_no_two_versions_share_a_row_and_a_row_is_cleared_before_it_changes_hands(
        self, steps, size
    ):
        cleared: list[int] = []
        rows = CounterRows(cleared.append, rows=size)
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
        rows = CounterRows(lambda _: None)
        first = rows.assign(("m", 1))
        rows.release(("m", 1))
        assert rows.assign(("n", 1)) != first
        assert rows.assign(("m", 1)) == first
