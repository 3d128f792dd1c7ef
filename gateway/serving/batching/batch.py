"""One batch: the requests that are run together, from being taken to being answered.

It lives in one serving process; the dispatcher owns it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from gateway.core.instance import Room, Runner
from gateway.core.outcome import Outcome
from gateway.core.request import Array, InferenceRequest, Prediction, Run
from gateway.serving.batching.collate import join, padded, split, wanted_outputs


class Batch:
    """Requests of one line and what became of them.

    An instance sees a `gateway.core.instance.Work`, a listener a
    `gateway.core.batch_listener.BatchView`, where the attributes are described.
    """

    __slots__ = (
        "collated_ns",
        "elapsed_s",
        "ended_ns",
        "error",
        "generation",
        "instance",
        "last_run",
        "outcome",
        "outputs",
        "request_rows",
        "requests",
        "rows",
        "run_again",
        "run_ns",
        "started_ns",
        "wanted",
    )

    # set at the end of the run, and when it is settled
    elapsed_s: float
    ended_ns: int

    def __init__(
        self,
        requests: Sequence[InferenceRequest],
        rows: int,
        pad_to: Sequence[int],
        instance: str = "",
    ) -> None:
        self.requests = requests
        self.request_rows = rows
        self.rows = padded(rows, pad_to) if pad_to else rows
        self.wanted = wanted_outputs(requests)
        self.outputs: list[Array] = []
        self.error: Exception | None = None
        self.started_ns = 0
        self.run_ns = 0
        self.last_run = Run()
        self.instance = instance
        self.outcome: Outcome | None = None
        self.generation = -1
        self.run_again: Sequence[InferenceRequest] = ()

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
        self.last_run.started_ns = self.started_ns
        feed = join(self.requests, self.request_rows, self.rows, room)
        self.collated_ns = time.monotonic_ns()
        return feed

    def finish(self, outputs: list[Array]) -> None:
        """The wanted outputs, in that order."""
        self.outputs = outputs
        self.run_ns = time.monotonic_ns()
        self.elapsed_s = (self.run_ns - self.started_ns) * 1e-9

    def fail(self, error: Exception) -> None:
        """What it failed with."""
        self.error = error
        self.run_ns = time.monotonic_ns()
        self.started_ns = self.started_ns or self.run_ns
        self.elapsed_s = (self.run_ns - self.started_ns) * 1e-9

    @property
    def number(self) -> int:
        """By which it is written down; 0: it is not."""
        return self.last_run.number

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
        return sum([request.form.input_bytes for request in self.requests])

    def predictions(self) -> list[Prediction]:
        """One a request, in their order; raises where the outputs cannot be split."""
        if len(self.requests) == 1 and self.rows == self.request_rows:
            return [Prediction(tuple(self.outputs))]
        return split(self.outputs, self.wanted, self.requests)

    def __repr__(self) -> str:
        return f"<Batch {len(self.requests)} requests, {self.request_rows} rows>"
