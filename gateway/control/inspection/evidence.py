"""Whether a model may be batched: rows answered together must be what rows are answered apart.

A first axis that is free says nothing: it may be time, or the model may look over it (a mean, a
softmax, the range a dynamic quantisation takes its scale from). So distinct rows of different scale
are run alone, then together in several counts and orders, and compared.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from gateway.control.inspection.comparison import TOLERANCE, difference, tells
from gateway.core.errors import ModelFailed
from gateway.core.plan import GraphTensor
from gateway.onnx.samples import SampleKind, Values, find_sample, sample_rows

Array = np.ndarray[Any, Any]
Feed = dict[str, Array]

_MANY_RUNS = 20
_LARGE_BATCH = 64
_LARGE_BYTES = 64 << 20
_ROUNDING_MOST = 0.01
_ROUNDING = (
    "no row's answer depends on the rows beside it, so it is rounding that grows: a reference "
    "sample of real inputs may agree"
)


class Model(Protocol):
    """What is asked of an open model."""

    inputs: tuple[GraphTensor, ...]
    outputs: tuple[GraphTensor, ...]
    output_names: list[str]

    def run(self, feed: Mapping[str, Array], wanted: Sequence[str]) -> list[Array]:
        """The wanted outputs; raises ModelFailed."""
        ...


@dataclass(frozen=True, slots=True)
class Evidence:
    """What trial runs showed, and the inputs the model ran on."""

    batchable: bool
    sentence: str
    feed: Feed = field(default_factory=dict)
    """Inputs of a run that succeeded; empty where none did (and where the model has no inputs)."""
    rows: int = 0
    """Rows in the feed, each of which runs alone.

    0: the feed is one request of a model without a batch axis.
    """
    ran: bool = True
    """A run succeeded."""


class _NoEvidence(Exception):
    """Why rows are not known to be answered together as they are apart."""


def weigh(
    model: Model,
    reference: Mapping[str, Array] | None = None,
    *,
    seed: int = 0,
    budget_s: float = 1.0,
) -> Evidence:
    """The evidence for batching a model.

    It takes about `budget_s`, up to ten times as much where single rows are that slow.

    `reference` as `gateway.onnx.reference` makes it. Equal seeds try equal rows.
    """
    rng = np.random.default_rng(seed)
    trials = _Trials(model, reference or {}, rng, budget_s)
    reason = axes_against(model.inputs, model.outputs)
    if not reason:
        try:
            return Evidence(True, trials.compare(), trials.feed, trials.rows)
        except (_NoEvidence, ModelFailed) as against:
            reason = str(against)
    if trials.rows:
        return Evidence(False, reason, trials.feed, trials.rows)
    try:
        _, feed, _ = find_sample(trials.run, model.inputs, None, reference, rng, search_s=budget_s)
    except ModelFailed as failure:
        return Evidence(False, f"{reason}; no trial run succeeded: {failure}", ran=False)
    return Evidence(False, reason, feed)


def axes_against(inputs: Sequence[GraphTensor], outputs: Sequence[GraphTensor]) -> str:
    """What in the declared shapes rules out a batch axis.

    Empty where every input and output has a free first axis.
    """
    if not inputs:
        return "the model has no inputs"
    tensors = [
        *(("input", tensor) for tensor in inputs),
        *(("output", tensor) for tensor in outputs),
    ]
    for side, tensor in tensors:
        label = f"optional {side}" if tensor.optional else side
        if not tensor.shape:
            return f"{label} '{tensor.name}' has no axes"
        if isinstance(tensor.shape[0], int):
            return f"{label} '{tensor.name}' has a fixed first axis ({tensor.shape[0]})"
    inner = {size for _, tensor in tensors for size in tensor.shape[1:] if isinstance(size, str)}
    for side, tensor in tensors:
        if tensor.shape[0] in inner:  # an adjacency matrix: [nodes, nodes]
            return (
                f"the first axis of {side} '{tensor.name}', "
                f"{tensor.shape[0]!r}, is an inner axis elsewhere"
            )
    return ""


class _Trials:
    """The runs for one model.

    `rows` and `feed` are what was found to run row by row; 0 and empty until then.
    """

    def __init__(
        self,
        model: Model,
        reference: Mapping[str, Array],
        rng: np.random.Generator,
        budget_s: float,
    ) -> None:
        self._model = model
        self._reference = reference
        self._rng = rng
        self._budget_s = budget_s
        self.feed: Feed = {}
        self.rows = 0
        self._row_s = 0.0
        self._largest = 0.0
        self._sizes: set[int] = set()
        self._silent = {output.name for output in model.outputs}

    def run(self, feed: Mapping[str, Array]) -> list[Array]:
        return self._model.run(feed, self._model.output_names)

    def compare(self) -> str:
        """Tries the kinds of rows there are.

        A sentence on what agreed, `_NoEvidence` with what did not.
        """
        try:
            kind, feed, apart = find_sample(
                self._apart,
                self._model.inputs,
                5,
                self._reference,
                self._rng,
                search_s=self._budget_s,
            )
        except ModelFailed as failure:
            raise _NoEvidence(f"no row ran alone: {failure}") from None
        self.feed = _taken(feed, np.arange(len(apart)))
        self.rows = len(apart)
        self._together(self.feed, apart)
        tried = [kind.values.value]
        for other in self._other_kinds(kind):
            feed = sample_rows(self._model.inputs, self.rows, self._reference, self._rng, other)
            try:
                apart = self._apart(feed)
            except ModelFailed:
                continue  # the first kind ran: this one does not suit the model
            self._together(feed, apart)
            tried.append(other.values.value if not other.optional else "optional inputs given")
        if self._silent:
            raise _NoEvidence(
                f"output '{min(self._silent)}' was NaN or infinite all over for "
                f"{', '.join(tried)}, which shows nothing"
            )
        return self._agreement(tried)

    def _other_kinds(self, kind: SampleKind) -> list[SampleKind]:
        """Real values where there are any, positive ones where there is time or need.

        All inputs where some may be left out.
        """
        kinds = (
            [replace(kind, optional=True)]
            if any(tensor.optional for tensor in self._model.inputs)
            else []
        )
        values = [Values.REFERENCE] if self._reference else []
        if self._affords(200) or self._silent:
            values.append(Values.POSITIVE)
        return kinds + [replace(kind, values=value) for value in values if value is not kind.values]

    def _apart(self, feed: Feed) -> list[list[Array]]:
        """The answers to single rows, to as many as there is time for."""
        self._row_s = np.inf
        answers = [self._row(feed, 0)]
        if not self._affords(_MANY_RUNS):
            # the first run of a graph may be slower than any after it
            answers = [self._row(feed, 0)]
        rows = self.rows or self._affordable_rows()
        if rows < 2:  # noqa: PLR2004  # nothing can be together
            self.feed = _taken(feed, np.array([0]))
            self.rows = 1
            raise _NoEvidence(f"one row alone takes {self._row_s:.1f} s, too long for trial runs")
        return answers + [self._row(feed, row) for row in range(1, rows)]

    def _row(self, feed: Feed, row: int) -> list[Array]:
        single = _taken(feed, np.array([row]))
        started = time.perf_counter()
        answers = self.run(single)
        self._row_s = min(self._row_s, time.perf_counter() - started)
        return answers

    def _affordable_rows(self) -> int:
        """Five rows are some 20 row runs with their batches, three 9.

        Two, 4 in all, may take ten times the budget.
        """
        if self._affords(_MANY_RUNS):
            return 5
        return 3 if self._affords(9) else 2 if self._row_s * 4 <= 10 * self._budget_s else 0

    def _affords(self, row_runs: int) -> bool:
        return self._row_s * row_runs <= self._budget_s

    def _together(self, feed: Feed, apart: list[list[Array]]) -> None:
        """Runs the rows in several counts and orders.

        Compares each answer with its row's own.
        """
        self._check_alone(apart)
        for order in self._orders(len(apart), feed):
            batch = _taken(feed, order)
            try:
                answers = self.run(batch)
            except ModelFailed as failure:
                raise _NoEvidence(
                    f"rows run alone, but {len(order)} together fail: {failure}"
                ) from None
            self._check(answers, apart, order, batch)
            self._sizes.add(len(order))

    def _orders(self, rows: int, feed: Feed) -> list[Array]:
        orders = [np.arange(rows)[::-1], self._rng.permutation(rows)]
        if rows == 2:  # noqa: PLR2004
            return orders[:1]
        if rows >= 5:  # noqa: PLR2004
            orders += [np.array([0, 1]), np.array([2, 3, 4])]
        row_bytes = sum(array.nbytes for array in feed.values()) // rows
        if self._affords(_LARGE_BATCH * 4) and row_bytes * _LARGE_BATCH <= _LARGE_BYTES:
            orders.append(np.arange(_LARGE_BATCH) % rows)
        return orders

    def _check_alone(self, apart: list[list[Array]]) -> None:
        for index, name in enumerate(self._model.output_names):
            shapes = {answer[index].shape for answer in apart}
            if any(shape[:1] != (1,) for shape in shapes):
                raise _NoEvidence(
                    f"output '{name}' has shape "
                    f"{list(next(s for s in shapes if s[:1] != (1,)))} where one row was asked"
                )
            if len(shapes) > 1:
                raise _NoEvidence(
                    f"output '{name}' has another shape from row to row: "
                    f"{', '.join(str(list(s)) for s in sorted(shapes))}"
                )

    def _check(
        self, answers: list[Array], apart: list[list[Array]], order: Array, batch: Feed
    ) -> None:
        for index, name in enumerate(self._model.output_names):
            got = answers[index]
            want = np.concatenate([apart[row][index] for row in order])
            if got.shape != want.shape:
                raise _NoEvidence(
                    f"output '{name}' has shape {list(got.shape)} for {len(order)} rows, "
                    f"{list(want.shape)} were expected"
                )
            far = difference(got, want)
            if far > TOLERANCE:
                raise _NoEvidence(self._disagreement(index, far, got, batch))
            self._largest = max(self._largest, far)
            if tells(want):
                self._silent.discard(name)

    def _disagreement(self, index: int, far: float, got: Array, batch: Feed) -> str:
        name = self._model.output_names[index]
        if difference(self.run(batch)[index], got) > TOLERANCE:
            return f"output '{name}' differs when the same rows are run again"
        text = f"output '{name}' differs between rows together and rows apart"
        if got.dtype.kind in "biuOUS":
            return f"{text} in values that must be equal"
        text += (
            f" by {far:.2g} of its largest value ({TOLERANCE:g} is allowed)"
            if np.isfinite(far)
            else " in what is NaN or infinite"
        )
        return (
            f"{text}; {_ROUNDING}"
            if far <= _ROUNDING_MOST and not self._neighbours_count(index)
            else text
        )

    def _neighbours_count(self, index: int) -> bool:
        """A row's answer changes with the row beside it.

        Where not even a bit does, batches only round otherwise than single rows.

        Every row is tried, before and behind its neighbour: where a scale is taken over the batch,
        the row that sets it sees no change.
        """
        if self.rows < 3:  # noqa: PLR2004
            return True
        for row in range(self.rows):
            others = [other for other in range(self.rows) if other != row]
            for place in (0, 1):
                answers = {
                    self.run(_taken(self.feed, np.roll([row, beside], place)))[index][
                        place
                    ].tobytes()
                    for beside in others[:4] + others[-1:]
                }
                if len(answers) > 1:
                    return True
        return False

    def _agreement(self, tried: list[str]) -> str:
        seen = (
            f"differ by at most {self._largest:.1g} of an output's largest value"
            if self._largest
            else "do not differ"
        )
        *sizes, last = sorted(self._sizes)
        batches = (
            f"batches of {', '.join(map(str, sizes))} and {last}" if sizes else f"batches of {last}"
        )
        rows = f"{self.rows} rows of different scale ({', '.join(tried)})"
        return f"{rows} {seen} between {batches} and runs of their own ({TOLERANCE:g} is allowed)"


def _taken(feed: Mapping[str, Array], order: Array) -> Feed:
    """These rows of a feed, in this order."""
    return {name: array[order] for name, array in feed.items()}
