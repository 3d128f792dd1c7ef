"""The error that ends a command of the command line with a message instead of an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

FAILED: Final = 1
"""Exit status where the command was understood and what it asked about failed."""
USAGE: Final = 2
"""Exit status where the command line, or a file it names, is at fault."""
NO_ANSWER: Final = 3
"""Exit status where no server was reached, or it did not answer in time."""
NOT_PERMITTED: Final = 4
"""Exit status where the server wants a credential that was not given."""
NOT_FOUND: Final = 5
"""Exit status where the server has no such model, version or instance."""
NOT_NOW: Final = 6
"""Exit status where the server answers that it cannot now: busy, loading, left alone, stopping."""
DEGRADED: Final = 7
"""Exit status where a fallback answered, and that was not to be (`infer --fail-if-degraded`)."""

EXIT_STATUSES: Final = (
    "exit status: 0 done; 1 what was asked about failed; 2 the command line is at fault; 3 no "
    "server answers;\n4 a credential is wanted; 5 no such model or version; 6 the server cannot "
    "now (busy, loading, stopping);\n7 a fallback answered, with --fail-if-degraded"
)
"""The same for people, at the end of every help text."""


class CommandError(Exception):
    """Ends the command.

    `faults` holds a line for each thing that is wrong; `status` is the exit status.
    """

    def __init__(self, faults: Sequence[str] | str, status: int = USAGE) -> None:
        self.faults = (faults,) if isinstance(faults, str) else tuple(faults)
        self.status = status
        super().__init__("; ".join(self.faults))
