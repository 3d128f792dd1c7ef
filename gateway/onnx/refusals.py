"""What helps where ONNX Runtime refuses a file, in every process that opens one."""

from __future__ import annotations

import re
from typing import Final

_FLOAT64: Final = re.compile(
    r"tensor\(double\).*(does not match expected type|bound to different types|is invalid)"
    r"|bound to different types.*tensor\(double\)",
    re.DOTALL,
)
_CONVERT: Final = (
    "; converters write such files from rows of float64: `gateway convert IN.onnx OUT.onnx` "
    "rewrites it, or export it from rows of float32"
)


def cure_of(message: str) -> str:
    """What to do about ONNX Runtime's message, to stand behind it; empty where nothing is known.

    Trees and linear models of ai.onnx.ml answer float32 only, and a converter that is shown float64
    declares their answers as such (skl2onnx).
    """
    return _CONVERT if _FLOAT64.search(message) else ""
