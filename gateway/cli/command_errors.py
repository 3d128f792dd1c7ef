"""The error that ends a command of the command line with a message instead of an answer."""

from __future__ import annotations

from collections.abc import Sequence

USAGE = 2
"""Exit status where the command line, or a file it names, is at fault."""
FAILED = 1
"""Exit status where the command was understood and what it asked about failed."""

DEGRADED = 3
"""Exit status where an answer came from a fallback, and that was not to be."""


class CommandError(Exception):
    """Ends the command.

    `faults` holds a line for each thing that is wrong; `status` is the exit status.
    """

    def __init__(self, faults: Sequence[str] | str, status: int = USAGE) -> None:
        self.faults = (faults,) if isinstance(faults, str) else tuple(faults)
        self.status = status
        super().__init__("; ".join(self.faults))
