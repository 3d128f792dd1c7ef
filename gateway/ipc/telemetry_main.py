"""The program that the telemetry process runs first, the same as `gateway.ipc.child_main`.

It is a module of its own so that lists of processes tell it from the processes that serve.
"""

from __future__ import annotations

import sys

from gateway.ipc.child_main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
