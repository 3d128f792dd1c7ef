"""Makes the declared outputs of a graph say what ONNX Runtime answers; on the command line."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import onnxruntime as ort
from onnx import TensorProto

from gateway.core.datatypes import datatype_of_onnx, numpy_dtype

_SEVERITY_FATAL: Final = 4
_ROWS: Final = 2


def open_undeclared(model: Any) -> Any:
    """A session of the model in which no type is declared but those of inputs.

    Raises what ONNX Runtime raises.
    """
    bare = type(model)()
    bare.CopyFrom(model)
    del bare.graph.value_info[:]
    for output in bare.graph.output:
        output.ClearField("type")
    options = ort.SessionOptions()
    options.log_severity_level = _SEVERITY_FATAL
    return ort.InferenceSession(
        bare.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def declare_outputs(model: Any, session: Any) -> list[str]:
    """Declares the types that the session has, and first axes as free as they are."""
    del model.graph.value_info[:]
    done = []
    types = {node.name: node.type for node in session.get_outputs()}
    for output in model.graph.output:
        kind = output.type.tensor_type
        found = TensorProto.DataType.Value(types[output.name][len("tensor(") : -1].upper())
        if kind.elem_type not in (0, found):
            done.append(f"output '{output.name}' is declared {types[output.name]}, as it is")
        kind.elem_type = found
    rows = _rows_of_two(session)
    for output in model.graph.output:
        dims = output.type.tensor_type.shape.dim
        if dims and dims[0].dim_value == 1 and rows.get(output.name) == _ROWS:
            dims[0].Clear()
            done.append(f"output '{output.name}' is declared with as many rows as it has, not 1")
    return done


def _rows_of_two(session: Any) -> dict[str, int]:
    """How many rows each output has for two rows; nothing where they cannot be run."""
    feed = {}
    for node in session.get_inputs():
        datatype = datatype_of_onnx(node.type)
        if datatype is None or not node.shape or isinstance(node.shape[0], int):
            return {}
        shape = [_ROWS, *(size if isinstance(size, int) else 1 for size in node.shape[1:])]
        feed[node.name] = (
            np.full(shape, "", object)
            if datatype == "BYTES"
            else np.zeros(shape, numpy_dtype(datatype))
        )
    try:
        answers = session.run(None, feed)
    except Exception:  # noqa: BLE001  # it does not take zeros: nothing is known
        return {}
    names = [node.name for node in session.get_outputs()]
    return {name: len(a) for name, a in zip(names, answers, strict=True) if getattr(a, "ndim", 0)}
