"""How the main process reads server options that are not simply numbers or texts."""

from __future__ import annotations

import re
from typing import Final

_TRACE_URL: Final = "http://HOST:16686/trace/{trace_id}"
_MOST_PORT: Final = 65535
_MOST_PROCESSES: Final = 64  # as many slots as the statistics table has


def http_port(value: object) -> int | None:
    """The port given, 0 for a free one, None for `off`; raises ValueError.

    YAML reads a bare `off` as false.
    """
    if value is False or value == "off":
        return None
    return _whole_number(value, 0, _MOST_PORT, "a port of 0 to 65535 (0: a free one), or off")


def process_count(value: object) -> int:
    """The number given, 0 for `auto`: as many as the machine can take; raises ValueError."""
    if value == "auto":
        return 0
    return _whole_number(value, 1, _MOST_PROCESSES, "a number of 1 to 64, or auto")


def ratio(value: object) -> float:
    """The share given, 0 to 1; raises ValueError."""
    share = -1.0
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        try:
            share = float(value)
        except ValueError:
            share = -1.0
    if not 0 <= share <= 1:
        raise ValueError(f"expected a number from 0 to 1, got {value!r}")
    return share


def trace_url(value: object) -> str:
    """The URL given, with `{trace_id}` in the id's place; raises ValueError.

    Empty: the page has no links. Others become links of the page, so a scheme that runs something
    is refused.
    """
    if value != "" and not (
        isinstance(value, str)
        and re.fullmatch(r"https?://[^\s/?#{}]+[/?#]\S*", value)
        and "{trace_id}" in value
    ):
        raise ValueError(
            "expected http:// or https://, a host, and {trace_id} in the id's place, such "
            f"as {_TRACE_URL}, got {value!r}"
        )
    return str(value)


def _whole_number(value: object, least: int, most: int, expected: str) -> int:
    text = value.strip() if isinstance(value, str) else value
    if isinstance(text, str) and text.isascii() and text.isdigit():
        text = int(text[:20])
    if isinstance(text, bool) or not isinstance(text, int) or not least <= text <= most:
        raise ValueError(f"expected {expected}, got {value!r}")
    return text
