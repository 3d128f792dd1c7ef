"""A version's plan follows from its configuration and its findings.

A version is refused where the two contradict each other.
"""

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.config.typed_yaml import decode_yaml
from gateway.control.models.configuration.configuration import ModelConfiguration
from gateway.control.models.configuration.warmup import trial_inputs
from gateway.control.models.planning.version_plan import PlanDefaults, plan_version
from gateway.core.plan import (
    BatchingPlan,
    Findings,
    QueuePlan,
    SessionPlan,
    TensorSpec,
    WarmupInput,
)
from gateway.onnx.model_faults import PlanFault
from tests.support.repository_models import findings, found_model, graph_tensor


def plan(
    text: str = "",
    found: Findings | None = None,
    *,
    cores: int = 1,
    default_max_batch_size: int = 64,
    **sidecars,
):
    model, version = found_model(decode_yaml(text, ModelConfiguration), **sidecars)
    defaults = PlanDefaults(cores=cores, max_batch_size=default_max_batch_size)
    return plan_version(model, version, found or findings(), fingerprint="f", defaults=defaults)


UNBATCHED = {
    "batchable": False,
    "evidence": "rows answered together differ by 0.3",
    "cost_us": {1: 80.0},
}


def test_with_evidence_and_no_configuration_a_version_is_batched_and_large_requests_are_split():
    made = plan()
    assert made.batching == BatchingPlan(
        max_batch_size=64,
        splits=True,
        useful_batch_size=32,
        loop_batch_size=16,
        reason="five rows agree",
    )
    assert made.inputs == (TensorSpec("x", "FP32", (-1, 4)),)
    assert made.outputs == (TensorSpec("y", "FP32", (-1, 3)),)
    assert (made.model, made.version, made.path, made.fingerprint) == (
        "m",
        1,
        "/models/m/1/model.onnx",
        "f",
    )
    assert made.warnings == ()
    assert pickle.loads(pickle.dumps(made)) == made


def test_the_default_limit_is_the_servers():
    assert plan(default_max_batch_size=16).batching.max_batch_size == 16
    off = plan(default_max_batch_size=0).batching
    assert (off.max_batch_size, off.reason) == (
        0,
        "not batched: batching on evidence is turned off",
    )


def test_without_evidence_a_version_is_served_one_by_one():
    made = plan(found=findings(**UNBATCHED))
    assert made.batching == BatchingPlan(reason="not batched: rows answered together differ by 0.3")
    assert made.inputs[0].shape == (-1, 4)
    assert made.warmup_batch_sizes == (1,)


def test_a_quick_version_without_batch_axis_runs_on_the_loop():
    assert plan(found=findings(**{**UNBATCHED, "cost_us": {1: 49.0}})).batching.loop_batch_size == 1


@pytest.mark.parametrize(
    "tensors",
    [
        {"inputs": (graph_tensor("x", ("n", 4)), graph_tensor("w", (4, 3), optional=True))},
        {"inputs": (graph_tensor("x", ("n", 4)), graph_tensor("threshold", ()))},
        {"outputs": (graph_tensor("y", (1, 3)),)},
        {"inputs": (graph_tensor("x", (2, 4)),)},
    ],
)
def test_a_tensor_without_a_free_first_axis_speaks_against_batching(tensors):
    batching = plan(found=findings(**tensors)).batching
    assert batching.max_batch_size == 0
    assert "has no free first axis" in batching.reason


def test_a_configured_limit_is_the_users_word_and_wins():
    made = plan("batching: {max_batch_size: 8}")
    assert made.batching.max_batch_size == 8
    assert not made.batching.splits
    assert made.batching.useful_batch_size == 8
    assert made.warnings == ()
    against = plan("batching: {max_batch_size: 8}", findings(**UNBATCHED))
    assert (against.batching.max_batch_size, against.batching.useful_batch_size) == (8, 8)
    assert against.warnings == (
        "max_batch_size 8 is configured, although rows answered together differ by 0.3",
    )


def test_a_configured_limit_of_0_turns_batching_off():
    made = plan("batching: {max_batch_size: 0}")
    assert made.batching.max_batch_size == 0
    assert made.inputs[0].shape == (-1, 4)


