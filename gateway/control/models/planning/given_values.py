"""What a section of a configuration gives, as values of the fields of its plan. Main process."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.config.quantities import ByteSize, Duration


def given_values(section: msgspec.Struct, *left_out: str) -> dict[str, Any]:
    """What is given in a section, by field, in plain values, without the fields `left_out`.

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
