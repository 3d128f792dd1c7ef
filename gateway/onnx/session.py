"""One ONNX Runtime session, in the serving process, worker process or inspection process.

Nothing here knows of requests or batches: arrays in, arrays out. `run` is thread safe and frees the
GIL while the model computes.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from msgspec import structs

from gateway.core.datatypes import BF16, datatype_of_onnx, numpy_dtype
from gateway.core.errors import GatewayError, ModelFailed
from gateway.core.plan import GraphTensor, SessionPlan
from gateway.onnx.bound_run import BoundRun, ort_value
from gateway.onnx.refusals import cure_of
from gateway.onnx.run_entries import is_run_entry

Array = np.ndarray[Any, Any]

# ONNX Runtime prints errors to stderr besides raising them; they are raised
# here and logged once at the edge
_SEVERITY_FATAL = 4


class SessionNotOpened(GatewayError):
    """ONNX Runtime refused the model file; the message is its own."""


class Session:
    """An open model.

    Making one blocks (seconds for large models, with the GIL freed); raises `SessionNotOpened`.
    `classes` has a text for each column of an output whose ZipMap was cut off.
    """

    def __init__(self, path: str, plan: SessionPlan) -> None:
        options = _session_options(plan)
        self._run_options = _run_options(plan)
        try:
            model, self.classes = _cut(path, options) if plan.cut_zipmap else (path, {})
            self._session = ort.InferenceSession(model, options, providers=list(plan.providers))
        except Exception as error:
            raise SessionNotOpened(
                f"ONNX Runtime {ort.__version__} cannot open the model: {_first_line(error)}"
                f"{cure_of(str(error))}"
            ) from error
        optional = {node.name for node in self._session.get_overridable_initializers()}
        nodes = [*self._session.get_inputs(), *self._session.get_overridable_initializers()]
        self.inputs = tuple(_graph_tensor(node, optional=node.name in optional) for node in nodes)
        self.outputs = tuple(self._output(node) for node in self._session.get_outputs())
        self.output_names = [node.name for node in self.outputs]
        self._bf16 = any(
            datatype_of_onnx(node.onnx_type) == BF16 for node in (*self.inputs, *self.outputs)
        )
        self._run = self._run_bound if self._bf16 else self._session.run
        if self._run_options is not None:
            self._run = functools.partial(self._run, run_options=self._run_options)

    def _output(self, node: ort.NodeArg) -> GraphTensor:
        """An output as declared; where ZipMap was cut, a column for each class."""
        declared = _graph_tensor(node)
        classes = self.classes.get(node.name)
        return (
            declared if classes is None else structs.replace(declared, shape=(None, len(classes)))
        )

    def run(self, feed: Mapping[str, Array], wanted: Sequence[str]) -> list[Array]:
        """The wanted outputs, in that order; raises `ModelFailed` with ONNX Runtime's message."""
        try:
            outputs: list[Array] = self._run(wanted, feed)
        except Exception as error:
            raise ModelFailed(
                f"ONNX Runtime failed to run the model: {_first_line(error)}"
            ) from error
        return outputs

    def bind(self, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> BoundRun:
        """A run from and into these arrays, all outputs wanted; see `BoundRun`."""
        return BoundRun(self._session, inputs, outputs, self._run_options)

    @property
    def metadata(self) -> dict[str, str]:
        """Notes in the file by key, as its maker has left them."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    @property
    def on_cpu_only(self) -> bool:
        """No execution provider but the CPU's has a part in it."""
        return bool(self._session.get_providers() == ["CPUExecutionProvider"])

    def _run_bound(
        self,
        wanted: Sequence[str],
        feed: Mapping[str, Array],
        run_options: ort.RunOptions | None = None,
    ) -> list[Array]:
        """Runs a model with BF16 tensors, which `InferenceSession.run` refuses.

        Inputs are given as OrtValues, and outputs are read from their memory.
        """
        values = {name: ort_value(np.asarray(array, order="C")) for name, array in feed.items()}
        outputs = self._session.run_with_ort_values(wanted, values, run_options)
        return [_array_of(value) for value in outputs]

    def __repr__(self) -> str:
        return (
            f"<Session {len(self.inputs)} inputs, {len(self.outputs)} outputs, "
            f"{self._session.get_providers()[0]}>"
        )


_OPTIMIZATION = {
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}


def _session_options(plan: SessionPlan) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = _SEVERITY_FATAL
    options.intra_op_num_threads = plan.intra_op_threads
    options.inter_op_num_threads = plan.inter_op_threads
    options.execution_mode = (
        ort.ExecutionMode.ORT_PARALLEL if plan.parallel else ort.ExecutionMode.ORT_SEQUENTIAL
    )
    options.graph_optimization_level = _OPTIMIZATION[plan.graph_optimization]
    options.enable_cpu_mem_arena = plan.memory_arena
    options.enable_mem_pattern = plan.memory_pattern
    options.add_session_config_entry(
        "session.intra_op.allow_spinning", "1" if plan.spinning else "0"
    )
    options.add_session_config_entry(
        "session.inter_op.allow_spinning", "1" if plan.spinning else "0"
    )
    for key, value in plan.options:
        if not is_run_entry(key):
            options.add_session_config_entry(key, value)
    return options


def _cut(path: str, options: ort.SessionOptions) -> tuple[bytes, dict[str, tuple[str, ...]]]:
    """The model without ZipMap; its external data is found where the file is."""
    from gateway.onnx.zipmap import cut_zipmap  # noqa: PLC0415  # few models need it

    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(Path(path).parent)
    )
    return cut_zipmap(path)