def test_settings_of_batching_are_carried_over():
    text = (
        "batching: {max_batch_size: 8, max_queue_delay: 500us, "
        "preferred_batch_sizes: [8, 4], pad_to: [1, 8]}"
    )
    batching = plan(text).batching
    assert (
        batching.max_queue_delay_s,
        batching.preferred_batch_sizes,
        batching.pad_to,
        batching.dynamic,
    ) == (0.0005, (4, 8), (1, 8), True)
    assert type(batching.max_queue_delay_s) is float


def test_without_dynamic_batching_each_request_runs_alone():
    made = plan("batching: {max_batch_size: 8, dynamic: false, max_queue_delay: 1ms}")
    assert (
        made.batching.dynamic,
        made.batching.useful_batch_size,
        made.batching.max_queue_delay_s,
    ) == (False, 1, 0)
    assert made.warnings == (
        "max_queue_delay and preferred_batch_sizes have no effect without dynamic batching",
    )
    assert made.warmup_batch_sizes == (1,)


def test_settings_without_a_batch_are_said_to_be_idle():
    assert (
        "have no effect"
        in plan("batching: {max_queue_delay: 1ms}", findings(**UNBATCHED)).warnings[0]
    )


def test_sizes_beyond_the_limit_are_a_fault():
    with pytest.raises(
        PlanFault,
        match="names the size 128, but a batch has at most 64 rows: configure max_batch_size",
    ):
        plan("batching: {pad_to: [1, 128]}")


def test_a_fixed_first_axis_that_is_the_limit_is_padded_to():
    found = findings(
        inputs=(graph_tensor("x", (8, 4)),),
        outputs=(graph_tensor("y", (8, 3)),),
        **{**UNBATCHED, "evidence": "fixed"},
    )
    made = plan("batching: {max_batch_size: 8}", found)
    assert (made.batching.pad_to, made.batching.useful_batch_size) == ((8,), 8)
    assert made.inputs[0].shape == (-1, 4)
    assert made.warmup_batch_sizes == (8,)


def test_a_fixed_first_axis_that_is_another_is_a_fault_with_the_way_out():
    found = findings(inputs=(graph_tensor("x", (1, 4)),))
    with pytest.raises(
        PlanFault,
        match=r"input 'x' has the fixed size 1 there.*max_batch_size 8.*set max_batch_size to 0",
    ):
        plan("batching: {max_batch_size: 8}", found)
    assert plan("batching: {max_batch_size: 1}", found).inputs[0].shape == (-1, 4)


def test_a_tensor_without_axes_cannot_be_batched():
    with pytest.raises(PlanFault, match="output 'loss' has no axis at all"):
        plan("batching: {max_batch_size: 8}", findings(outputs=(graph_tensor("loss", ()),)))


def test_rank_0_stays_rank_0():
    found = findings(
        inputs=(graph_tensor("x", (), "tensor(int64)"),),
        outputs=(graph_tensor("y", ()),),
        **UNBATCHED,
    )
    assert plan(found=found).inputs == (TensorSpec("x", "INT64", ()),)


def test_an_optional_input_without_batch_axis_stays_out_of_a_version_batched_by_configuration():
    found = findings(inputs=(graph_tensor("x", ("n", 4)), graph_tensor("w", (4, 3), optional=True)))
    made = plan("batching: {max_batch_size: 8}", found)
    assert [spec.name for spec in made.inputs] == ["x"]
    assert "input w keeps the graph's own value" in made.warnings[0]
    with pytest.raises(PlanFault, match="input w is configured, but has no batch axis"):
        plan("batching: {max_batch_size: 8}\ninputs: [{name: w}]", found)


