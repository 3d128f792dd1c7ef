"""Links of a fallback chain that answer within the serving process, without another version.

A constant, a function, a remembered answer.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import math
import operator
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from gateway.core.plan import TensorSpec, VersionPlan
from gateway.core.protection import FallbackLink
from gateway.core.request import Array, InferenceRequest, Prediction
from gateway.core.waiter import Waiter
from gateway.serving.policies.fallback.fallback import LinkFailed, one_line
from gateway.serving.policies.fallback.last_answer import LastAnswers
from gateway.serving.policies.fallback.output_tensors import check_shape, output_tensor

_CALLS: Final = 4  # of one function at a time: one that hangs takes this many threads, and no more


class ConstantAnswer:
    """Answers every row alike (a version without a batch axis: with the whole tensors)."""

    def __init__(self, plan: VersionPlan, link: FallbackLink) -> None:
        """Raises ValueError, naming the output.

        Where the constant does not give each of the version's outputs as it is declared.
        """
        self.plan = link
        values = link.constant or {}
        names = [spec.name for spec in plan.outputs]
        if unknown := sorted(values.keys() - set(names)):
            raise ValueError(f"there is no output '{unknown[0]}', only {', '.join(names)}")
        if missing := [name for name in names if name not in values]:
            raise ValueError(f"output '{missing[0]}' is not given")
        self._batched = plan.batching.max_batch_size > 0
        self._rows = tuple(
            _constant(values[spec.name], spec, batched=self._batched) for spec in plan.outputs
        )

    async def answer(self, request: InferenceRequest) -> Prediction:
        """The constant, without a copy for each row."""
        form = request.form
        rows = tuple(self._rows[i] for i in form.outputs)
        if self._batched:
            rows = tuple(np.broadcast_to(row, (form.rows, *row.shape)) for row in rows)
        return Prediction(rows, {"served_by": self.plan.name})

    def __repr__(self) -> str:
        return f"<ConstantAnswer {len(self._rows)} outputs>"


def _constant(value: object, spec: TensorSpec, *, batched: bool) -> Array:
    array = output_tensor(value, spec)
    check_shape((1, *array.shape) if batched else array.shape, spec, 1 if batched else -1)
    array = array.copy()
    array.setflags(write=False)
    return array


class FunctionAnswer:
    """Answers with what a Python function returns, called in a thread of its own.

    A few at a time.
    """

    def __init__(self, plan: VersionPlan, link: FallbackLink) -> None:
        """Raises ValueError where the function cannot be imported."""
        self.plan = link
        self._function = _imported(link.function)
        self._outputs = {spec.name: spec for spec in plan.outputs}
        self._specs = plan.outputs
        self._batched = plan.batching.max_batch_size > 0
        self._running = 0

    async def answer(self, request: InferenceRequest) -> Prediction:
        """What the function returns, checked.

        Raises LinkFailed where it raises, does not return in time, or too many calls run already.
        """
        if self._running >= _CALLS:
            raise LinkFailed(f"{self._running} calls of it run already")
        loop = asyncio.get_running_loop()
        waiter = Waiter[Prediction]()
        # A thread a call (60 us), not a pool: nobody has to end a daemon thread, so
        # one that hangs holds up no stop.
        thread = threading.Thread(
            target=self._call, args=(request, waiter, loop), name=self.plan.name, daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            raise LinkFailed(f"no thread could be started for it: {error}") from None
        self._running += 1
        timer = (
            None
            if request.deadline == math.inf
            else loop.call_at(request.deadline, _too_late, waiter)
        )
        try:
            return await waiter
        finally:
            if timer is not None:
                timer.cancel()

    def _call(
        self, request: InferenceRequest, waiter: Waiter[Prediction], loop: asyncio.AbstractEventLoop
    ) -> None:
        try:  # the outcome gets no name here: an error's traceback holds this frame
            loop.call_soon_threadsafe(self._returned, waiter, self._outcome(request))
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    def _outcome(self, request: InferenceRequest) -> Prediction | LinkFailed:
        try:
            # Copies: aligned, writable, and the function's to keep.
            returned = self._function(
                {
                    name: array.copy()
                    for name, array in zip(request.form.names, request.inputs, strict=True)
                }
            )
        except BaseException as error:  # noqa: BLE001  # also SystemExit is its own affair
            return _raised(error)
        try:
            return Prediction(self._checked(returned, request), {"served_by": self.plan.name})
        except ValueError as error:
            return LinkFailed(str(error))

    def _checked(self, returned: object, request: InferenceRequest) -> tuple[Array, ...]:
        if not isinstance(returned, Mapping):
            # reported like the others
            raise ValueError(f"it returned {type(returned).__name__}, not arrays by output name")  # noqa: TRY004
        if unknown := [name for name in returned if name not in self._outputs]:
            raise ValueError(f"it returned '{unknown[0]}', which is no output")
        rows = request.form.rows if self._batched else -1
        arrays = []
        for index in request.form.outputs:
            spec = self._specs[index]
            if spec.name not in returned:
                raise ValueError(f"it did not return output '{spec.name}'")
            arrays.append(output_tensor(returned[spec.name], spec))
            check_shape(arrays[-1].shape, spec, rows)
        return tuple(arrays)

    def _returned(self, waiter: Waiter[Prediction], outcome: Prediction | LinkFailed) -> None:
        self._running -= 1
        if isinstance(outcome, LinkFailed):
            waiter.fail(outcome)
        else:
            waiter.settle(outcome)

    def __repr__(self) -> str:
        return f"<FunctionAnswer {self.plan.function}, {self._running} of {_CALLS} running>"


def _raised(error: BaseException) -> LinkFailed:
    failed = LinkFailed(f"it raised {type(error).__name__}: {one_line(error)}")
    failed.__cause__ = error
    return failed


def _too_late(waiter: Waiter[Prediction]) -> None:
    waiter.fail(LinkFailed("it did not return before the caller's deadline"))


def _imported(path: str) -> Callable[[dict[str, Array]], Any]:
    module_name, _, name = path.partition(":")
    if not module_name or not name:
        raise ValueError(f"'{path}' is not of the form module:function")
    try:
        function = operator.attrgetter(name)(importlib.import_module(module_name))
    except (Exception, SystemExit) as error:  # noqa: BLE001  # a module runs what it likes
        raise ValueError(
            f"{path} cannot be imported: {type(error).__name__}: {one_line(error)}"
        ) from None
    if not callable(function):
        # it is a value of the configuration
        raise ValueError(f"{path} is not a function")  # noqa: TRY004
    if inspect.iscoroutinefunction(function):
        raise ValueError(
            f"{path} is a coroutine function; it is called in a thread, so a plain one is wanted"
        )
    typed: Callable[[dict[str, Array]], Any] = function
    return typed


class CachedAnswer:
    """Answers what was last answered to the same input."""

    def __init__(self, link: FallbackLink, cache: LastAnswers) -> None:
        self.plan = link
        self._cache = cache

    async def answer(self, request: InferenceRequest) -> Prediction:
        """The remembered answer, with its age in milliseconds."""
        found = self._cache.find(request)
        if found is None:
            raise LinkFailed("no answer to this input is remembered")
        prediction, age_s = found
        return Prediction(
            prediction.outputs,
            {
                **(prediction.parameters or {}),
                "served_by": self.plan.name,
                "age_ms": int(age_s * 1000),
            },
        )

    def __repr__(self) -> str:
        return f"<CachedAnswer {self._cache!r}>"
