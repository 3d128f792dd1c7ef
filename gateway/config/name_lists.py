"""Lists of names as people and libraries note them in files; read in the control process."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from typing import Final

_MOST_CHARACTERS: Final = 1 << 20
_MOST_NAMES: Final = 10_000


def names_in(text: str) -> tuple[str, ...]:
    """The names in a note: a list, or a mapping of indexes to names, in JSON or as Python has it.

    A line with commas is a list too. Empty where the text is nothing of the kind.
    """
    if len(text) > _MOST_CHARACTERS:
        return ()
    value: object = None
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
            break
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    if value is None and "," in text and not set(text) & set("[{("):
        value = [part.strip() for part in text.split(",")]
    return as_names(value)


def as_names(value: object) -> tuple[str, ...]:
    """The names in a list, or in a mapping of indexes to names; empty where it is neither."""
    if isinstance(value, Mapping):
        value = _in_order(value)
    if not isinstance(value, list | tuple) or len(value) > _MOST_NAMES:
        return ()
    return tuple(value) if all(map(_is_text, value)) else ()


def _is_text(name: object) -> bool:
    try:
        return isinstance(name, str) and bool(name.encode())
    except UnicodeEncodeError:  # half of a character
        return False


def _in_order(mapping: Mapping[object, object]) -> list[object]:
    """The values by index; empty where the keys are not 0, 1, 2, ..."""
    by_index = {str(index): name for index, name in mapping.items()}
    keys = list(map(str, range(len(mapping))))
    return [by_index[key] for key in keys] if set(keys) == set(by_index) else []
