"""Two configurations make one, or there is a fault for each fact in which they differ."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.quantities import Duration
from gateway.control.models.configuration.configuration import ModelConfiguration
from gateway.control.models.configuration.execution_configuration import (
    Batching,
    Queue,
    SessionOptions,
)
from gateway.control.models.configuration.merge import fill, merge
from gateway.control.models.configuration.tensor_configuration import (
    TensorConfiguration,
    WarmupRequest,
    WarmupTensor,
)
from gateway.control.models.sources.version_policy import VersionPolicy

FILES = ("model.yaml", "config.pbtxt")


def maybe(values):
    return st.one_of(st.none(), values)


SHAPES = st.lists(st.integers(-1, 4), max_size=3).map(tuple)
TENSORS = st.lists(
    st.builds(
        TensorConfiguration,
        name=st.sampled_from("abc"),
        datatype=maybe(st.sampled_from(["FP32", "INT64"])),
        shape=maybe(SHAPES),
        labels=maybe(st.sampled_from(["l", "m"])),
    ),
    max_size=3,
    unique_by=lambda tensor: tensor.name,
).map(tuple)
CONFIGURATIONS = st.builds(
    ModelConfiguration,
    batching=st.builds(
        Batching,
        max_batch_size=maybe(st.integers(0, 3)),
        dynamic=maybe(st.booleans()),
        max_queue_delay_s=maybe(st.sampled_from([Duration(0.001), Duration(1)])),
        pad_to=maybe(st.just((1, 2))),
    ),
    queue=st.builds(Queue, max_requests=maybe(st.integers(1, 3))),
    instances=maybe(st.integers(1, 3)),
    versions=maybe(st.sampled_from([VersionPolicy(), VersionPolicy("all")])),
    inputs=TENSORS,
    outputs=TENSORS,
    session=st.builds(
        SessionOptions,
        options=maybe(st.dictionaries(st.sampled_from("ab"), st.sampled_from("12"), max_size=2)),
    ),
    warmup=maybe(st.just((WarmupRequest(name="w", inputs={"a": WarmupTensor(data="zero")}),))),
    metadata=maybe(st.dictionaries(st.sampled_from("ab"), st.sampled_from("12"), max_size=2)),
)


def facts(value, path=()) -> dict[tuple, object]:
    """Every fact of a configuration, by its path."""
    if value is None:
        return {}
    if isinstance(value, msgspec.Struct) and not isinstance(value, WarmupRequest):
        return {
            k: v
            for f in value.__struct_fields__
            for k, v in facts(getattr(value, f), (*path, f)).items()
        }
    if isinstance(value, tuple) and value and isinstance(value[0], TensorConfiguration):
        return {k: v for tensor in value for k, v in facts(tensor, (*path, tensor.name)).items()}
    if isinstance(value, tuple) and not value and path[-1] in ("inputs", "outputs"):
        return {}
    if isinstance(value, dict):
        return {(*path, key): item for key, item in value.items()}
    return {path: value}


@given(CONFIGURATIONS)
def test_a_configuration_that_says_nothing_changes_nothing(said):
    assert merge(said, ModelConfiguration(), FILES) == (said, ())
    assert facts(merge(ModelConfiguration(), said, FILES)[0]) == facts(said)


@given(CONFIGURATIONS)
def test_the_same_said_twice_is_no_fault(said):
    assert merge(said, said, FILES) == (said, ())


@given(CONFIGURATIONS, CONFIGURATIONS)
def test_what_either_says_holds_and_differences_are_faults_one_each(first, second):
    merged, faults = merge(first, second, FILES)
    mine = facts(first)
    others = facts(second)
    assert facts(merged) == {**others, **mine}
    assert len(faults) == sum(
        1 for path in mine.keys() & others.keys() if mine[path] != others[path]
    )


@given(CONFIGURATIONS, CONFIGURATIONS)
def test_the_order_of_the_files_decides_nothing_but_who_wins_a_fault(first, second):
    merged, faults = merge(first, second, FILES)
    turned, turned_faults = merge(second, first, FILES[::-1])
    assert len(faults) == len(turned_faults)
    if not faults:
        assert facts(merged) == facts(turned)


@given(CONFIGURATIONS, CONFIGURATIONS)
def test_what_is_implied_yields_to_what_is_said(said, implied):
    assert facts(fill(said, implied)) == {**facts(implied), **facts(said)}


@pytest.mark.parametrize(
    ("ours", "theirs", "fault"),
    [
        (
            ModelConfiguration(batching=Batching(max_batch_size=8)),
            ModelConfiguration(batching=Batching(max_batch_size=16)),
            (
                "batching.max_batch_size is 8 in model.yaml and 16 in "
                "config.pbtxt: set it in one of them"
            ),
        ),
        (
            ModelConfiguration(batching=Batching(max_queue_delay_s=Duration(0.0005))),
            ModelConfiguration(batching=Batching(max_queue_delay_s=Duration(0.001))),
            (
                "batching.max_queue_delay is 500us in model.yaml and 1ms in "
                "config.pbtxt: set it in one of them"
            ),
        ),
        (
            ModelConfiguration(inputs=(TensorConfiguration(name="x", shape=(1, 2)),)),
            ModelConfiguration(
                inputs=(TensorConfiguration(name="x", shape=(2,), datatype="FP32"),)
            ),
            "inputs.x.shape is [1, 2] in model.yaml and [2] in config.pbtxt: set it in one of them",
        ),
        (
            ModelConfiguration(versions=VersionPolicy("all")),
            ModelConfiguration(versions=VersionPolicy("latest", 2)),
            "versions is all in model.yaml and latest 2 in config.pbtxt: set it in one of them",
        ),
        (
            ModelConfiguration(metadata={"a": "1"}),
            ModelConfiguration(metadata={"a": "2"}),
            "metadata.a is '1' in model.yaml and '2' in config.pbtxt: set it in one of them",
        ),
    ],
)
def test_a_difference_names_the_key_both_files_and_both_values(ours, theirs, fault):
    assert merge(ours, theirs, FILES)[1] == (fault,)