def test_symbolic_unnamed_and_unknown_sizes_are_free_and_zero_is_a_size():
    found = findings(inputs=(graph_tensor("x", ("n", None, "time", -1, 0, 3), "tensor(string)"),))
    assert plan(found=found).inputs == (TensorSpec("x", "BYTES", (-1, -1, -1, -1, 0, 3)),)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "inputs: [{name: X}]",
            "input 'X' is configured, but the graph has no such input; known are x",
        ),
        (
            "outputs: [{name: yy}]",
            "output 'yy' is configured, but the graph has no such output; did you mean 'y'?",
        ),
        (
            "inputs: [{name: x, datatype: INT64}]",
            "input 'x' is configured as INT64, but the graph has FP32",
        ),
        (
            "inputs: [{name: x, shape: [5]}]",
            r"shape [5] ([-1, 5] with the batch axis), but the graph has [-1, 4]",
        ),
        (
            "inputs: [{name: x, shape: [-1]}]",
            "shape [-1] ([-1, -1] with the batch axis), but the graph has [-1, 4]",
        ),
        ("inputs: [{name: x, shape: [1, 4]}]", "shape [1, 4]"),
        (
            "batching: {max_batch_size: 8}\ninputs: [{name: x, shape: [-1, 4]}]",
            "shape [-1, 4] ([-1, -1, 4] with the batch axis)",
        ),
        (
            "inputs: [{name: x, shape: [2, 3], reshape: [4]}]",
            "a tensor of shape [2, 3] cannot be reshaped to [4]",
        ),
        ("inputs: [{name: x, shape: [2, 2], reshape: [5]}]", "shape [5]"),
        ("inputs: [{name: x, shape: [-1, 2], reshape: [4]}]", "cannot be reshaped"),
        (
            "inputs: [{name: x, optional: true}]",
            "configured as optional, but the graph has no initialiser for it",
        ),
    ],
)
def test_where_configuration_and_graph_contradict_each_other_is_a_fault(text, fault):
    with pytest.raises(PlanFault) as caught:
        plan(text)
    assert fault in str(caught.value)


def test_all_contradictions_are_named_at_once():
    with pytest.raises(PlanFault) as caught:
        plan("inputs: [{name: x, datatype: INT64}, {name: z}]\noutputs: [{name: y, shape: [9]}]")
    assert all(f"'{name}'" in str(caught.value) for name in "xyz")


@pytest.mark.parametrize(
    "onnx_type",
    [
        "seq(map(int64,tensor(float)))",
        "tensor(complex64)",
        "optional(tensor(float))",
        "tensor(float8e4m3fn)",
    ],
)
def test_what_the_protocol_cannot_carry_is_a_fault(onnx_type):
    with pytest.raises(
        PlanFault,
        match=r"output 'y' is of type .*; only tensors of the protocol's datatypes can be served",
    ):
        plan(found=findings(outputs=(graph_tensor("y", ("n",), onnx_type),)))


def test_findings_with_an_error_are_a_fault():
    with pytest.raises(PlanFault, match="opset 99 is not known"):
        plan(found=Findings(error="opset 99 is not known"))


def test_configured_sizes_take_the_place_of_free_ones():
    found = findings(inputs=(graph_tensor("x", ("n", "h", "w")),))
    assert plan("inputs: [{name: x, shape: [-1, 32]}]", found).inputs[0].shape == (-1, -1, 32)


@pytest.mark.parametrize("shape", ["[4]", "[-1, 4]"])
@pytest.mark.parametrize("more", [{}, UNBATCHED])
def test_a_shape_may_be_written_with_or_without_the_batch_axis_where_nobody_said_that_there_is_one(
    shape, more
):
    assert plan(f"inputs: [{{name: x, shape: {shape}}}]", findings(**more)).inputs[0].shape == (
        -1,
        4,
    )


def test_reshaped_tensors_have_both_shapes_with_the_batch_axis():
    found = findings(
        inputs=(graph_tensor("x", ("n", 1, 28, 28)),), outputs=(graph_tensor("y", ("n",)),)
    )
    text = (
        "inputs: [{name: x, shape: [784], reshape: [1, 28, 28]}]\noutputs: "
        "[{name: y, shape: [1], reshape: []}]"
    )
    made = plan(f"batching: {{max_batch_size: 4}}\n{text}", found)
    assert made.inputs == (TensorSpec("x", "FP32", (-1, 784), False, (-1, 1, 28, 28)),)
    assert made.outputs == (TensorSpec("y", "FP32", (-1, 1), False, (-1,)),)
    alone = findings(
        inputs=(graph_tensor("x", (1, 28, 28)),), outputs=(graph_tensor("y", ()),), **UNBATCHED
    )
    made = plan(f"batching: {{max_batch_size: 0}}\n{text}", alone)
    assert (made.inputs[0].shape, made.inputs[0].model_shape) == ((784,), (1, 28, 28))
    assert (made.outputs[0].shape, made.outputs[0].model_shape) == ((1,), ())


