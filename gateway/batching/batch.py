"""One batch: the requests that travel together, from the moment they are taken to their answers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from gateway.batching.collate import join, padded, split, wanted_outputs
from gateway.core.request import Array, InferenceRequest, Prediction


class Runner(Protocol):
    """What runs a batch; blocks."""

    def run(self, feed: dict[str, Array], wanted: tuple[int, ...], rows: int) -> list[Array]:
        """The wanted outputs by index; raises `ModelFailed`. `rows` is the length of the batch axis, -1 where there is none."""
        ...


class Batch:
    """Requests of one line and what became of them. Times are nanoseconds of the monotonic clock."""

    __slots__ = ("collated_ns", "error", "outputs", "padded_rows", "requests", "rows", "run_ns", "started_ns", "wanted")

    def __init__(self, requests: Sequence[InferenceRequest], rows: int, pad_to: Sequence[int]) -> None:
        self.requests, self.rows = requests, rows
        self.padded_rows = padded(rows, pad_to) if pad_to else rows
        self.wanted = wanted_outputs(requests)
        self.outputs: list[Array] = []
        self.error: Exception | None = None

    def run(self, runner: Runner) -> None:
        """Joins the inputs and runs the model; blocks, and keeps an error instead of raising it."""
        clock = time.monotonic_ns
        self.started_ns = self.collated_ns = clock()
        try:
            feed = join(self.requests, self.rows, self.padded_rows)
            self.collated_ns = clock()
            self.outputs = runner.run(feed, self.wanted, self.padded_rows)
        except Exception as error:  # noqa: BLE001  # it belongs to the requests, not to the worker that runs them
            self.error = error
        self.run_ns = clock()

    def predictions(self) -> list[Prediction]:
        """One a request, in their order."""
        if len(self.requests) == 1 and self.padded_rows == self.rows:
            return [Prediction(tuple(self.outputs))]
        return split(self.outputs, self.wanted, self.requests)

    def __repr__(self) -> str:
        return f"<Batch {len(self.requests)} requests, {self.rows} rows>"
