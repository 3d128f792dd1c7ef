"""Lists of names as people and libraries note them."""

import json

from hypothesis import given
from hypothesis import strategies as st

from gateway.config.name_lists import names_in

NAMES = st.lists(st.text(min_size=1), min_size=1, max_size=20)


@given(NAMES)
def test_any_names_are_read_back_as_they_were_written(names):
    by_index = dict(enumerate(names))
    for text in (json.dumps(names), repr(names), json.dumps(by_index), repr(by_index)):
        assert names_in(text) == tuple(names)


@given(st.text())
def test_no_text_whatever_is_an_error(text):
    assert isinstance(names_in(text), tuple)


def test_what_is_very_long_is_no_list_of_names():
    assert names_in(json.dumps(["x" * 100] * 100)) != ()
    assert names_in(json.dumps(["x" * 100] * 20_000)) == ()
    assert names_in(json.dumps([str(i) for i in range(10_001)])) == ()


def test_a_name_with_half_a_character_is_no_name():
    assert names_in('["a", "\\ud800"]') == ()