@pytest.mark.parametrize(
    ("graph", "shape", "reshape", "served"),
    [
        (("a", 3, "h", "w"), "[3, -1, -1]", "[1, 3, -1, -1]", True),
        (("a", "h", 6, "w"), "[-1, -1, 2, 3, -1]", "[-1, -1, 6, -1]", True),
        (("a", 6, "h"), "[-1, 2, -1, 3]", "[-1, 6, -1]", False),
        (("a", 2, "h"), "[-1, 2]", "[-1, 2, -1]", False),
    ],
)
def test_free_sizes_keep_their_place_between_the_others_as_in_triton(graph, shape, reshape, served):
    found = findings(inputs=(graph_tensor("x", graph),), **UNBATCHED)
    text = (
        "batching: {max_batch_size: 0}\n"
        f"inputs: [{{name: x, shape: {shape}, reshape: {reshape}}}]"
    )
    if served:
        assert list(plan(text, found).inputs[0].shape) == json.loads(shape)
        return
    with pytest.raises(PlanFault, match="cannot be reshaped"):
        plan(text, found)


def test_optional_inputs_are_optional_unless_configured_otherwise():
    found = findings(
        inputs=(graph_tensor("x", ("n", 4)), graph_tensor("bias", ("n", 3), optional=True))
    )
    assert [spec.optional for spec in plan(found=found).inputs] == [False, True]
    assert [
        spec.optional for spec in plan("inputs: [{name: bias, optional: false}]", found).inputs
    ] == [False, False]


def test_labels_belong_to_the_output_that_is_configured_with_them():
    text = "outputs: [{name: y, labels: names.txt}]"
    made = plan(text, labels={"names.txt": ("a", "b", "c")})
    assert made.outputs[0].labels == ("a", "b", "c")
    short = plan(text, labels={"names.txt": ("a", "b")})
    assert short.warnings == ("output 'y' has 3 columns, but names.txt has 2 lines",)


def test_labels_txt_belongs_to_the_only_output_it_fits():
    found = findings(
        outputs=(
            graph_tensor("index", ("n",), "tensor(int64)"),
            graph_tensor("score", ("n", 3)),
            graph_tensor("wide", ("n", 9)),
        )
    )
    assert [
        spec.labels for spec in plan(found=found, labels={"labels.txt": ("a", "b", "c")}).outputs
    ] == [(), ("a", "b", "c"), ()]
    none = plan(found=found, labels={"labels.txt": ("a",)})
    assert [spec.labels for spec in none.outputs] == [(), (), ()]
    assert "labels.txt has 1 lines and fits 0 outputs" in none.warnings[0]


@pytest.mark.parametrize(
    ("text", "cores", "instances", "threads"),
    [
        ("", 1, 1, 1),
        ("", 8, 8, 1),
        ("instances: 2", 8, 2, 4),
        ("instances: 3", 8, 3, 2),
        ("instances: 8", 8, 8, 1),
        ("instances: 16", 8, 16, 1),
        ("instances: 2\nsession: {intra_op_threads: 1}", 8, 2, 1),
        ("session: {intra_op_threads: 3}", 8, 8, 3),
        ("session: {intra_op_threads: 0}", 8, 8, 8),
        ("", 0, 1, 1),
    ],
)
def test_instances_times_threads_fill_the_cores(text, cores, instances, threads):
    made = plan(text, cores=cores)
    assert (made.instances, made.session.intra_op_threads) == (instances, threads)


def test_session_settings_are_carried_over():
    text = """session:
  {providers: [A, B], inter_op_threads: 0, spinning: true, execution_mode: parallel, \
graph_optimization: basic, memory_arena: false,
   memory_pattern: false, options: {b: "1", a: "2"}}"""
    assert plan(text, cores=4).session == SessionPlan(
        providers=("A", "B"), inter_op_threads=4, spinning=True, parallel=True,
        graph_optimization="basic", memory_arena=False, memory_pattern=False,
        options=(("a", "2"), ("b", "1")),
    )  # fmt: skip
    assert plan().session == SessionPlan()


def test_queue_settings_are_carried_over():
    text = (
        "queue: {max_requests: 5, max_bytes: 1KiB, default_timeout: 2s, allow_timeout_override: "
        "true, priority_levels: 3, default_priority: 2}"
    )
    assert plan(text).queue == QueuePlan(5, 1024, 2.0, True, 3, 2)
    assert plan().queue == QueuePlan()


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("", (1, 2, 4, 8, 16, 32)),
        ("batching: {max_batch_size: 6}", (1, 2, 4)),
        ("batching: {max_batch_size: 1}", (1,)),
        ("batching: {max_batch_size: 0}", (1,)),
        ("batching: {pad_to: [4, 16]}", (4, 16, 32)),
        ("batching: {pad_to: [4, 64]}", (4, 64)),
    ],
)
def test_a_version_is_warmed_on_the_sizes_its_batches_will_have(text, sizes):
    assert plan(text).warmup_batch_sizes == sizes


