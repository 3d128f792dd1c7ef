"""YAML becomes a struct, or every fault in it is named."""

from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.quantities import Duration
from gateway.config.typed_yaml import TypedYamlFault, decode_mapping, decode_yaml


class Inner(msgspec.Struct, frozen=True, kw_only=True):
    delay_s: Duration | None = msgspec.field(default=None, name="delay")
    sizes: tuple[Annotated[int, msgspec.Meta(ge=1)], ...] | None = None
    colour: Literal["red", "green"] | None = None


class Item(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    count: int = 1


class Whole(msgspec.Struct, frozen=True, kw_only=True):
    inner: Inner = Inner()
    items: tuple[Item, ...] = ()
    table: dict[str, Item] = {}
    words: dict[str, str] | None = None
    flag: bool | None = None


def faults_of(text: str) -> list[str]:
    with pytest.raises(TypedYamlFault) as caught:
        decode_yaml(text, Whole)
    assert str(caught.value) == "; ".join(caught.value.faults)
    return list(caught.value.faults)


def test_a_text_becomes_the_struct():
    text = (
        "inner: {delay: 5ms, sizes: [1, 2], colour: red}\nitems: [{name: a}, {name: b, count: 2}]\n"
        "table: {x: {name: c}}\nwords: {k: v}"
    )
    assert decode_yaml(text, Whole) == Whole(
        inner=Inner(delay_s=Duration(0.005), sizes=(1, 2), colour="red"),
        items=(Item(name="a"), Item(name="b", count=2)),
        table={"x": Item(name="c")},
        words={"k": "v"},
    )


@pytest.mark.parametrize("text", ["", "inner:", "items:\nwords:\nflag:", "# nothing"])
def test_a_key_with_nothing_behind_it_is_as_good_as_not_written(text):
    assert decode_yaml(text, Whole) == Whole()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("innner: {}", "unknown key 'innner'; did you mean 'inner'?"),
        ("inner: {dellay: 5s}", "unknown key 'dellay' in inner; did you mean 'delay'?"),
        ("qqq: 1", "unknown key 'qqq'; known are inner, items, table, words, flag"),
        ("inner: {delay_s: 5}", "unknown key 'delay_s' in inner; did you mean 'delay'?"),
        ("inner: {colour: rad}", "inner.colour: unknown value 'rad'; did you mean 'red'?"),
        ("inner: {sizes: [1, 0]}", "inner.sizes[1]: expected int >= 1 ([1, 0])"),
        ("inner: 3", "inner: expected a mapping of keys to values, got 3"),
        ("items: [{count: 1}]", "items[0]: the key 'name' is missing"),
        ("items: [{name: a}, {name: 3}]", "items[1].name: expected str, got int (3)"),
        ("items: {}", "items: expected array, got object ({})"),
        ("table: {x: {nam: c, name: d}}", "unknown key 'nam' in table.x; did you mean 'name'?"),
        ("words: {version: 1.0}", "words[...]: expected str, got float ({'version': 1.0})"),
        ("flag: 1", "flag: expected bool, got int (1)"),
        (
            "inner: {delay: 5}",
            (
                "inner.delay: expected a duration with its unit, such as 500us, 200ms, 5s "
                "or 2m, got the bare number 5"
            ),
        ),
        ("- 1", "the file: expected a mapping of keys to values, got [1]"),
        ("1: 2", "unknown key '1'; known are inner, items, table, words, flag"),
    ],
)
def test_a_fault_is_named_by_its_path(text, fault):
    assert faults_of(text) == [fault]


def test_every_fault_is_found():
    assert (
        len(
            faults_of(
                "inner: {delay: 5, sizes: [0], colur: red}\nitems: [{}, 7]\nflag: maybe\nmore: 1"
            )
        )
        == 7
    )


@pytest.mark.parametrize(
    "text",
    [
        "flag: [",
        "a: b: c",
        "\x00",
        "flag: true\nflag: false",
        "inner: {colour: red, colour: red}",
        "!!python/object:os.x {}",
    ],
)
def test_what_is_no_plain_yaml_is_refused_in_one_line(text):
    (fault,) = faults_of(text)
    assert fault.startswith("is not YAML: ")
    assert "\n" not in fault


def test_a_key_said_twice_is_named_with_its_line():
    (fault,) = faults_of("flag: true\nflag: false")
    assert "the key 'flag' is given twice" in fault
    assert "line 2" in fault


PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from([*Whole.__struct_fields__, "name", "delay", "sizes", "z"]),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=20,
)


@given(PLAIN)
def test_any_plain_value_is_a_struct_or_a_fault(data):
    try:
        result = decode_mapping(data, Whole)
        faults = ()
    except TypedYamlFault as fault:
        result = None
        faults = fault.faults
    assert isinstance(result, Whole) != bool(faults)
