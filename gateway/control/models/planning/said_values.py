"""What a section of a configuration says, as values of the plan's fields of the same names."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.config.quantities import ByteSize, Duration


def said_values(section: msgspec.Struct, *left_out: str) -> dict[str, Any]:
    """What is said in a section, by field, in plain values, without the fields `left_out`.

    An option whose plan has a field of the same name needs no more to get there.
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