def _run_options(plan: SessionPlan) -> ort.RunOptions | None:
    """The entries that go with each run; None where there are none, as nearly everywhere.

    Raises SessionNotOpened where ONNX Runtime refuses them, which it says in a run only: the
    smallest of models is run with them, so that no caller is the first to hear of it.
    """
    entries = [(key, value) for key, value in plan.options if is_run_entry(key)]
    if not entries:
        return None
    run_options = ort.RunOptions()
    run_options.log_severity_level = _SEVERITY_FATAL
    probe_plan = structs.replace(plan, options=())
    try:
        for key, value in entries:
            run_options.add_run_config_entry(key, value)
        probe = ort.InferenceSession(
            _IDENTITY, _session_options(probe_plan), providers=list(plan.providers)
        )
        probe.run(None, {"x": np.zeros((), np.float32)}, run_options)
    except Exception as error:
        named = ", ".join(f"{key}: '{value}'" for key, value in entries)
        raise SessionNotOpened(
            f"ONNX Runtime {ort.__version__} refuses the session's options that go with each run "
            f"({named}): {_first_line(error)}"
        ) from error
    return run_options


def _graph_tensor(node: ort.NodeArg, *, optional: bool = False) -> GraphTensor:
    return GraphTensor(node.name, node.type, tuple(node.shape or ()), optional)


def _array_of(value: ort.OrtValue) -> Array:
    """The value as an array of our own.

    BF16 by way of its memory, because `OrtValue.numpy` does not know it.
    """
    if value.data_type() != "tensor(bfloat16)":
        array: Array = value.numpy()
        return array
    shape = tuple(value.shape())
    count = int(np.prod(shape, dtype=np.int64))
    if count == 0:
        return np.empty(shape, numpy_dtype(BF16))
    import ctypes  # noqa: PLC0415  # only models with BF16 need it

    memory = (ctypes.c_uint16 * count).from_address(value.data_ptr())
    return np.array(memory, np.uint16).view(numpy_dtype(BF16)).reshape(shape)


def _first_line(error: Exception) -> str:
    with contextlib.suppress(IndexError):
        return str(error).strip().splitlines()[0]
    return type(error).__name__


_IDENTITY = bytes.fromhex(
    "080712003a2f0a100a017812017922084964656e746974791201695a0b0a017812060a0408011200620b0a"
    "017912060a040801120042040a00100d"
)  # y = Identity(x), a float without axes, opset 13


def warm_runtime() -> None:
    """Opens the smallest of models, so that ONNX Runtime's own start is over.

    Its memory and time would be counted for the first file otherwise.
    """
    ort.InferenceSession(_IDENTITY, providers=["CPUExecutionProvider"])
