"""Names of classes and columns in ModelMetadata, as its server writes them and a client reads them.

MLServer's messages have a place for parameters of a tensor, which clients of Triton's pass over.
What the names are called is our own: `labels` of an output, `columns` of an input, JSON lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

LABELS: Final = "labels"
COLUMNS: Final = "columns"
_MOST_CHARACTERS: Final = 1 << 16
"""Of a list; a longer one (a vocabulary) is left out, so that metadata stays small."""


def write_names(tensor: Any, key: str, names: Sequence[str]) -> None:
    """Puts the names into a TensorMetadata, where there are any and they are not very many."""
    text = msgspec.json.encode(names).decode() if names else ""
    if 0 < len(text) <= _MOST_CHARACTERS:
        tensor.parameters[key].string_param = text


def read_names(tensor: Any, key: str) -> tuple[str, ...]:
    """The names in a TensorMetadata; none where there are none, or what stands there is no list."""
    text = tensor.parameters[key].string_param if key in tensor.parameters else ""
    try:
        return msgspec.json.decode(text or "[]", type=tuple[str, ...])
    except (msgspec.DecodeError, RecursionError):
        return ()
