"""The serving process's end of the control link: orders come in, callers' changes are asked for."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Coroutine, Mapping
from typing import Any, Self

from gateway.core.errors import Unavailable
from gateway.core.plan import VersionPlan
from gateway.ipc.channel import Channel
from gateway.ipc.messages import (
    Abort,
    Ask,
    BreakerReport,
    Change,
    Commit,
    Committed,
    Drain,
    Listen,
    Prepare,
    Prepared,
    Publish,
    Published,
    Reply,
    ReportBreakers,
    Retired,
    Start,
    StartFailed,
    Stop,
    Stopped,
    ToControl,
    ToServing,
)
from gateway.ipc.serving_interface import Served

log = logging.getLogger(__name__)


class ServingLink:
    """Has the orders of the control process carried out, and asks it for changes.

    Used as ``async with await ServingLink.open(fd) as link``, then ``await link.start()`` once and
    ``await link.serve(served)`` until the process stops.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._grace_s = 0.0
        self._asked: dict[int, asyncio.Future[object]] = {}
        self._next_request_id = 0
        self._gone = False
        self._preparing: dict[int, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # the grace; None: the supervisor is gone
        self._end: asyncio.Future[float | None] = asyncio.get_running_loop().create_future()

    def __repr__(self) -> str:
        return f"<ServingLink {len(self._preparing)} preparing, {len(self._asked)} asked>"

    @classmethod
    async def open(cls, link_fd: int) -> ServingLink:
        """Takes over the inherited end of the link."""
        os.set_inheritable(link_fd, False)
        return cls(await Channel.open(socket.socket(fileno=link_fd)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in (*self._tasks, *self._preparing.values()):
            task.cancel()
        self._end_asked()
        await self._channel.flush()
        self._channel.close()

    async def start(self) -> Start:
        """The first message; raises SystemExit where there is none: the supervisor is gone."""
        message = await self._channel.receive()
        if not isinstance(message, Start):
            raise SystemExit(0)
        self._grace_s = message.grace_s
        return message

    async def refuse(self, text: str) -> None:
        """Reports that no process can start with these settings; the caller exits next."""
        self._channel.send(StartFailed(text))
        await self._channel.flush()

    async def ask(
        self, change: Change, model: str = "", parameters: Mapping[str, object] | None = None
    ) -> object:
        """Has the control process change the server; returns when every process has the change.

        A caller that is cancelled stops waiting, but what was begun goes on. Raises the
        `GatewayError` that ended the change, `Unavailable` while the server stops.
        """
        if self._gone:
            raise Unavailable("the server is stopping: nothing can be changed any more")
        self._next_request_id += 1
        request_id = self._next_request_id
        reply: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._asked[request_id] = reply
        self._channel.send(Ask(request_id, change, model, dict(parameters or {})))
        try:
            return await reply
        finally:
            self._asked.pop(request_id, None)

    async def serve(self, served: Served) -> None:
        """Has orders carried out until one is to stop, or the supervisor is gone.

        `served` is stopped when this returns.
        """
        self._spawn(self._carry_out_orders(served))
        grace_s = await self._end
        if grace_s is None:
            log.warning("the supervisor is gone: stopping")
            grace_s = self._grace_s
        await served.stop(grace_s)
        self._channel.send(Stopped())

    async def _carry_out_orders(self, served: Served) -> None:
        """Goes on while `served` stops: a caller in flight may still wait for a reply."""
        while (message := await self._channel.receive()) is not None:
            self._carry_out(served, message)
        self._end_asked()
        self._end_with(None)

    def _carry_out(self, served: Served, message: ToServing | ToControl) -> None:
        match message:
            case Stop(grace_s):
                self._end_with(grace_s)
            case Reply():
                self._settle(message)
            case Listen():
                self._spawn(self._listen(served))
            case Prepare(change_id, plans):
                self._preparing[change_id] = asyncio.ensure_future(
                    self._prepare(served, change_id, plans)
                )
            case Commit(change_id, live, retire):
                drained = served.commit(change_id, live, retire)
                self._channel.send(Committed(change_id))
                self._spawn(self._report_retired(change_id, drained))
            case Abort(change_id):
                self._spawn(self._abort(served, change_id))
            case Publish(sequence):
                served.publish(message)
                self._channel.send(Published(sequence))
            case ReportBreakers(request_id):
                self._channel.send(BreakerReport(request_id, served.report_breakers()))
            case Drain():
                served.drain()

    def _end_with(self, grace_s: float | None) -> None:
        if not self._end.done():
            self._end.set_result(grace_s)

    async def _listen(self, served: Served) -> None:
        try:
            self._channel.send(await served.listen())
        except (OSError, ValueError) as error:
            await self.refuse(str(error))

    async def _prepare(
        self, served: Served, change_id: int, plans: tuple[VersionPlan, ...]
    ) -> None:
        try:
            errors = await served.prepare(change_id, plans)
        except Exception as error:
            # a fault of ours with one model must not end the process that serves the others
            log.exception(
                "preparing %s", ", ".join(f"{p.model} version {p.version}" for p in plans)
            )
            errors = tuple((p.key, f"{type(error).__name__}: {error}") for p in plans)
        self._channel.send(Prepared(change_id, errors))
        del self._preparing[change_id]

    async def _report_retired(self, change_id: int, drained: Awaitable[None]) -> None:
        await drained
        self._channel.send(Retired(change_id))

    async def _abort(self, served: Served, change_id: int) -> None:
        if (preparing := self._preparing.get(change_id)) is not None:
            await asyncio.wait((preparing,))
        served.abort(change_id)

    def _settle(self, reply: Reply) -> None:
        future = self._asked.get(reply.request_id)
        if future is None or future.done():
            return
        if reply.error is not None:
            future.set_exception(reply.error)
        else:
            future.set_result(reply.value)

    def _end_asked(self) -> None:
        self._gone = True
        for future in self._asked.values():
            if not future.done():
                future.set_exception(
                    Unavailable(
                        "the server is stopping: it is not known whether the change was made"
                    )
                )

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._spawned_ended)

    def _spawned_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if (
            not task.cancelled()
            and (error := task.exception()) is not None
            and not self._end.done()
        ):
            self._end.set_exception(error)
