"""Rewrites a model file until ONNX Runtime opens it and the gateway can serve it.

Runs on the command line. No more is done than is needed: ZipMap is cut and declared outputs are
corrected; rows are rounded before trees of FP32; where ONNX Runtime still refuses the graph, what
is answered in FP32 is cast to the FP64 of the rest, or else the whole graph computes in FP32.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import onnx

from gateway.core.errors import GatewayError
from gateway.onnx.conversion.declarations import declare_outputs, open_undeclared
from gateway.onnx.conversion.float_types import cast_float_outputs, cast_tree_inputs
from gateway.onnx.conversion.map_outputs import cut_zipmaps
from gateway.onnx.conversion.narrowing import narrow

_MOST_BYTES: Final = (1 << 31) - 1
_WAYS: Final[tuple[tuple[Callable[[Any], list[str]], ...], ...]] = (
    (cast_tree_inputs,),
    (cast_tree_inputs, cast_float_outputs),
    (narrow,),
)
"""What is tried on a graph that ONNX Runtime refuses, one behind the other, each from the start."""


class NotConverted(GatewayError):
    """The file cannot be read, or ONNX Runtime refuses it whatever is rewritten."""


def rewrite(source: Path, target: Path) -> tuple[str, ...]:
    """Writes the rewritten model; returns a sentence on each thing that was done, none: nothing.

    External data is written into the file. Raises NotConverted, and OSError where it cannot be
    written.
    """
    model = _read(source)
    done = cut_zipmaps(model)
    rewritten, steps, session = _opened(model)
    done += steps
    done += declare_outputs(rewritten, session)
    target.write_bytes(rewritten.SerializeToString())
    return tuple(done)


def _read(source: Path) -> Any:
    try:
        model = onnx.load(str(source))
    except OSError as error:
        raise NotConverted(f"{source} cannot be read: {error.strerror or error}") from error
    except Exception as error:
        raise NotConverted(f"{source} is no ONNX model: {_first_line(error)}") from error
    if model.ByteSize() > _MOST_BYTES:
        raise NotConverted(f"{source} has more than 2 GiB with its external data, too many for one")
    return model


def _opened(model: Any) -> tuple[Any, list[str], Any]:
    """The model that ONNX Runtime opens, what was done for it, and its session."""
    refusal = ""
    for way in _WAYS:
        tried = type(model)()
        tried.CopyFrom(model)
        done = [sentence for step in way for sentence in step(tried)]
        try:
            session = open_undeclared(tried)
        except Exception as error:  # noqa: BLE001  # whatever it is, the next way may cure it
            refusal = refusal or _first_line(error)
            continue
        return tried, done, session
    raise NotConverted(
        f"ONNX Runtime refuses it, and does so when it computes in FP32 too: {refusal}"
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
