"""Which requests the access log has.

The main process reads the choice, a serving process writes cells by it, and the telemetry process
draws the lines.
"""

from __future__ import annotations

from typing import Final, Literal, Self

_SHARES: Final = {"off": 0.0, "errors": 0.0, "full": 1.0}


class AccessChoice(str):
    """Which requests have a line in the access log.

    `off`: none; `errors`: those that failed, were refused, degraded or slow; `full`: all; a number
    from 0 to 1: those of `errors`, and that share of the others.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """The choice that is given; raises ValueError. YAML reads a bare `off` as false."""
        if value is False:
            return cls("off")
        if isinstance(value, str) and value in _SHARES:
            return cls(value)
        ratio = _number(value)
        if not 0 <= ratio <= 1:
            raise ValueError(f"expected off, errors, full, or a ratio of 0 to 1, got {value!r}")
        whole = {0.0: "errors", 1.0: "full"}
        return cls(whole.get(ratio, repr(ratio)))

    @property
    def ratio(self) -> float:
        """The share of unremarkable requests that it has."""
        return _SHARES[self] if self in _SHARES else float(self)


def cells_wanted(access_log: str) -> Literal["all", "kept"] | float:
    """Which requests need a cell for the access log.

    `all` of them; `kept`: only those that are kept anyway; a number from 0 to 1: those, and that
    share of the others, drawn at random.
    """
    ratio = AccessChoice.parse(access_log).ratio
    return "all" if ratio == 1 else ratio or "kept"


def _number(value: object) -> float:
    try:
        return (
            float(value)
            if isinstance(value, (str, int, float)) and not isinstance(value, bool)
            else -1.0
        )
    except ValueError:
        return -1.0
