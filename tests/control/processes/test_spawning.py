"""Serving processes are started, taken and ended.

They are real interpreters that run an entry of these tests.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from pathlib import Path

import pytest

from gateway.control.processes.child import Child
from gateway.control.processes.spawning import Spawner


def tell(link_fd, files, _watch):
    """An entry that sends what it was started with over the link, and ends as it is ordered to."""
    with socket.socket(fileno=link_fd) as link:
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        link.sendall(
            repr(
                (
                    os.getpid(),
                    os.fstat(files.statistics).st_size,
                    str(Path("/proc/self/fd/0").readlink()),
                    sorted(blocked),
                )
            ).encode()
        )
        return int(link.recv(100) or 7)


@pytest.fixture
def spawner():
    with Spawner("tests.control.processes.test_spawning:tell") as spawner:
        yield spawner


def heard(link):
    link.settimeout(20)
    return eval(link.recv(1000).decode())  # written by `tell`


def is_there(pid):
    return Path(f"/proc/{pid}").exists()


def start(*command):
    return os.posix_spawnp(command[0], command, os.environ)


def open_files():
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def status_of(pid):
    async def wait():
        return await asyncio.wait_for(Child(pid).wait(), 20)

    return asyncio.run(wait())


def test_a_process_has_its_link_and_the_statistics_file_an_empty_input_and_no_signal_blocked(
    spawner,
):
    os.ftruncate(spawner.files.statistics, 4096)
    pid, link = spawner.spawn()
    with link:
        assert heard(link) == (pid, 4096, os.devnull, [])
        link.sendall(b"3")
        assert status_of(pid) == 3


def test_what_was_started_ahead_is_handed_out_first_and_once(spawner):
    spawner.start_ahead()
    spawner.start_ahead()
    first, one = spawner.spawn()
    second, two = spawner.spawn()
    with one, two:
        assert heard(one)[0] == first
        assert heard(two)[0] == second != first
    assert {status_of(first), status_of(second)} == {7}


def test_what_was_started_ahead_and_not_taken_ends_with_the_spawner(spawner):
    spawner.start_ahead()
    pid = int(repr(spawner).split("pid ")[1].split()[0])
    assert is_there(pid)
    spawner.close()
    assert not is_there(pid)
    spawner.close()


def test_a_process_that_ended_before_it_was_taken_is_still_told_of(spawner):
    spawner.start_ahead()
    pid = int(repr(spawner).split("pid ")[1].split()[0])
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    taken, link = spawner.spawn()
    link.close()
    assert taken == pid
    assert status_of(pid) == -signal.SIGKILL


def test_no_interpreter_is_an_oserror_and_leaves_no_socket_open(spawner, monkeypatch):
    assert spawner.files.statistics >= 0
    before = open_files()
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    with pytest.raises(FileNotFoundError):
        spawner.spawn()
    assert open_files() == before


class TestChild:
    @pytest.fixture(params=["pidfd", "thread"])
    def kernel(self, request, monkeypatch):
        """A kernel with process descriptors, and one without."""

        def refuse(_pid):
            raise OSError(38, "Function not implemented")

        if request.param == "thread":
            monkeypatch.setattr(os, "pidfd_open", refuse)

    @pytest.mark.usefixtures("kernel")
    @pytest.mark.parametrize("status", [0, 3])
    def test_its_exit_status_is_told_to_all_who_wait(self, status):
        async def run():
            child = Child(start("sh", "-c", f"exit {status}"))
            return await asyncio.gather(child.wait(), child.wait())

        assert asyncio.run(run()) == [status, status]

    @pytest.mark.usefixtures("kernel")
    def test_killed_it_has_the_signals_number_and_can_be_killed_again(self):
        async def run():
            child = Child(start("sleep", "100"))
            child.kill()
            child.kill()
            status = await child.wait()
            child.kill()
            return status, is_there(child.pid)

        assert asyncio.run(run()) == (-signal.SIGKILL, False)

    @pytest.mark.usefixtures("kernel")
    def test_who_stops_waiting_does_not_stop_the_others(self):
        async def run():
            child = Child(start("sleep", "100"))
            one = asyncio.create_task(child.wait())
            two = asyncio.create_task(child.wait())
            await asyncio.sleep(0)
            one.cancel()
            await asyncio.wait((one,))
            child.kill()
            return await two

        assert asyncio.run(run()) == -signal.SIGKILL

    def test_without_process_descriptors_a_loop_that_is_closed_first_is_no_fault(
        self, monkeypatch, capfd
    ):
        monkeypatch.delattr(os, "pidfd_open")
        pids = []

        async def run():
            pids.append(start("sleep", "100"))
            Child(pids[0])

        asyncio.run(run())
        os.kill(pids[0], signal.SIGKILL)
        for thread in threading.enumerate():
            if thread.name == f"child-{pids[0]}":
                thread.join(20)
        os.waitpid(pids[0], 0)
        assert capfd.readouterr().err == ""
