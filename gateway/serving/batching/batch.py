"""One batch: the requests that travel together, from the moment they are taken to their answers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from gateway.core.instance import Room
from gateway.core.request import Array, InferenceRequest, Prediction, Run
from gateway.serving.batching.collate import join, padded, split, wanted_outputs


class Runner(Protocol):
    """What runs a batch; blocks."""

    def run(self, feed: dict[str, Array], wanted: tuple[int, ...], rows: int) -> list[Array]:
        """The wanted outputs by index; raises `ModelFailed`.

        `rows` is the length of the batch axis, -1 where there is none.
        """
        ...


class Batch:
    """Requests of one line and what became of them: a `gateway.core.instance.Work`.

    Times are nanoseconds of the monotonic clock.

    `told`: what its requests keep of it.
    `rows` has the padding in it, `request_rows` has not; both are -1 where there is no batch axis.
    """

    __slots__ = (
        "collated_ns",
        "error",
        "outputs",
        "request_rows",
        "requests",
        "rows",
        "run_ns",
        "started_ns",
        "told",
        "wanted",
    )

    def __init__(
        self, requests: Sequence[InferenceRequest], rows: int, pad_to: Sequence[int]
    ) -> None:
        self.requests = requests
        self.request_rows = rows
        self.rows = padded(rows, pad_to) if pad_to else rows
        self.wanted = wanted_outputs(requests)
        self.outputs: list[Array] = []
        self.error: Exception | None = None
        self.started_ns = 0
        self.told = Run()

    def run(self, runner: Runner) -> None:
        """Joins the inputs and runs the model; blocks, and keeps an error instead of raising it."""
        try:
            self.finish(runner.run(self.collate(), self.wanted, self.rows))
        except Exception as error:  # noqa: BLE001
            # it belongs to the requests, not to the worker that runs them
            self.fail(error)

    def collate(self, room: Room | None = None) -> dict[str, Array]:
        """The inputs of all requests, joined, in `room` where it is given.

        The run counts from here.
        """
        self.started_ns = time.monotonic_ns()
        self.collated_ns = self.started_ns
        self.told.started_ns = self.started_ns
        feed = join(self.requests, self.request_rows, self.rows, room)
        self.collated_ns = time.monotonic_ns()
        return feed

    def finish(self, outputs: list[Array]) -> None:
        """The wanted outputs, in that order."""
        self.outputs = outputs
        self.run_ns = time.monotonic_ns()

    def fail(self, error: Exception) -> None:
        """What it failed with."""
        self.error = error
        self.run_ns = time.monotonic_ns()
        self.started_ns = self.started_ns or self.run_ns

    @property
    def number(self) -> int:
        """By which it is written down; 0: it is not."""
        return self.told.number

    @property
    def alone(self) -> bool:
        """One request has it to itself."""
        return len(self.requests) == 1

    @property
    def deadline(self) -> float:
        """When the last of the callers stops waiting."""
        return max(request.deadline for request in self.requests)

    @property
    def input_bytes(self) -> int:
        """Of all requests."""
        return sum(request.form.input_bytes for request in self.requests)

    @property
    def run_s(self) -> float:
        """How long it ran, joining included."""
        return (self.run_ns - self.started_ns) * 1e-9

    def predictions(self) -> list[Prediction]:
        """One a request, in their order."""
        if len(self.requests) == 1 and self.rows == self.request_rows:
            return [Prediction(tuple(self.outputs))]
        return split(self.outputs, self.wanted, self.requests)

    def __repr__(self) -> str:
        return f"<Batch {len(self.requests)} requests, {self.request_rows} rows>"
