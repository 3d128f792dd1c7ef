"""A run whose inputs and outputs have their places in memory; used by the worker process.

ONNX Runtime reads and writes there, so that no tensor is copied between processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import onnxruntime as ort

from gateway.core.datatypes import BF16, numpy_dtype
from gateway.core.request import Array

ONNX_BFLOAT16: Final = 16
"""The number of onnx.TensorProto.BFLOAT16."""


class BoundRun:
    """A run with its inputs and outputs bound to the caller's arrays, whose memory it keeps."""

    __slots__ = ("_addresses", "_arrays", "_binding", "_run_options", "_session")

    def __init__(
        self,
        session: ort.InferenceSession,
        inputs: Mapping[str, Array],
        outputs: Mapping[str, Array],
        run_options: ort.RunOptions | None = None,
    ) -> None:
        self._session = session
        self._run_options = run_options
        self._arrays = [*inputs.values(), *outputs.values()]  # the binding has their memory
        self._addresses = [array.ctypes.data for array in outputs.values()]
        self._binding = session.io_binding()
        for name, array in inputs.items():
            self._binding.bind_ortvalue_input(name, ort_value(array))
        for name, array in outputs.items():
            self._binding.bind_ortvalue_output(name, ort_value(array))

    def run(self) -> bool:
        """Runs once; true when the outputs stand in their places.

        False: ONNX Runtime refused a shape, or an operator brought memory of its own; the caller
        runs the model unbound.
        """
        try:
            self._session.run_with_iobinding(self._binding, self._run_options)
        except Exception:  # noqa: BLE001  # run again unbound, it says whether this was its fault
            return False
        return [value.data_ptr() for value in self._binding.get_outputs()] == self._addresses


def ort_value(array: Array) -> ort.OrtValue:
    """The memory of a contiguous array as ONNX Runtime's own kind of value."""
    if array.dtype.kind == "V" and array.dtype == numpy_dtype(BF16):
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array.view(np.uint16), ONNX_BFLOAT16)
    return ort.OrtValue.ortvalue_from_numpy(array)
