"""model.yaml is read strictly, and its documentation is complete and true."""

import re
from pathlib import Path

import msgspec
import pytest

from gateway.cli.options.model_keys import protection_keys, serving_keys
from gateway.config.typed_yaml import decode_yaml
from gateway.control.models.configuration import admission_configuration as admission
from gateway.control.models.configuration import configuration as words
from gateway.control.models.configuration import execution_configuration as execution
from gateway.control.models.configuration import protection_configuration as protection
from gateway.control.models.configuration import tensor_configuration as tensors
from gateway.control.models.configuration import worker_configuration as workers
from gateway.control.models.configuration.configuration import ModelConfiguration
from gateway.control.models.configuration.contradictions import contradictions
from gateway.control.models.configuration.yaml_file import read_yaml_file
from gateway.control.models.planning.version_plan import PlanDefaults
from gateway.control.models.sources.folder import scan
from gateway.core.plan import BatchingPlan, QueuePlan, SessionPlan
from tests.support.repository_models import write, write_model

README = (Path(words.__file__).parents[1] / "README.md").read_text(encoding="utf-8")
STRUCTS = {
    "": words.ModelConfiguration, "batching.": execution.Batching, "queue.": execution.Queue,
    "session.": execution.SessionOptions, "inputs[].": tensors.TensorConfiguration,
    "outputs[].": tensors.TensorConfiguration, "warmup[].": tensors.WarmupRequest,
    "warmup[].inputs.NAME.": tensors.WarmupTensor, "breaker.": protection.Breaker,
    "retry.": protection.Retry, "fallback[].": protection.Fallback,
    "fallback[].cache.": protection.AnswerCache, "output_guard.": protection.OutputGuard,
    "admission.": admission.Admission, "admission.quota.": admission.Quota,
    "workers.": workers.Workers, "remotes[].": workers.Remote,
}  # fmt: skip
GROUPS = {
    "batching", "queue", "inputs", "outputs", "session", "warmup", "breaker", "retry", "fallback",
    "output_guard", "admission", "remotes",
}  # fmt: skip
NOT_FOR = {"inputs[].labels", "outputs[].format", "outputs[].optional"}


def example() -> str:
    """The examples of both sections, which make one file."""
    return "".join(re.findall(r"```yaml\n(.*?)```", README, re.DOTALL))


def keys() -> set[str]:
    found = {
        prefix + field.encode_name
        for prefix, struct in STRUCTS.items()
        for field in msgspec.structs.fields(struct)
    }
    return found - GROUPS - NOT_FOR


def test_the_readmes_table_has_every_key_and_no_other():
    rows = re.findall(r"^\| (`[^|]+) \|", README, re.MULTILINE)
    assert {key for row in rows for key in re.findall(r"`([^`]+)`", row)} == keys()


def test_every_key_says_what_it_means_and_what_holds_where_it_is_left_out():
    for key in (*serving_keys(), *protection_keys()):
        assert key.help, key.paths
        assert key.left_out, key.paths


def test_the_readmes_example_loads_and_uses_every_key(tmp_path):
    write_model(tmp_path / "m/1/model.onnx")
    write(tmp_path / "m/model.yaml", example())
    write(tmp_path / "m/labels.txt", "a")
    write(tmp_path / "m/reference.npz", "")
    write(tmp_path / "m/warmup/threshold.bin", "")
    write(tmp_path / "m/ca.pem", "")
    (model,) = scan(tmp_path, available_providers=("CPUExecutionProvider",)).models
    assert (model.faults, model.warnings, model.skipped) == ((), (), "")
    said = model.configuration
    parts = (
        said.breaker,
        said.retry,
        said.output_guard,
        said.admission,
        said.admission.quota,
        said.workers,
        said.remotes[1],
    )
    for struct in (said, said.batching, said.queue, said.session, *parts):
        assert [
            name for name in struct.__struct_fields__ if getattr(struct, name) in (None, ())
        ] == []


