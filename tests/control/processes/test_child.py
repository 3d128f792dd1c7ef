"""How a child ended, in words."""

import asyncio
import os
import signal

import pytest

from gateway.control.processes.child import Child, how_it_ended


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (-signal.SIGKILL, "died with SIGKILL (pid 7)"),
        (-(signal.SIGRTMIN + 3), f"died with signal {signal.SIGRTMIN + 3} (pid 7)"),
        (3, "ended with exit status 3 (pid 7)"),
    ],
)
def test_signals_are_told_by_their_names(status, words):
    assert how_it_ended(7, status) == words


def test_a_child_that_is_killed_is_told_so():
    pid = os.posix_spawn("/bin/sleep", ["sleep", "60"], {})

    async def main():
        child = Child(pid)
        child.kill()
        assert how_it_ended(pid, await child.wait()) == f"died with SIGKILL (pid {pid})"

    asyncio.run(asyncio.wait_for(main(), 30))
