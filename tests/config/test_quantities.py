"""Durations and sizes are read and written with their unit."""

import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.quantities import (
    ByteSize,
    Duration,
    format_bytes,
    format_duration,
    parse_bytes,
    parse_duration_s,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5s", 5),
        ("200ms", 0.2),
        ("500us", 0.0005),
        ("500µs", 0.0005),
        ("7ns", 7e-9),
        ("2m", 120),
        ("1.5h", 5400),
        (" 1 s ", 1),
        ("0s", 0),
    ],
)
def test_durations_are_seconds(text, seconds):
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64MiB", 64 << 20),
        ("1GB", 10**9),
        ("512B", 512),
        ("1.5KiB", 1536),
        ("2tib", 2 << 40),
        ("0B", 0),
    ],
)
def test_sizes_are_bytes(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("parse", [parse_duration_s, parse_bytes])
@pytest.mark.parametrize("value", [5, 0, 1.5, "5", "0", " 7 ", "-3", "1_000"])
def test_a_bare_number_is_refused_and_called_one(parse, value):
    with pytest.raises(ValueError, match=r"with its unit, such as .*the bare number"):
        parse(value)


@pytest.mark.parametrize(
    "value",
    ["", "s", "5 parsecs", "-5s", "1e3s", "infs", "nans", "5s5s", "\u0665s", None, True, [], "5S"],
)
def test_what_is_no_duration_is_refused(value):
    with pytest.raises(ValueError):
        parse_duration_s(value)


@pytest.mark.parametrize(
    "value", ["", "MiB", "5 mb ib", "-5MB", "0.3B", "9999999TiB", None, {}, "5s"]
)
def test_what_is_no_size_is_refused(value):
    with pytest.raises(ValueError):
        parse_bytes(value)


@given(st.integers(0, 10**15))
def test_a_duration_of_whole_nanoseconds_is_read_back_as_written(nanoseconds):
    seconds = nanoseconds / 1e9
    assert parse_duration_s(format_duration(seconds)) == seconds


@given(st.floats(0, 1e9))
def test_any_duration_is_read_back_nearly_as_written(seconds):
    assert math.isclose(parse_duration_s(format_duration(seconds)), seconds, abs_tol=1e-17)


@given(st.integers(0, 1 << 50))
def test_a_size_is_read_back_as_written(size):
    assert parse_bytes(format_bytes(size)) == size


@given(st.one_of(st.text(max_size=20), st.integers(), st.floats(), st.none()))
def test_parsing_raises_nothing_but_value_errors(value):
    for parse in (parse_duration_s, parse_bytes):
        try:
            result = parse(value)
        except ValueError:
            continue
        assert result >= 0
        assert math.isfinite(result)


def test_the_largest_unit_that_fits_is_written():
    assert [format_duration(s) for s in (0, 0.0005, 0.2, 1, 90, 120, 7200)] == [
        "0s",
        "500us",
        "200ms",
        "1s",
        "90s",
        "2m",
        "2h",
    ]
    assert [format_bytes(n) for n in (0, 1000, 1024, 64 << 20, 3 << 40)] == [
        "0B",
        "1000B",
        "1KiB",
        "64MiB",
        "3TiB",
    ]


def test_the_types_show_as_texts_and_travel_pickled():
    values = Duration.parse("500us"), ByteSize.parse("64MiB")
    assert repr(values) == "(500us, 64MiB)"
    assert pickle.loads(pickle.dumps(values)) == (0.0005, 64 << 20)
