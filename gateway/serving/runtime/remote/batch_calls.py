"""One batch on another server: the calls it takes, from its tensors to its answer.

Runs in a serving process.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any, Final

import grpc
import numpy as np

from gateway.core.errors import DeadlineExpired, GatewayError, InstanceFailed, ModelFailed
from gateway.core.instance import Work
from gateway.core.request import Array
from gateway.serving.runtime.remote.failures import casts_doubt, failure
from gateway.serving.runtime.remote.request_encoding import BatchCodec, row_parts

_EARLY_S: Final = 0.01  # gRPC's clock is the wall's, in milliseconds

Metadata = Sequence[tuple[str, str]]


class BatchCalls:
    """Runs one work: in one call, or in several where the server takes fewer rows at a time.

    Several run side by side and must all succeed. `ended` is called on the loop, once, after the
    work was finished or failed; not inside `send`.
    """

    __slots__ = (
        "_address", "_answers", "_by_callers_deadline", "_calls", "_codec", "_ended", "_loop",
        "_messages", "_timeout_at", "_work", "doubtful", "over", "overdue", "started", "succeeded",
    )  # fmt: skip

    def __init__(
        self, work: Work, codec: BatchCodec, address: str, ended: Callable[[BatchCalls], None]
    ) -> None:
        self._work = work
        self._codec = codec
        self._address = address
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self.started = self._loop.time()
        self._timeout_at = 0.0
        self._messages: list[tuple[bytes, int]] = []
        self._calls: list[Any] = []
        self._answers: list[list[Array] | None] = []
        self._by_callers_deadline = False
        self.over = False
        self.succeeded = False
        self.doubtful = False
        """The server was lost or overdue, or is not what it is taken for."""
        self.overdue = False
        """The server took all the time it had."""

    @property
    def work(self) -> Work:
        """The work that it runs."""
        return self._work

    def encode(self, max_rows: int) -> Exception | None:
        """Collates the work and makes its messages; blocks, in any thread.

        Returns what went wrong instead of raising it.
        """
        try:
            work = self._work
            feed = work.collate()
            if 0 < max_rows < work.rows:
                for part in row_parts(work.rows, max_rows):
                    rows = {name: array[part] for name, array in feed.items()}
                    self._messages.append(
                        (self._codec.encode(rows, work.wanted), part.stop - part.start)
                    )
            else:
                self._messages = [(self._codec.encode(feed, work.wanted), work.rows)]
        except Exception as error:  # noqa: BLE001  # it belongs to the requests
            return (
                error
                if isinstance(error, GatewayError)
                else ModelFailed(
                    f"the batch for {self._address} could not be made: {_error_text(error)}"
                )
            )
        return None

    def send(self, method: Any, timeout_s: float, metadata: Callable[[Work], Metadata]) -> None:
        """Starts the calls; they have the time that is left to the callers, `timeout_s` at most."""
        now = self._loop.time()
        left_s = self._work.deadline - now
        self._by_callers_deadline = left_s <= timeout_s
        self._timeout_at = now + min(left_s, timeout_s)
        if left_s <= 0:
            self._later(
                DeadlineExpired(f"Request timeout expired before {self._address} was asked")
            )
            return
        messages = self._messages
        self._messages = []
        self._answers = [None] * len(messages)
        try:
            sent = metadata(self._work)
            for i, (message, rows) in enumerate(messages):
                call = method.future(message, timeout=min(left_s, timeout_s), metadata=sent)
                self._calls.append(call)
                call.add_done_callback(functools.partial(self._answered, i, rows))
        except Exception as error:  # noqa: BLE001
            # metadata that gRPC does not take, a channel that was closed
            self._later(
                InstanceFailed(f"{self._address} could not be called: {_error_text(error)}")
            )

    def fail(self, error: Exception) -> None:
        """Ends the work with the error and lets its calls go."""
        if self.over:
            return
        self.over = True
        for call in self._calls:
            call.cancel()
        self._work.fail(error)
        self._end()

    def _later(self, error: Exception) -> None:
        self._loop.call_soon(self.fail, error)

    def _answered(self, index: int, rows: int, call: Any) -> None:
        """Reads an answer on gRPC's thread, so that the event loop is not held."""
        code = call.code()
        details = ""
        answer = None
        error: Exception | None = None
        try:
            if code is grpc.StatusCode.OK:
                answer = self._codec.decode(call.result() or b"", self._work.wanted, rows)
            else:
                details = call.details() or ""
        except Exception as wrong:  # noqa: BLE001
            # whatever the server sent, somebody waits for this batch
            error = (
                wrong
                if isinstance(wrong, GatewayError)
                else ModelFailed(
                    f"{self._address} answered with data that cannot be read: {_error_text(wrong)}"
                )
            )
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._arrived, index, answer, error, code, details)

    def _arrived(
        self,
        index: int,
        answer: list[Array] | None,
        error: Exception | None,
        code: Any,
        details: str,
    ) -> None:
        if self.over:
            return
        if answer is None:
            self._judge(code)
            self.fail(
                error
                or failure(
                    self._address, code, details, by_callers_deadline=self._by_callers_deadline
                )
            )
            return
        self._answers[index] = answer
        answers = [found for found in self._answers if found is not None]
        if len(answers) == len(self._answers):
            self._finish(answers)

    def _judge(self, code: Any) -> None:
        """Notes what a status without an answer means for the server."""
        expired = code is grpc.StatusCode.DEADLINE_EXCEEDED
        self.overdue = expired and self._loop.time() > self._timeout_at - _EARLY_S
        # a server that refuses for want of time is there
        self.doubtful = self.overdue or (casts_doubt(code) and not expired)

    def _finish(self, answers: list[list[Array]]) -> None:
        try:
            outputs = (
                answers[0]
                if len(answers) == 1
                else [np.concatenate(parts) for parts in zip(*answers, strict=True)]
            )
        except ValueError as error:  # the parts agree in their rows alone
            self.fail(
                ModelFailed(
                    f"{self._address} answered parts of one batch in shapes that "
                    f"do not go together: {error}"
                )
            )
            return
        self.over = True
        self.succeeded = True
        try:
            self._work.finish(outputs)
        finally:
            self._end()

    def _end(self) -> None:
        self._calls = []
        self._ended(self)


def no_metadata(_work: Work) -> Metadata:
    """Empty metadata: nothing is sent along."""
    return ()


def with_token(token: str, metadata: Callable[[Work], Metadata]) -> Callable[[Work], Metadata]:
    """What `metadata` sends along, and the token where there is one."""
    credential = authorization(token)
    return (lambda work: (*credential, *metadata(work))) if credential else metadata


def authorization(token: str) -> Metadata:
    """The token as metadata; nothing for an empty one."""
    return (("authorization", f"Bearer {token}"),) if token else ()


def _error_text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
