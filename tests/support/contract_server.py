"""A server in a process of its own, for the tests of the transports' contract.

Its command line has the transport and the options. It takes commands as lines of JSON on standard
input and answers each with one line on standard output; the first line on standard output is its
port.
"""

import asyncio
import base64
import collections
import dataclasses
import json
import logging
import math
import os
import pathlib
import sys
import threading
import time

from gateway.serving.wire.transport.io_mode import apply_io_mode


class Records(logging.Handler):
    """Keeps what is logged at WARNING and above, tracebacks included.

    It leaves out errors that were raised on purpose to end a call.
    """

    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        if record.name == "gateway.serving.wire.call_errors" and record.levelno < logging.ERROR:
            return
        self.lines.append(f"{record.name}: {logging.Formatter('%(message)s').format(record)}")


class Service:
    """Methods that do what the contract speaks of; `seen` counts what happened to their calls."""

    def __init__(self):
        from gateway.core.waiter import Waiter

        self._waiter = Waiter
        self.seen = collections.Counter()
        self.last_deadline_in_s = None
        self.released = []

    def methods(self):
        from gateway.serving.wire.transport.interface import Methods

        unary = {
            name: getattr(self, "unary_" + name.lower())
            for name in ("Echo", "Describe", "Fail", "Wait", "WaitInTask", "Slow", "Sized", "Wrong")
        }
        stream = {
            name: getattr(self, "stream_" + name.lower())
            for name in (
                "Echo",
                "Count",
                "Fail",
                "Wait",
                "Flood",
                "Three",
                "Sized",
                "Ignore",
                "Describe",
            )
        }
        return Methods(
            unary={"/test.Contract/Hot": self.unary_echo}
            | {f"/test.Contract/{name}": method for name, method in unary.items()},
            stream={f"/test.Contract/Stream{name}": method for name, method in stream.items()},
            hot="/test.Contract/Hot",
        )

    async def unary_echo(self, _call, message):
        self.seen["echoed"] += 1
        return message

    async def unary_describe(self, call, _message):
        return self._description(call)

    def _description(self, call):
        remaining = call.deadline - time.monotonic()
        metadata = [
            [key, value.hex() if isinstance(value, bytes) else value]
            for key, value in call.metadata()
        ]
        return json.dumps(
            {
                "metadata": metadata,
                "peer": call.peer(),
                "remaining_s": None if call.deadline == math.inf else remaining,
            }
        ).encode()

    async def unary_fail(self, _call, message):
        raise failure(json.loads(message))

    async def unary_wait(self, call, message):
        """Waits for ever on a Waiter, as a request in a batcher does."""
        return await self._wait(call, self._waiter())

    async def unary_waitintask(self, call, message):
        """Waits for ever on asyncio's own future."""
        return await self._wait(call, asyncio.get_running_loop().create_future())

    async def _wait(self, call, future):
        self.seen["started"] += 1
        try:
            await future
        except asyncio.CancelledError:
            self.seen["cancelled"] += 1
            raise
        return b""

    async def unary_slow(self, _call, message):
        """Answers after as many seconds as the message says."""
        self.seen["started"] += 1
        waiter = self._waiter()
        asyncio.get_running_loop().call_later(float(message), waiter.settle, None)
        await waiter
        self.seen["finished"] += 1
        return message

    async def unary_sized(self, _call, message):
        return bytes(int(message))

    async def unary_wrong(self, _call, _message):
        return "text"

    async def stream_echo(self, call):
        while (message := await call.receive()) is not None:
            await call.send(message)

    async def stream_describe(self, call):
        await call.send(self._description(call))

    async def stream_count(self, call):
        """Sends as many messages as the caller's first one says."""
        for number in range(int(await call.receive())):
            await call.send(b"%d" % number)

    async def stream_sized(self, call):
        await call.send(bytes(int(await call.receive())))

    async def stream_three(self, call):
        """Ends after three messages, even where the caller would send more."""
        for _ in range(3):
            await call.send(await call.receive())

    async def stream_ignore(self, call):
        """Reads nothing and ends at once."""

    async def stream_fail(self, call):
        """Echoes messages until one describes a failure."""
        while (message := await call.receive()) is not None:
            if message.startswith(b"{"):
                raise failure(json.loads(message))
            await call.send(message)

    async def stream_wait(self, call):
        never = asyncio.get_running_loop().create_future()

        async def ready_and_wait():
            await call.send(b"ready")
            await never

        await self._wait(call, ready_and_wait())

    async def stream_flood(self, call):
        """Sends messages of 64 KiB until the call is cancelled."""
        try:
            while True:
                await call.send(bytes(1 << 16))
                self.seen["flooded"] += 1
        except asyncio.CancelledError:
            self.seen["cancelled"] += 1
            raise


