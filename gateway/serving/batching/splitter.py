"""A request of more rows than a batch holds is run in parts, within one serving process."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Final

import numpy as np

from gateway.core.predictor import Description, Predictor
from gateway.core.request import InferenceRequest, Prediction, RequestForm
from gateway.core.waiter import become_task

# parts under way at a time: those of others come in between, and the
# queue is not filled by one request
_AHEAD: Final = 4


class Part(InferenceRequest):
    """All the rows that a run holds, of a request that has more to come.

    It is not counted as a request: the last part is.
    """

    __slots__ = ()

    counted = False


class Splitter:
    """A Predictor that cuts large requests into parts for `inner` and joins their answers.

    A request is large that has more than `max_rows` rows.
    """

    def __init__(self, inner: Predictor, max_rows: int) -> None:
        self._inner = inner
        self._max_rows = max_rows

    async def predict(self, request: InferenceRequest) -> Prediction:
        """The answer to all rows; the first part that fails fails the request."""
        if request.form.rows <= self._max_rows:
            return await self._inner.predict(request)
        await become_task()
        answers: list[Prediction] = []
        under_way: deque[asyncio.Task[Prediction]] = deque()
        try:
            for part in self._parts(request):
                if len(under_way) == _AHEAD:
                    answers.append(await under_way.popleft())
                under_way.append(asyncio.ensure_future(self._inner.predict(part)))
            while under_way:
                answers.append(await under_way.popleft())
        finally:
            for task in under_way:
                task.cancel()
        outputs = tuple(
            np.concatenate(arrays)
            for arrays in zip(*(answer.outputs for answer in answers), strict=True)
        )
        return Prediction(outputs, answers[0].parameters)

    def describe(self) -> Description:
        """The limit and what is inside."""
        return Description(
            "Split", f"more than {self._max_rows} rows run in parts", self._inner.describe()
        )

    def _parts(self, request: InferenceRequest) -> Iterator[InferenceRequest]:
        form = request.form
        for start in range(0, form.rows, self._max_rows):
            rows = min(self._max_rows, form.rows - start)
            part = RequestForm(
                names=form.names,
                key=form.key,
                rows=rows,
                input_bytes=form.input_bytes * rows // form.rows,
                outputs=form.outputs,
                parameters=form.parameters,
                priority=form.priority,
                timeout_s=form.timeout_s,
            )
            inputs = tuple(array[start : start + rows] for array in request.inputs)
            kind = Part if start + rows < form.rows else InferenceRequest
            yield kind(part, inputs, request.arrived, request.deadline, request.id, request)
