"""The control process's side of one inspection process: it is started, given jobs and ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from typing import Self

import msgspec

from gateway.control.inspection.job import LENGTH, InspectionJob, Report, frame
from gateway.core.plan import Findings

_TAIL_BYTES = 2000
_PROGRAM = "gateway.control.inspection.inspection_main"


class ProcessLost(Exception):
    """The process is gone without an answer; the text says what it was doing and how it ended.

    `overstayed`: it was killed because the job's time was over.
    """

    def __init__(self, message: str, *, overstayed: bool = False) -> None:
        super().__init__(message)
        self.overstayed = overstayed


class InspectingProcess:
    """A running child that takes one job at a time; the caller that starts it stops it."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._stdin = process.stdin
        self._stdout = process.stdout
        self._tail = b""
        self._listening = asyncio.create_task(self._listen(process.stderr))

    @classmethod
    async def start(cls) -> Self:
        """A fresh process; raises OSError where none can be started."""
        # -P: what lies in the current folder is never imported for what we mean
        command = (sys.executable, "-P", "-m", _PROGRAM, str(os.getpid()))
        return cls(
            await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=PIPE)
        )

    async def inspect(self, job: InspectionJob) -> Findings:
        """The findings; raises `ProcessLost` when the process dies or its time is over.

        A process whose time is over is killed.
        """
        doing = "starting"
        try:
            async with asyncio.timeout(job.timeout_s):
                self._stdin.write(frame(job))
                await self._stdin.drain()
                while (report := await self._report()).findings is None:
                    doing = report.doing
        except TimeoutError:
            await self.kill()
            raise ProcessLost(
                f"the process that opened the model was still {doing} after {job.timeout_s:g} s "
                "and was killed; a model that slow needs a longer time limit for inspection",
                overstayed=True,
            ) from None
        except (asyncio.IncompleteReadError, ConnectionError):
            raise ProcessLost(await self._how_it_died(doing)) from None
        except msgspec.DecodeError as error:
            raise ProcessLost(
                f"the process that opened the model sent an invalid answer ({error}) while {doing}"
            ) from None
        return report.findings

    async def stop(self) -> None:
        """Has an idle process end by itself, and waits for that."""
        self._stdin.close()
        await self._process.wait()
        await self._listening

    async def kill(self) -> None:
        """Ends the process at once, whatever it does."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await self._listening

    def __repr__(self) -> str:
        status = self._process.returncode
        state = "running" if status is None else f"ended with {status}"
        return f"<InspectingProcess {self._process.pid} {state}>"

    async def _report(self) -> Report:
        header = await self._stdout.readexactly(LENGTH.size)
        return msgspec.msgpack.decode(
            await self._stdout.readexactly(LENGTH.unpack(header)[0]), type=Report
        )

    async def _listen(self, stderr: asyncio.StreamReader) -> None:
        """Keeps the end of what the process prints, and its pipe empty."""
        while data := await stderr.read(1 << 16):
            self._tail = (self._tail + data)[-_TAIL_BYTES:]

    async def _how_it_died(self, doing: str) -> str:
        status = await self._process.wait()
        await self._listening
        text = f"the process that opened the model {_ending(status)} while {doing}"
        last_words = self._tail.decode(errors="replace").strip().splitlines()[-1:]
        return f"{text} ({last_words[0][:300]})" if last_words else text


def _ending(status: int) -> str:
    if status >= 0:
        return f"ended with exit status {status}"
    with contextlib.suppress(ValueError):
        name = signal.Signals(-status)
        hint = " (the machine may have run out of memory)" if name is signal.SIGKILL else ""
        return f"died with {name.name}{hint}"
    return f"died with signal {-status}"
