"""The command line `gateway ...`, also as `python -m gateway ...`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from gateway.control.processes.spawning import Spawner

_NOT_SERVING = {"-h", "--help", "--show-config"}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status.

    A serving process that will be needed is on its way before anything else is imported.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    with Spawner() as spawner:
        if words[:1] == ["serve"] and not _NOT_SERVING.intersection(words):
            spawner.start_ahead()
        from gateway.cli.command_line import main as run  # noqa: PLC0415  # see above

        return run(words, spawner)


if __name__ == "__main__":
    sys.exit(main())
