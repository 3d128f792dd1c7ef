"""The walk over an ONNX file's wire format finds every reference that a full parser finds."""

import os
import random
import tempfile

import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.onnx.model_faults import OnnxFileFault
from gateway.onnx.protobuf import external_locations
from tests.support.repository_models import constant_model, external, linear_model, tensor_names


def locations(data: bytes) -> tuple[str, ...]:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        return external_locations(file.fileno(), len(data))


def all_external() -> onnx.ModelProto:
    model = constant_model("first", "second")
    tensors = [
        *model.graph.initializer,
        model.graph.node[0].attribute[0].t,
        model.graph.node[1].attribute[0].g.node[0].attribute[0].t,
        model.graph.sparse_initializer[0].values,
        model.functions[0].node[0].attribute[0].t,
        model.training_info[0].algorithm.initializer[0],
    ]
    for index, tensor in enumerate(tensors):
        external(tensor, f"weights {index}.bin")
    return model


EXTERNAL = all_external().SerializeToString()
PLAIN = constant_model("w").SerializeToString()


def varint(number: int) -> bytes:
    encoded = b""
    while number > 0x7F:
        encoded = encoded + bytes([number & 0x7F | 0x80])
        number = number >> 7
    return encoded + bytes([number])


def message(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def test_tensors_are_found_wherever_onnx_has_room_for_them():
    assert (
        set(locations(EXTERNAL))
        == {f"weights {i}.bin" for i in range(7)}
        == tensor_names(onnx.ModelProto.FromString(EXTERNAL))
    )


def test_a_model_without_external_data_refers_to_nothing():
    assert locations(PLAIN) == locations(linear_model().SerializeToString()) == ()


def test_a_location_is_named_once():
    model = linear_model()
    for name in "abc":
        external(model.graph.initializer.add(name=name), "one.bin")
    assert locations(model.SerializeToString()) == ("one.bin",)


def test_parts_of_a_tensor_that_is_written_twice_are_seen_as_protobuf_merges_them():
    entry = message(13, message(1, b"location") + message(2, b"../secret"))
    # attribute.t: first where the data is, then that it is external
    halves = message(5, entry) + message(5, b"\x70\x01")
    data = message(7, message(1, message(5, halves)))
    assert tensor_names(onnx.ModelProto.FromString(data)) == {"../secret"}
    assert locations(data) == ("../secret",)


def test_numbers_written_one_field_each_are_passed_over_across_chunks():
    node = onnx.helper.make_node(
        "T", [], ["y"], floats=[1.5] * 200_000, ints=[-1, 3, 2**62] * 50_000
    )
    model = linear_model()
    model.graph.node.append(node)
    external(model.graph.initializer[0], "behind them.bin")
    assert locations(model.SerializeToString()) == ("behind them.bin",)


def test_large_tensors_are_skipped_not_read():
    model = linear_model()
    model.graph.initializer[0].raw_data = bytes(5_000_000)
    external(model.graph.initializer.add(name="b"), "b.bin")
    assert locations(model.SerializeToString()) == ("b.bin",)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "no graph"),
        (b"hello, I am no model", "wire type|field"),
        (b"\x00" * 40, "no field can begin at byte 0"),
        (message(1, b"x"), "it has no graph"),
        (b"\x3a\xff\xff\xff\xff\x0f", "goes on to byte"),
        (b"\x3a" + b"\xff" * 20, "no number ends"),
        (b"\x3a", "truncated"),
        (message(7, b"\x0b"), "wire type 3"),
        (message(7, message(5, message(13, b"\x08\x01"))), "external_data entry has wire type 0"),
        (message(7, message(5, message(13, b"\x0a\x7f"))), "goes on behind its end"),
        (
            message(7, message(5, message(13, message(1, b"location") + message(2, b"\xff\xfe")))),
            "not UTF-8",
        ),
        (
            message(
                7, message(5, message(13, message(1, b"location") + message(2, b"a" * 20_000)))
            ),
            "entry of 20",
        ),
    ],
)
def test_what_is_no_onnx_file_is_a_fault_with_a_reason(data, fault):
    with pytest.raises(OnnxFileFault, match=fault):
        locations(data)


def test_nesting_is_bounded():
    data = b""
    for _ in range(200):
        data = message(1, message(5, message(6, data)))  # graph.node.attribute.g
    with pytest.raises(OnnxFileFault, match="more than 100 deep"):
        locations(message(7, data))


def test_a_file_that_ends_earlier_than_its_size_said_is_a_fault():
    with tempfile.TemporaryFile() as file:
        file.write(EXTERNAL)
        file.flush()
        os.ftruncate(file.fileno(), len(EXTERNAL) // 2)
        with pytest.raises(OnnxFileFault, match=r"truncated|shorter"):
            external_locations(file.fileno(), len(EXTERNAL))


def check(data: bytes) -> None:
    """Checks that all references of a full parser are found, or that the file is refused."""
    try:
        seen = locations(data)
    except OnnxFileFault:
        return
    try:
        parsed = onnx.ModelProto.FromString(data)
    except DecodeError:
        return
    assert tensor_names(parsed) <= set(seen)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(EXTERNAL)))
@example(len(EXTERNAL))
def test_a_truncated_file_hides_nothing_that_a_parser_would_follow(length):
    check(EXTERNAL[:length])


@settings(max_examples=500, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, len(EXTERNAL) - 1), st.binary(min_size=0, max_size=6)),
        min_size=1,
        max_size=4,
    )
)
def test_a_mutated_file_hides_nothing_that_a_parser_would_follow(mutations):
    data = EXTERNAL
    for position, replacement in mutations:
        data = data[:position] + replacement + data[position + len(replacement) // 2 :]
    check(data)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.randoms(use_true_random=False))
def test_any_bytes_are_a_fault_or_seen_through(tail, chance: random.Random):
    check(tail)
    check(EXTERNAL[: chance.randrange(len(EXTERNAL))] + tail)
