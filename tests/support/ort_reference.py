"""ONNX Runtime's own answers, computed without any code of the gateway."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime as ort

from tests.support.tensor_bytes import BF16


class OrtReference:
    """A model in ONNX Runtime with its default options.

    `threads` is the number of threads inside a run; 0: one a core. Sums that are shared out over
    threads (those of tree ensembles) differ with that number.
    """

    def __init__(self, model: onnx.ModelProto | bytes | str, threads: int = 0) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = threads
        source = model.SerializeToString() if isinstance(model, onnx.ModelProto) else model
        self.session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        self.inputs = [node.name for node in self.session.get_inputs()]
        self.outputs = [node.name for node in self.session.get_outputs()]
        self.types = {
            node.name: node.type
            for node in (*self.session.get_inputs(), *self.session.get_outputs())
        }

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs the model and returns all outputs by name."""
        if "tensor(bfloat16)" not in self.types.values():
            return dict(zip(self.outputs, self.session.run(None, dict(feed)), strict=True))
        values = self.session.run_with_ort_values(
            self.outputs, {name: _value(array) for name, array in feed.items()}
        )
        return {name: _array(value) for name, value in zip(self.outputs, values, strict=True)}


def _value(array: np.ndarray) -> ort.OrtValue:
    if array.dtype == BF16:
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(
            np.asarray(array, order="C").view("u2"), onnx.TensorProto.BFLOAT16
        )
    return ort.OrtValue.ortvalue_from_numpy(array)


def _array(value: ort.OrtValue) -> np.ndarray:
    if value.data_type() != "tensor(bfloat16)":
        return value.numpy()
    shape = tuple(value.shape())
    memory = ctypes.string_at(value.data_ptr(), 2 * int(np.prod(shape, dtype=int)))
    return np.frombuffer(memory, "u2").view(BF16).reshape(shape)