def failure(described):
    """The exception that a message describes."""
    from gateway.core import errors
    from gateway.serving.wire.transport.interface import CallEnded

    kind = described["kind"]
    text = described.get("text", "")
    if kind == "CallEnded":
        trailers = tuple(
            (key, bytes.fromhex(value) if key.endswith("-bin") else value)
            for key, value in described.get("trailers", ())
        )
        return CallEnded(described["code"], text, trailers)
    if kind == "Cancelled":
        return asyncio.CancelledError()
    return getattr(errors, kind)(text) if hasattr(errors, kind) else ValueError(text)


def options_from(text):
    from gateway.serving.wire.transport.interface import TransportOptions

    given = json.loads(text)
    of_bytes = {
        field.name for field in dataclasses.fields(TransportOptions) if field.type == "bytes"
    }
    return TransportOptions(
        **{
            name: base64.b64decode(value) if name in of_bytes else value
            for name, value in given.items()
        }
    )


def resident_bytes():
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def serve(transport, options_text, records):
    if transport == "aio":
        from gateway.serving.wire.transport.aio import AioServer as Server
    else:
        from gateway.serving.wire.transport.completion_queue.server import (
            CompletionQueueServer as Server,
        )
    from gateway.serving.wire.call_errors import flush_log

    service = Service()
    server = Server(service.methods(), options_from(options_text))
    try:
        port = await server.start()
    except (OSError, ValueError) as error:
        await server.stop(1)
        answer({"error": f"{type(error).__name__}: {error}"})
        return
    answer({"port": port})
    stops = []
    commands = command_lines()
    while (command := await commands.get())["do"] != "exit":
        if command["do"] == "state":
            state = {
                "open": len(server.open),
                "seen": service.seen,
                "log": records.lines,
                "resident": resident_bytes(),
                "tasks": len(asyncio.all_tasks()),
            }
            answer(state | {"repr": repr(server)})
        elif command["do"] == "forget":
            service.seen.clear()
            flush_log()  # the next error is the first of its kind again
            records.lines.clear()
            answer({})
        elif command["do"] == "begin stop":
            stops.append(asyncio.create_task(server.stop(command["grace_s"])))
            await asyncio.sleep(0)  # its first step
            answer({})
        elif command["do"] == "await stop":
            began = time.monotonic()
            await asyncio.gather(*stops)
            answer({"waited_s": time.monotonic() - began})
    answer({})


def command_lines():
    """A queue of the commands on standard input, whose end ends the process."""
    loop = asyncio.get_running_loop()
    queue = asyncio.Queue()

    def read():
        for line in sys.stdin:
            loop.call_soon_threadsafe(queue.put_nowait, json.loads(line))
        os._exit(3)  # the test has ended

    threading.Thread(target=read, daemon=True).start()
    return queue


def answer(value):
    print(json.dumps(value), flush=True)


def main():
    transport, io_mode, options_text = sys.argv[1:]
    apply_io_mode(io_mode)
    records = Records()
    logging.getLogger().addHandler(records)
    asyncio.run(serve(transport, options_text, records))


if __name__ == "__main__":
    main()
