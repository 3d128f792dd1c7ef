"""The server over the completion queue: slots, the sweep, starting and stopping.

Runs in a serving process.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Collection
from typing import Any, Final

from gateway.serving.wire.call_errors import unknown_method
from gateway.serving.wire.transport.completion_queue import internals
from gateway.serving.wire.transport.completion_queue.calls import UnaryCall
from gateway.serving.wire.transport.completion_queue.event_pump import EventPump
from gateway.serving.wire.transport.completion_queue.open_calls import OpenCall, OpenCalls
from gateway.serving.wire.transport.completion_queue.outbox import Corks, Outbox
from gateway.serving.wire.transport.completion_queue.streams import BidirectionalCall
from gateway.serving.wire.transport.graceful_stop import until_finished
from gateway.serving.wire.transport.interface import Methods, TransportOptions

# calls older than this are watched for cancellation, and deadlines are kept to this precision
_SWEEP_S: Final = 0.05
_OTHER_SLOTS: Final = 64  # calls of other methods that may arrive between two turns of the loop
# Calls of the hot method whose message is not dealt with yet. The core keeps what comes beyond, and
# forgets it when its client does, at no cost here. With a slot given back as soon as its call is
# delivered, a server with twice the load it can carry spent all of its time on calls that nobody
# waited for any more.
_HOT_SLOTS: Final = 128
# what the core may take to report its last events once all calls are cancelled
_STOPPED_S: Final = 10.0
_log = logging.getLogger(__name__)


class CompletionQueueServer:
    """Serves `methods` on the running event loop."""

    def __init__(self, methods: Methods, options: TransportOptions) -> None:
        self._methods = methods
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._open = OpenCalls(Outbox(corks=Corks()), options.max_message_bytes)
        self._started = False
        self._stopping = False
        self._core, self._queue = internals.new_server(options)
        self._pump = EventPump(self._queue)
        self._hot = methods.unary.get(methods.hot)
        self._hot_refused = methods.refused.get(methods.hot)

    @property
    def open(self) -> Collection[OpenCall]:
        """Calls received and not answered."""
        return self._open.members

    async def start(self) -> int:
        """Listens, and returns the port of the first address.

        Raises OSError where an address cannot be had, ValueError for unusable TLS files.
        """
        credentials = internals.credentials(self._options)
        ports: list[int] = []
        for address in self._options.addresses:
            ports.append(self._core.add_http2_port(address.encode(), credentials))
            if ports[-1] == 0:
                raise OSError(f"cannot listen on {address}")
        if self._hot is not None:
            self._core.register_method(self._methods.hot)
        self._core.start()
        if self._hot is not None:
            for _ in range(min(_HOT_SLOTS, self._options.max_concurrent_calls)):
                self._offer_hot_slot()
        for _ in range(_OTHER_SLOTS):
            self._offer_slot()
        self._sweep()
        self._pump.start()
        self._started = True
        return ports[0]

    async def stop(self, grace_s: float) -> None:
        """Accepts no more, answers what was accepted, and takes the queue down.

        What is not answered after `grace_s` seconds is cancelled.
        """
        if not self._started:
            return
        emptied = self._pump.emptied
        if not self._stopping:
            self._stopping = True
            self._core.shutdown(self._queue, self._core_stopped)
        await until_finished(emptied, self._open.are_busy, grace_s)
        if not emptied.done():
            self._cancel_calls(grace_s)
            await asyncio.wait([emptied], timeout=_STOPPED_S)
        if emptied.done():
            self._pump.join()
        else:
            _log.error(
                "gRPC's core has not reported all calls finished after %g s more; a method must "
                "be ignoring its cancellation",
                _STOPPED_S,
            )

    def _cancel_calls(self, grace_s: float) -> None:
        if self._open.members:
            _log.warning(
                "%d calls were not finished within the grace of %g s and are cancelled",
                len(self._open.members),
                grace_s,
            )
        self._core.cancel_all_calls()
        self._open.cancel()

    def _offer_hot_slot(self) -> None:
        self._core.request_registered_call(
            self._queue, self._queue, self._methods.hot, self._hot_called
        )

    def _offer_slot(self) -> None:
        self._core.request_call(self._queue, self._queue, self._called)

    def _hot_called(self, event: Any) -> None:
        if event.success:  # false: a slot given back unused at stop; its call is no call
            assert self._hot is not None
            UnaryCall(self._open, event, self._hot, self._hot_read, self._hot_refused)

    def _hot_read(self) -> None:
        if not self._stopping:
            self._offer_hot_slot()

    def _called(self, event: Any) -> None:
        if not event.success:
            return
        if not self._stopping:
            self._offer_slot()
        path = event.call_details.method.decode()
        if (unary := self._methods.unary.get(path)) is not None:
            UnaryCall(self._open, event, unary)
        else:
            # what is not known counts as a stream: it ends at once, whether or not a message comes
            BidirectionalCall(
                self._open,
                event,
                self._methods.stream.get(path) or functools.partial(unknown_method, path),
                self._methods.refused.get(path),
            )

    def _sweep(self) -> None:
        """Sweeps the open calls from time to time: one timer for all calls."""
        if not self._open.destroyed:
            self._open.sweep(all_delivered=self._pump.was_empty())
            self._loop.call_later(_SWEEP_S, self._sweep)

    def _core_stopped(self, _event: Any) -> None:
        """Takes the queue down: the core has finished every call that it accepted."""
        self._open.destroy()
        self._core.destroy()
        self._queue.shutdown()

    def __repr__(self) -> str:
        state = "stopping" if self._stopping else "serving"
        if self._open.destroyed:
            state = "stopped"
        return (
            f"<CompletionQueueServer {', '.join(self._options.addresses)} {state}, "
            f"{len(self._open.members)} calls open>"
        )
