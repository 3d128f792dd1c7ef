"""Names in a text, bounded."""

from gateway.core.name_list import listed


def test_names_are_listed_and_many_are_counted():
    assert listed([]) == "none"
    assert listed(["a", "b"]) == "a, b"
    assert listed(range(12)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"


def test_a_name_as_long_as_a_page_is_cut():
    assert listed(["x" * 5000]) == "x" * 77 + "..."
