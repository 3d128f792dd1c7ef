"""What the telemetry process runs first.

A module of its own, so that lists of processes tell it from those that serve.
"""

from __future__ import annotations

import sys

from gateway.ipc.child_main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
