"""Starts the serving processes, replaces those that die, and ends them all.

How a process is started stands in `gateway.control.processes.spawning`, what it does then in
`gateway.ipc.child_main`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable

from gateway.config.control import RestartOptions
from gateway.control.lifecycle.fleet import Fleet
from gateway.control.processes.child import Child, how_it_ended
from gateway.control.processes.spawning import Spawner
from gateway.core.errors import GatewayError, Unavailable
from gateway.ipc.channel import Channel
from gateway.ipc.messages import Ask, Listening, Reply, Start, StartFailed, Stop, Stopped
from gateway.ipc.telemetry_messages import ProcessState

log = logging.getLogger(__name__)

LAST_WORDS_S = 2.0
"""How long a message of a process may take to be read after its exit."""


class CannotServe(Exception):
    """No serving process can be started; the text says why."""


class Supervisor:
    """Keeps one serving process in every slot.

    `starts`: the first message to each, by slot. `answer` carries out what a process asks for a
    caller. `changed` is called when `states` changes.
    """

    def __init__(
        self,
        options: RestartOptions,
        starts: tuple[Start, ...],
        spawner: Spawner,
        fleet: Fleet,
        answer: Callable[[Ask], Awaitable[object]],
        *,
        kill_after_s: float = 5.0,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._options = options
        self._starts = starts
        self._spawner = spawner
        self._fleet = fleet
        self._answer = answer
        self._kill_after_s = kill_after_s
        self.changed = changed
        self._processes: dict[int, Child] = {}
        self._supervisions: list[asyncio.Task[None]] = []
        self._asks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._tried: set[int] = set()
        self._all_tried = asyncio.Event()
        self.transport = ""
        """What the serving processes serve through, once one listens."""
        self._listening: set[int] = set()
        self._ever_listened = asyncio.Event()
        self._answered: set[int] = set()
        self._lost = 0
        self._deaths: dict[int, tuple[int, str]] = {}
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Raises `CannotServe` once that is known."""

    def __repr__(self) -> str:
        pids = ", ".join(str(process.pid) for process in self._processes.values())
        return (
            f"<Supervisor of {len(self._starts)}: {len(self._listening)} "
            f"listening, pids {pids or 'none'}>"
        )

    @property
    def states(self) -> tuple[ProcessState, ...]:
        """How every slot stands."""
        return tuple(self._state(start.slot) for start in self._starts)

    def _state(self, slot: int) -> ProcessState:
        process = self._processes.get(slot)
        restarts, reason = self._deaths.get(slot, (0, ""))
        state = (
            "serving"
            if slot in self._listening
            else "starting"
            if process is not None or not restarts
            else "restarting"
        )
        return ProcessState(
            slot, process.pid if process is not None else 0, state, restarts, reason
        )

    async def start(self) -> None:
        """Starts every process.

        Returns when each has been started, or could not be, for the first time.
        """
        self._supervisions = [asyncio.create_task(self._keep(start)) for start in self._starts]
        for supervision in self._supervisions:
            supervision.add_done_callback(self._supervision_ended)
        await self._all_tried.wait()

    async def wait_listening(self) -> None:
        """Returns when a first process has its port open."""
        await self._ever_listened.wait()

    async def stop(self, grace_s: float) -> bool:
        """Ends all: calls in flight have the grace; who stays longer is killed.

        True: every process answered all of its calls.
        """
        self._stopping.set()
        self._fleet.broadcast(Stop(grace_s))
        if self._supervisions:
            await asyncio.wait(self._supervisions, timeout=grace_s + self._kill_after_s)
        if self._processes:
            log.error(
                "killing %d serving processes that did not stop within %g s",
                len(self._processes),
                grace_s + self._kill_after_s,
            )
        self.kill()
        await asyncio.gather(*self._supervisions, return_exceptions=True)
        return self._lost == 0

    def kill(self) -> None:
        """Ends all at once."""
        self._stopping.set()
        for process in self._processes.values():
            process.kill()

    # One slot.

    async def _keep(self, start: Start) -> None:
        loop = asyncio.get_running_loop()
        deaths = 0
        while not self._stopping.is_set():
            started_s = loop.time()
            ending = await self._run_one(start)
            if self._stopping.is_set():
                if start.slot not in self._answered:
                    self._lost += 1
                    log.error("serving process %d %s before it had stopped", start.slot, ending)
                return
            self._deaths[start.slot] = self._deaths.get(start.slot, (0, ""))[0] + 1, ending
            self.changed()
            deaths = 1 if loop.time() - started_s >= self._options.stable_s else deaths + 1
            if deaths >= self._options.attempts and not self._ever_listened.is_set():
                self._fail(
                    f"serving process {start.slot} failed {deaths} times in a row before it could "
                    f"listen: it {ending}; what it wrote stands above"
                )
                return
            delay_s = self._options.delay_s(deaths, random.random())  # noqa: S311  # not a secret
            log.error(
                "serving process %d %s; another takes its place in %.1f s",
                start.slot,
                ending,
                delay_s,
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay_s)

    async def _run_one(self, start: Start) -> str:
        """Returns how the process ended, when it has."""
        try:
            pid, link = self._spawner.spawn()
        except OSError as error:
            return f"cannot be started: {error}"
        finally:
            self._tried.add(start.slot)
            if len(self._tried) == len(self._starts):
                self._all_tried.set()
        process = Child(pid)
        self._processes[start.slot] = process
        self._answered.discard(start.slot)
        channel = await Channel.open(link)
        channel.send(start)
        self._fleet.attach(start.slot, channel)
        if self._stopping.is_set():
            channel.send(Stop(0))
        try:
            await self._converse(start.slot, process, channel)
        finally:
            self._fleet.detach(start.slot)
            self._listening.discard(start.slot)
            channel.close()
            ending = await self._ended(process)
            del self._processes[start.slot]
        return ending

    async def _converse(self, slot: int, process: Child, channel: Channel) -> None:
        """Hears the process out until it is gone.

        Even if something it started keeps its end of the link open.
        """
        hearing = asyncio.create_task(self._receive(slot, channel))
        exiting = asyncio.create_task(process.wait())
        try:
            await asyncio.wait((hearing, exiting), return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait((hearing,), timeout=LAST_WORDS_S)
            if hearing.done() and (error := hearing.exception()) is not None:
                log.error(
                    "serving process %d sent a message that cannot be read", slot, exc_info=error
                )
        finally:
            hearing.cancel()
            exiting.cancel()

    async def _receive(self, slot: int, channel: Channel) -> None:
        while (message := await channel.receive()) is not None:
            match message:
                case Ask():
                    ask = asyncio.create_task(self._answer_one(message, channel))
                    self._asks.add(ask)
                    ask.add_done_callback(self._asks.discard)
                case Listening():
                    self._listening.add(slot)
                    self.transport = message.transport
                    self._ever_listened.set()
                    self.changed()
                case StartFailed(text):
                    self._fail(text)
                case Stopped():
                    self._answered.add(slot)  # whatever becomes of it now, no call is lost
                    return
                case _:
                    self._fleet.receive(slot, message)

    async def _answer_one(self, ask: Ask, channel: Channel) -> None:
        try:
            reply = Reply(ask.request_id, value=await self._answer(ask))
        except GatewayError as error:
            reply = Reply(ask.request_id, error)
        except Exception as error:  # a fault of ours: the caller is not left waiting
            log.exception("%s %s", ask.change, ask.model)
            reply = Reply(
                ask.request_id,
                Unavailable(
                    f"{ask.change} failed inside the gateway: {type(error).__name__}: {error}"
                ),
            )
        channel.send(reply)

    async def _ended(self, process: Child) -> str:
        try:
            status = await asyncio.wait_for(process.wait(), self._kill_after_s)
        except TimeoutError:
            process.kill()
            await process.wait()
            return f"lost its control link and was killed (pid {process.pid})"
        return how_it_ended(process.pid, status)

    def _supervision_ended(self, supervision: asyncio.Task[None]) -> None:
        if not supervision.cancelled() and (error := supervision.exception()) is not None:
            log.error("supervising a serving process", exc_info=error)
            self._fail(f"the supervision of a serving process ended: {error}")

    def _fail(self, text: str) -> None:
        if not self.failed.done():
            self.failed.set_exception(CannotServe(text))