def test_the_defaults_in_the_readme_are_those_of_the_plans():
    queue = QueuePlan()
    session = SessionPlan()
    batching = BatchingPlan()
    assert (
        queue.max_requests,
        queue.max_bytes,
        queue.default_timeout_s,
        queue.allow_timeout_override,
    ) == (4096, 512 << 20, 0, False)
    assert (queue.priority_levels, queue.default_priority, PlanDefaults().max_batch_size) == (
        0,
        0,
        64,
    )
    assert (batching.dynamic, batching.max_queue_delay_s, batching.pad_to) == (True, 0, ())
    assert session.providers == ("CPUExecutionProvider",)
    assert (
        session.parallel,
        session.spinning,
        session.graph_optimization,
        session.memory_arena,
        session.memory_pattern,
    ) == (
        False,
        False,
        "all",
        True,
        True,
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "batching: {max_batchsize: 8}",
            "unknown key 'max_batchsize' in batching; did you mean 'max_batch_size'?",
        ),
        (
            "batching: {max_queue_delay: 500}",
            "batching.max_queue_delay: expected a duration with its unit",
        ),
        ("queue: {max_bytes: 100}", "queue.max_bytes: expected a size with its unit"),
        ("queue: {max_requests: 0}", "queue.max_requests: expected int >= 1"),
        ("workers: proces", "workers: unknown value 'proces'; did you mean 'process'?"),
        ("inputs: [{name: x, datatype: FLOAT}]", "inputs[0].datatype: unknown value 'FLOAT'"),
        ("inputs: [{name: x, shape: [-2]}]", "inputs[0].shape[0]: expected int >= -1"),
        ("instances: 1.5", "instances: expected int, got float"),
        ("session: {providers: []}", "session.providers: expected array of length >= 1"),
        (
            "session: {graph_optimization: al}",
            "session.graph_optimization: unknown value 'al'; did you mean 'all'?",
        ),
    ],
)
def test_faults_are_named_with_file_and_path(tmp_path, text, fault):
    (found,) = read_yaml_file(write(tmp_path / "model.yaml", text)).faults
    assert found.startswith(f"model.yaml: {fault}")


def test_a_file_that_is_no_text_is_a_fault(tmp_path):
    assert (
        "cannot be read"
        in read_yaml_file(write(tmp_path / "model.yaml", b"\xff\xfe\x00")).faults[0]
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("queue: {max_bytes: 0B}", "queue.max_bytes must not be 0"),
        (
            "queue: {default_priority: 1}",
            "queue.default_priority 1 is not one of queue.priority_levels 0",
        ),
        ("queue: {priority_levels: 1001}", "queue.priority_levels is 1001, at most 1000"),
        (
            "batching: {max_batch_size: 4, pad_to: [2, 8]}",
            "batching.pad_to has 8, which is more than batching.max_batch_size 4",
        ),
        (
            "batching: {max_batch_size: 4, preferred_batch_sizes: [8]}",
            "batching.preferred_batch_sizes has 8",
        ),
        ("batching: {pad_to: [4, 2]}", "batching.pad_to must ascend, got [4, 2]"),
        ("inputs: [{name: x}, {name: x}]", "inputs: 'x' is listed 2 times"),
        ("inputs: [{name: x, reshape: [1]}]", "inputs: 'x' has a reshape but no shape"),
        ("inputs: [{name: x, labels: l.txt}]", "inputs: 'x' has labels, which only outputs have"),
        ("outputs: [{name: y, format: NHWC}]", "outputs: 'y' has a format, which only inputs have"),
        ("outputs: [{name: y, optional: false}]", "outputs: 'y' is configured as optional or not"),
        (
            "batching: {max_batch_size: 0}\nwarmup: [{batch_size: 2}]",
            "warmup[0].batch_size 2 is more than batching.max_batch_size 0",
        ),
        (
            "warmup: [{inputs: {x: {data: zero, file: f}}}]",
            "warmup[0].inputs.x: give data or file, not both",
        ),
    ],
)
def test_contradictions_are_found(text, fault):
    (found,) = contradictions(decode_yaml(text, ModelConfiguration))
    assert found.startswith(fault)


@pytest.mark.parametrize(
    "text",
    [
        "batching: {max_batch_size: 4, pad_to: [2, 4], preferred_batch_sizes: [4]}",
        "warmup: [{batch_size: 9}]",
        "",
    ],
)
def test_what_can_hold_together_is_no_contradiction(text):
    assert list(contradictions(decode_yaml(text, ModelConfiguration))) == []