def test_where_no_trial_run_succeeded_none_is_tried_again():
    assert plan(found=findings(batchable=False, cost_us={})).warmup_batch_sizes == ()


def test_configured_warm_ups_are_planned_as_often_as_they_are_to_run():
    text = (
        "warmup: [{name: w, batch_size: 2, count: 2, inputs: {x: {data: random}}}, "
        "{inputs: {x: {shape: [4], file: f}}}]"
    )
    made = plan(text, warmup_files={"f": "/models/m/warmup/f"})
    random = (WarmupInput("x", "FP32", (4,), "random", rows=2),)
    assert made.warmup_inputs == (
        random,
        random,
        (WarmupInput("x", "FP32", (4,), "/models/m/warmup/f", rows=1),),
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "warmup: [{name: w, inputs: {z: {}}}]",
            "warmup 'w' gives the input 'z', which the model does not have",
        ),
        ("warmup: [{inputs: {}}]", r"warmup\[0\] lacks the input 'x'"),
        ("warmup: [{inputs: {x: {datatype: INT8}}}]", "gives 'x' as INT8, but the model has FP32"),
        (
            "warmup: [{inputs: {x: {shape: [5]}}}]",
            r"gives 'x' the shape \[5\], but the model has \[4\]",
        ),
    ],
)
def test_a_warm_up_that_does_not_fit_is_a_fault(text, fault):
    with pytest.raises(PlanFault, match=fault):
        plan(text)


def test_a_warm_up_must_settle_free_sizes():
    with pytest.raises(
        PlanFault, match=r"must give a shape for 'x', whose own, \[-1\], has free sizes"
    ):
        plan("warmup: [{inputs: {x: {}}}]", findings(inputs=(graph_tensor("x", ("n", "time")),)))


def test_trial_inputs_are_the_first_warm_ups_as_far_as_it_stands_by_itself():
    said = decode_yaml(
        "warmup: [{batch_size: 3, inputs: {x: {datatype: FP32, shape: [4]}, y: {data: random}}}]",
        ModelConfiguration,
    )
    assert trial_inputs(said, {}) == (WarmupInput("x", "FP32", (4,), "zero", rows=3),)
    assert trial_inputs(ModelConfiguration(), {}) == ()


def test_warnings_from_everywhere_are_kept():
    model, version = found_model()
    scanned = replace(model, warnings=("from the scan",))
    made = plan_version(
        scanned, version, findings(warnings=("found",)), fingerprint="", defaults=PlanDefaults()
    )
    assert made.warnings == ("from the scan", "found")


SIZES = st.one_of(st.none(), st.sampled_from(["n", "m"]), st.integers(0, 3))
GRAPHS = st.lists(st.lists(SIZES, max_size=3).map(tuple), min_size=1, max_size=3)


@given(
    GRAPHS,
    GRAPHS,
    st.booleans(),
    st.sampled_from([None, 0, 1, 2, 8]),
    st.dictionaries(st.sampled_from([1, 2, 4, 8, 64]), st.floats(1, 1e5)),
)
def test_any_plan_is_consistent_in_itself(inputs, outputs, batchable, limit, cost_us):
    found = findings(
        inputs=tuple(graph_tensor(f"x{i}", shape) for i, shape in enumerate(inputs)),
        outputs=tuple(graph_tensor(f"y{i}", shape) for i, shape in enumerate(outputs)),
        batchable=batchable,
        cost_us=cost_us,
    )
    try:
        made = plan("" if limit is None else f"batching: {{max_batch_size: {limit}}}", found)
    except PlanFault:
        assert limit is not None
        return
    batching = made.batching
    assert limit is None or batching.max_batch_size == limit
    assert batching.splits == (limit is None and batching.max_batch_size > 0)
    assert 0 <= batching.loop_batch_size <= max(batching.max_batch_size, 1)
    assert (
        (1 <= batching.useful_batch_size <= batching.max_batch_size)
        if batching.max_batch_size
        else batching.useful_batch_size == 0
    )
    assert all(1 <= size <= max(batching.max_batch_size, 1) for size in made.warmup_batch_sizes)
    for spec, shape in zip((*made.inputs, *made.outputs), (*inputs, *outputs), strict=True):
        assert len(spec.shape) == len(shape)
        assert not batching.max_batch_size or spec.shape[0] == -1
