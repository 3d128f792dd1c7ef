"""What a section of a configuration gives to the plan that the main process makes of it."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.config.quantities import ByteSize, Duration


def given_values(section: msgspec.Struct, *left_out: str) -> dict[str, Any]:
    """The plain values that a section gives, by field, without the fields `left_out`.

    An option whose plan has a field of the same name gets into the plan by this alone.
    """
    values = {
        name: getattr(section, name) for name in section.__struct_fields__ if name not in left_out
    }
    return {name: _plain(value) for name, value in values.items() if value is not None}


def _plain(value: Any) -> Any:
    for kind, plain in ((Duration, float), (ByteSize, int), (str, str)):
        if isinstance(value, kind):
            return plain(value)
    return value
