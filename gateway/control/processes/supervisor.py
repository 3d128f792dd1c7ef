"""The control process's supervisor of serving processes: starts, replaces and ends them.

How a process is started stands in `gateway.control.processes.spawning`, what it does then in
`gateway.ipc.child_main`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from gateway.config.control import RestartOptions
from gateway.control.lifecycle.fleet import Fleet
from gateway.control.processes.child import Child, how_it_ended
from gateway.control.processes.restart_backoff import RestartBackoff
from gateway.control.processes.serving_slot import ServingSlot
from gateway.control.processes.spawning import Spawner
from gateway.core.errors import GatewayError, Unavailable
from gateway.ipc.channel import Channel
from gateway.ipc.messages import Ask, Listening, Reply, Start, StartFailed, Stop, Stopped
from gateway.ipc.telemetry_messages import ProcessState

log = logging.getLogger(__name__)

LAST_WORDS_S = 2.0
"""Seconds that reading a process's last messages may take after its exit."""


class CannotServe(Exception):
    """No serving process can be started; the text says why."""


class Supervisor:
    """Keeps one serving process in every slot.

    `starts`: the first message to each, by slot. `answer` carries out what a process asks for a
    caller. `changed` is called when `states` changes. `failed` raises `CannotServe` once it is
    known that no process can serve.
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
        self._slots = tuple(map(ServingSlot, starts))
        self._spawner = spawner
        self._fleet = fleet
        self._answer = answer
        self._kill_after_s = kill_after_s
        self._changed = changed
        self._supervisions: list[asyncio.Task[None]] = []
        self._asks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._all_tried = asyncio.Event()
        self._ever_listened = asyncio.Event()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def __repr__(self) -> str:
        listening = sum(slot.listening for slot in self._slots)
        pids = ", ".join(str(process.pid) for process in self._processes)
        return f"<Supervisor of {len(self._slots)}: {listening} listening, pids {pids or 'none'}>"

    @property
    def states(self) -> tuple[ProcessState, ...]:
        """The state of every slot."""
        return tuple(slot.state for slot in self._slots)

    @property
    def transport(self) -> str:
        """What the serving processes serve through; empty until one listens."""
        return next((slot.transport for slot in self._slots if slot.transport), "")

    @property
    def _processes(self) -> list[Child]:
        return [slot.process for slot in self._slots if slot.process is not None]

    async def start(self) -> None:
        """Starts every process; returns when each has been started, or could not be, once."""
        self._supervisions = [asyncio.create_task(self._keep(slot)) for slot in self._slots]
        for supervision in self._supervisions:
            supervision.add_done_callback(self._supervision_ended)
        await self._all_tried.wait()

    async def wait_listening(self) -> None:
        """Returns when a first process has its port open."""
        await self._ever_listened.wait()

    async def stop(self, grace_s: float) -> bool:
        """Ends all processes; true: each answered all of its calls.

        Calls in flight have the grace (seconds); a process that stays longer is killed.
        """
        self._stopping.set()
        self._fleet.broadcast(Stop(grace_s))
        if self._supervisions:
            await asyncio.wait(self._supervisions, timeout=grace_s + self._kill_after_s)
        if running := self._processes:
            log.error(
                "killing %d serving processes that did not stop within %g s",
                len(running),
                grace_s + self._kill_after_s,
            )
        self.kill()
        await asyncio.gather(*self._supervisions, return_exceptions=True)
        return not any(slot.lost for slot in self._slots)

    def kill(self) -> None:
        """Ends all at once."""
        self._stopping.set()
        for process in self._processes:
            process.kill()

    # One slot.

    async def _keep(self, slot: ServingSlot) -> None:
        backoff = RestartBackoff(self._options)
        while not self._stopping.is_set():
            backoff.started()
            ending = await self._run_one(slot)
            if self._stopping.is_set():
                self._note_last(slot, ending)
                return
            slot.died(ending)
            self._changed()
            delay_s = backoff.died()
            if backoff.deaths >= self._options.attempts and not self._ever_listened.is_set():
                self._fail(
                    f"serving process {slot.number} failed {backoff.deaths} times in a row before "
                    f"it could listen: it {ending}; what it wrote stands above"
                )
                return
            message = "serving process %d %s; another takes its place in %.1f s"
            log.error(message, slot.number, ending, delay_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay_s)

    def _note_last(self, slot: ServingSlot, ending: str) -> None:
        if not slot.answered:
            slot.lost = True
            log.error("serving process %d %s before it had stopped", slot.number, ending)

    async def _run_one(self, slot: ServingSlot) -> str:
        """Returns how the process ended, when it has."""
        try:
            pid, link = self._spawner.spawn()
        except OSError as error:
            return f"cannot be started: {error}"
        finally:
            slot.tried = True
            if all(each.tried for each in self._slots):
                self._all_tried.set()
        process = Child(pid)
        slot.begin(process)
        channel = await Channel.open(link)
        channel.send(slot.start)
        self._fleet.attach(slot.number, channel)
        if self._stopping.is_set():
            channel.send(Stop(0))
        try:
            await self._converse(slot, process, channel)
        finally:
            self._fleet.detach(slot.number)
            slot.listening = False
            channel.close()
            ending = await self._ended(process)
            slot.process = None
        return ending

    async def _converse(self, slot: ServingSlot, process: Child, channel: Channel) -> None:
        """Receives the process's messages until it is gone.

        It is gone when it has exited, even if what it started keeps its end of the link open.
        """
        receiving = asyncio.create_task(self._receive(slot, channel))
        exiting = asyncio.create_task(process.wait())
        try:
            await asyncio.wait((receiving, exiting), return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait((receiving,), timeout=LAST_WORDS_S)
            if receiving.done() and (error := receiving.exception()) is not None:
                message = "serving process %d sent a message that cannot be read"
                log.error(message, slot.number, exc_info=error)
        finally:
            receiving.cancel()
            exiting.cancel()

    async def _receive(self, slot: ServingSlot, channel: Channel) -> None:
        while (message := await channel.receive()) is not None:
            match message:
                case Ask():
                    ask = asyncio.create_task(self._answer_one(message, channel))
                    self._asks.add(ask)
                    ask.add_done_callback(self._asks.discard)
                case Listening():
                    slot.listening = True
                    slot.transport = message.transport
                    self._ever_listened.set()
                    self._changed()
                case StartFailed(text):
                    self._fail(text)
                case Stopped():
                    slot.answered = True  # whatever becomes of it now, no call is lost
                    return
                case _:
                    self._fleet.receive(slot.number, message)

    async def _answer_one(self, ask: Ask, channel: Channel) -> None:
        try:
            reply = Reply(ask.request_id, value=await self._answer(ask))
        except GatewayError as error:
            reply = Reply(ask.request_id, error)
        except Exception as error:  # a fault of ours: the caller is not left waiting
            log.exception("%s %s", ask.change, ask.model)
            text = f"{ask.change} failed inside the gateway: {type(error).__name__}: {error}"
            reply = Reply(ask.request_id, Unavailable(text))
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
