"""A serving process without gRPC and ONNX Runtime.

It speaks the real control link and answers lines of text on the real port.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import time

import msgspec

from gateway.core.errors import GatewayError
from gateway.ipc.messages import Change, Listening, Publish
from gateway.ipc.orphan_watch import OrphanWatch
from gateway.ipc.serving_link import ServingLink
from gateway.ipc.shared_files import SharedFiles
from gateway.records.counters import StatisticsTable
from gateway.serving.policies.breaker.breaker_registry import BreakerRegistry


class StandIn:
    """Behaves as the settings and the paths of the plans tell it to.

    A path is what happens while preparing: `fail`, `crash`, `slow`, or `while FILE` (as long as
    that file exists).
    """

    def __init__(self, link: ServingLink, start, statistics: StatisticsTable) -> None:
        self.link = link
        self.start = start
        self.statistics = statistics
        self.prepared = {}
        self.live = {}
        self.breakers = BreakerRegistry(time.monotonic, lambda _: None)
        self.publication: Publish | None = None
        self.draining = False
        self.in_flight = 0
        self.idle = asyncio.Event()
        self.server = None

    async def listen(self):
        host, _, port = self.start.addresses[0].rpartition(":")
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind((host, int(port)))
        self.server = await asyncio.start_server(self.converse, sock=listening)
        return Listening(int(port))

    async def prepare(self, change_id, plans):
        errors = []
        for plan in plans:
            if plan.path == "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            if plan.path in ("fail", f"fail in {self.start.slot}"):
                errors.append((plan.key, "it is broken"))
            # the check does not wait
            if plan.path.startswith("while ") and not os.path.exists(  # noqa: ASYNC240, PTH110
                plan.path.removeprefix("while ")
            ):
                errors.append((plan.key, "its file is gone"))
            if plan.path == "slow":
                await asyncio.sleep(0.5)
        failed = {key for key, _ in errors}
        self.prepared[change_id] = {plan.key: plan for plan in plans if plan.key not in failed}
        return tuple(errors)

    def commit(self, change_id, live, retire):
        prepared = self.prepared.pop(change_id, {})
        for key in retire:
            del self.live[key]
        self.live.update((key, prepared[key]) for key in live)
        for key in live:
            self.breakers.add((*key, ""), prepared[key].protection.breaker)
        return asyncio.sleep(0)

    def abort(self, change_id):
        del self.prepared[change_id]

    def publish(self, publication):
        self.publication = publication
        self.breakers.force(publication.forced_breakers)

    def report_breakers(self):
        return self.breakers.snapshots()

    def drain(self):
        self.draining = True

    async def stop(self, grace_s):
        if self.start.settings.get("hang on stop"):
            time.sleep(3600)  # noqa: ASYNC251  # the loop hangs as well
        if self.server is not None:
            self.server.close()
        if self.in_flight:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.idle.wait(), grace_s)

    async def converse(self, reader, writer):
        while line := await reader.readline():
            self.in_flight += 1
            self.idle.clear()
            answer = await self.answer(*line.decode().split())
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
            self.in_flight -= 1
            if not self.in_flight:
                self.idle.set()
        writer.close()

    async def answer(self, what, *arguments):
        match what:
            case "state":
                index = (
                    [msgspec.structs.astuple(entry) for entry in self.publication.index]
                    if self.publication
                    else None
                )
                return {
                    "pid": os.getpid(),
                    "slot": self.start.slot,
                    "live": sorted(
                        f"{plan.model}/{plan.version}/{plan.fingerprint}"
                        for plan in self.live.values()
                    ),
                    "prepared": len(self.prepared),
                    "ready": self.publication is not None and self.publication.ready,
                    "draining": self.draining,
                    "in_flight": self.in_flight - 1,
                    "index": index,
                    "log_settings": dict(self.publication.log_settings)
                    if self.publication
                    else None,
                    "trace_settings": dict(self.publication.trace_settings)
                    if self.publication
                    else None,
                    "trace_changes": dict(self.publication.trace_changes)
                    if self.publication
                    else None,
                }
            case "infer":
                plan = next(plan for plan in self.live.values() if plan.model == arguments[0])
                if len(arguments) > 1:
                    await asyncio.sleep(float(arguments[1]))
                counts = self.statistics.writer(self.start.slot, plan.statistics_row)
                counts.record_batch(1, 1, 0, 0, 0, 0, 1)
                counts.record_request(1e-9, 0.0)
                return "answered"
            case "count":
                plan = next(plan for plan in self.live.values() if plan.model == arguments[0])
                return self.statistics.read(plan.statistics_row).success.count
            case "load" | "unload":
                return await self.ask(
                    Change(what), arguments[0], dict(word.split("=") for word in arguments[1:])
                )
            case "log_settings" | "trace_settings":
                values = json.loads(" ".join(arguments)) if arguments else {}
                return await self.ask(
                    Change(what),
                    "",
                    {
                        name: tuple(value) if isinstance(value, list) else value
                        for name, value in values.items()
                    },
                )
        return await self.answer_of_breakers(what, *arguments)

    async def answer_of_breakers(self, what, *arguments):
        match what:
            case "breakers":
                survey = await self.ask(Change.BREAKERS, "", {})
                return {
                    "forced": {_joined(key): mode for key, mode in survey.forced.items()},
                    "reports": {
                        slot: None
                        if report is None
                        else {
                            _joined(key): (snapshot.state, snapshot.forced)
                            for key, snapshot in report
                        }
                        for slot, report in survey.reports.items()
                    },
                }
            case "force":
                model, version, instance = arguments[0].split("/")
                mode = arguments[1] if len(arguments) > 1 else ""
                return await self.ask(
                    Change.BREAKERS,
                    model,
                    {"keys": [(model, int(version), instance)], "mode": mode},
                )
        return "what?"

    async def ask(self, change, model, parameters):
        try:
            return await self.link.ask(change, model, parameters)
        except GatewayError as error:
            return f"{type(error).__name__}: {error}"


def _joined(key):
    return "/".join(map(str, key))


def run(link_fd: int, files: SharedFiles, watch: OrphanWatch) -> int:
    return asyncio.run(serve(link_fd, files, watch))


async def serve(link_fd: int, files: SharedFiles, watch: OrphanWatch) -> int:
    async with await ServingLink.open(link_fd) as link:
        start = await link.start()
        watch.limit_s = start.orphan_limit_s
        if start.settings.get("crash at start"):
            return 3
        if text := start.settings.get("refuse"):
            await link.refuse(text)
            return 2
        await link.serve(StandIn(link, start, StatisticsTable(files.statistics)))
    return 0
