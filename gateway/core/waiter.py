"""A result that somebody waits for, and coroutines that are driven by hand until it is there.

Used in serving processes, once or twice for every request. A `Waiter` is what a request awaits
while it is queued. It is awaited like a future and works under `asyncio.Task` as one. A `Driven`
coroutine that awaits it is resumed directly, inside `settle`, without a trip through the event
loop, which saves the 2-4 us a request that a Task and its future cost. A driven coroutine that
awaits anything else is handed, as it stands, to a Task that goes on with it.

Before that hand-over `asyncio.current_task()` is None: code that needs it (`asyncio.timeout`, a
TaskGroup) awaits `become_task()` first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any, ClassVar, Generic, TypeVar

T = TypeVar("T")


class Waiter(Generic[T]):
    """A result to come, for one awaiting coroutine.

    Everything here runs on the event loop's thread.

    Settled once, by `settle`, `fail` or `cancel`; whatever comes later is ignored, so
    nobody need ask `done()` first.
    """

    __slots__ = ("_asyncio_future_blocking", "_callbacks", "_driver", "_error", "_value", "settled")

    def __init__(self) -> None:
        self.settled = False
        self._error: BaseException | None = None
        self._driver: Driven | None = None
        self._callbacks: (
            list[tuple[asyncio.AbstractEventLoop, Callable[[Any], object], Any]] | None
        ) = None

    def __await__(self) -> Generator[Any, Any, T]:
        if not self.settled:
            self._asyncio_future_blocking = True  # how a Task tells a future from a wrong yield
            yield self
        return self.result()

    def settle(self, value: T) -> None:
        """Gives the result; a driven coroutine goes on before this returns."""
        if not self.settled:
            self.settled = True
            self._value = value
            self._wake()

    def fail(self, error: BaseException) -> None:
        """Ends the wait with an error, which must be an instance of its own.

        It will carry a traceback.
        """
        if not self.settled:
            self.settled = True
            self._error = error
            self._wake()

    def cancel(self, msg: str | None = None) -> bool:
        """Ends the wait with CancelledError; False if it was over already."""
        if self.settled:
            return False
        self.fail(asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg))
        return True

    def result(self) -> T:
        """The value, or raises the error.

        That once only: kept, it would hold the frames it passes, and they the request and this.
        """
        if self._error is not None:
            error = self._error
            self._error = None
            try:
                raise error
            finally:
                del error
        if not self.settled:
            raise asyncio.InvalidStateError("the waiter is not settled")
        return self._value

    def _wake(self) -> None:
        if self._driver is not None:
            try:
                self._driver.resume()
            except Exception as error:  # noqa: BLE001  # others are still to be settled
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "The end of a driven coroutine raised", "exception": error}
                )
        elif self._callbacks is not None:
            # the Task that waited, too, is held no longer
            callbacks = self._callbacks
            self._callbacks = None
            for loop, callback, context in callbacks:
                loop.call_soon(callback, self, context=context)

    # What a Task asks of the future it waits for.

    def done(self) -> bool:
        """The wait is over."""
        return self.settled

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The running loop."""
        return asyncio.get_running_loop()

    def add_done_callback(self, callback: Callable[[Any], object], *, context: Any = None) -> None:
        """Calls back from the loop once the wait is over."""
        loop = asyncio.get_running_loop()
        if self.settled:
            loop.call_soon(callback, self, context=context)
        else:  # the loop is kept: who cancels all tasks of a loop does so from outside it
            self._callbacks = [*(self._callbacks or ()), (loop, callback, context)]


class Driven:
    """A coroutine that is driven by hand; subclasses say what happens at its end.

    `start` runs it until it first waits. `_finished` and `_failed` are called once, maybe inside
    `start`.
    """

    __slots__ = ("_coroutine", "_task", "_waiter")

    _coroutine: Coroutine[Any, Any, Any] | None
    _task: asyncio.Task[Any] | None
    _waiter: Waiter[Any] | None

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Runs the coroutine until it waits or ends."""
        self._coroutine = coroutine
        self._waiter = None
        self._task = None
        self.resume()

    def resume(self) -> None:
        """Goes on with the coroutine: what it waited for is settled."""
        assert self._coroutine is not None
        try:
            awaited = self._coroutine.send(None)
        except StopIteration as end:
            self._coroutine = None
            self._waiter = None
            self._finished(end.value)
        except BaseException as error:  # noqa: BLE001
            # cancellation too is for the subclass to tell
            self._coroutine = None
            self._waiter = None
            try:
                self._failed(error)
            finally:
                # its frames hold the error and the request: only the
                # garbage collector would find them
                error.__traceback__ = None
        else:
            if isinstance(awaited, Waiter):
                self._waiter = awaited
                awaited._driver = self
            else:
                self._hand_over(awaited)

    def cancel(self) -> None:
        """Cancels what the coroutine waits for; without effect once it has ended."""
        if self._task is not None:
            self._task.cancel()
        elif self._waiter is not None:
            self._waiter.cancel()

    def _hand_over(self, awaited: Any) -> None:
        coroutine = self._coroutine
        self._coroutine = None
        assert coroutine is not None
        self._task = asyncio.get_running_loop().create_task(_go_on(coroutine, awaited))
        self._task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[Any]) -> None:
        self._task = None
        if task.cancelled():
            self._failed(asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            self._failed(error)
        else:
            self._finished(task.result())

    def _finished(self, value: Any) -> None:
        raise NotImplementedError

    def _failed(self, error: BaseException) -> None:
        raise NotImplementedError


class _BecomeTask:
    """What `become_task` yields: it means nothing to a Task but "go on"."""

    instance: ClassVar[_BecomeTask]

    def __await__(self) -> Generator[Any, Any, None]:
        yield self


async def become_task() -> None:
    """Makes sure that the running coroutine is inside an asyncio Task from here on."""
    try:
        asyncio.current_task()
        inside = asyncio.current_task() is not None
    except RuntimeError:
        inside = False
    if not inside:
        await _BecomeTask()


async def _go_on(coroutine: Coroutine[Any, Any, T], awaited: Any) -> T:
    return await _Started(coroutine, awaited)


class _Started(Generic[T]):
    """Awaits a coroutine that has been started by hand and has yielded `awaited`."""

    __slots__ = ("_awaited", "_coroutine")

    def __init__(self, coroutine: Coroutine[Any, Any, T], awaited: Any) -> None:
        self._coroutine = coroutine
        self._awaited = awaited

    def __await__(self) -> Generator[Any, Any, T]:
        awaited = self._awaited
        while True:
            try:
                try:
                    sent = (yield None) if isinstance(awaited, _BecomeTask) else (yield awaited)
                except GeneratorExit:
                    self._coroutine.close()
                    raise
                except BaseException as error:  # noqa: BLE001
                    # whatever the Task throws belongs to the coroutine
                    awaited = self._coroutine.throw(error)
                else:
                    awaited = self._coroutine.send(sent)
            except StopIteration as end:
                value: T = end.value
                return value
