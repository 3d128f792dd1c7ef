"""Trial runs of rows together and apart, in the inspection process.

They show whether rows answered together are what rows are answered apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec.structs import replace

from gateway.control.inspection.comparison import TOLERANCE, difference
from gateway.control.inspection.shown import Shown
from gateway.control.inspection.single_rows import SingleRows, taken
from gateway.core.errors import ModelFailed
from gateway.onnx.graph_facts import GraphFacts, known_words
from gateway.onnx.known_rows import known_rows
from gateway.onnx.sample_kind import SampleKind, Values
from gateway.onnx.samples import find_sample, sample_rows
from gateway.onnx.session import Session

Array = np.ndarray[Any, Any]
Feed = dict[str, Array]

_LARGE_BATCH = 64
_LARGE_BYTES = 64 << 20
_ROUNDING_MOST = 0.01
_MORE_ROUNDS = 3  # of other kinds of rows, while what was answered alike shows too little
_MANY_INTEGERS = 1000
_ROUNDING = (
    "no row's answer depends on the rows beside it, so it is rounding that grows: a reference "
    "sample of real inputs may agree"
)


class NoEvidence(Exception):
    """Why rows are not known to be answered together as they are apart."""


class Trials:
    """The runs for one model, whose answers to rows together and apart are compared.

    `rows` and `feed` are what was found to run row by row; 0 and empty until then.
    """

    def __init__(
        self,
        model: Session,
        reference: Mapping[str, Array],
        rng: np.random.Generator,
        budget_s: float,
        facts: GraphFacts,
    ) -> None:
        self._model = model
        self._reference = dict(reference)
        self._words = known_words(model.inputs, facts)
        self._rows = known_rows(model.inputs, facts.tables)
        self._rng = rng
        self._budget_s = budget_s
        self._single = SingleRows(self.run, budget_s)
        self.feed: Feed = {}
        self.rows = 0
        self._largest = 0.0
        self._sizes: set[int] = set()
        self._shown = Shown(model.outputs, facts)

    def run(self, feed: Mapping[str, Array]) -> list[Array]:
        """All outputs of one run; raises `ModelFailed`."""
        return self._model.run(feed, self._model.output_names)

    def compare(self) -> str:
        """Tries the kinds of rows that there are; a sentence on what agreed.

        Raises `NoEvidence` with what did not.
        """
        kind, feed, apart = self._first_sample()
        self.feed = taken(feed, np.arange(len(apart)))
        self.rows = len(apart)
        self._together(self.feed, apart)
        tried = [kind.values.value]
        for other in self._other_kinds(kind):
            self._try_kind(other, tried, self._words | self._reference)
        known = (Values.KNOWN,) if self._rows else ()
        for values in (*known, Values.LARGE, Values.POSITIVE) * _MORE_ROUNDS:
            if self._shown.alike and self._single.affords(100) and self._lacking(tried):
                wide = replace(kind, values=values, integer_limit=_MANY_INTEGERS)
                self._try_kind(wide, tried, self._words | self._rows)
        if lacking := self._lacking(tried):
            raise NoEvidence(lacking)
        return self._agreement(tried)

    def _try_kind(self, kind: SampleKind, tried: list[str], given: Mapping[str, Array]) -> None:
        """Compares rows of another kind, where the model runs on them."""
        feed = sample_rows(self._model.inputs, self.rows, given, self._rng, kind)
        try:
            apart = self._apart(feed)
        except ModelFailed:
            return  # the first kind ran: this one does not suit the model
        self._together(feed, apart)
        name = kind.values.value if not kind.optional else "optional inputs given"
        if name not in tried:
            tried.append(name)

    def _lacking(self, tried: list[str]) -> str:
        return self._shown.lacking(", ".join(tried))

    def _first_sample(self) -> tuple[SampleKind, Feed, list[list[Array]]]:
        given = self._words | self._reference
        try:
            return find_sample(
                self._apart, self._model.inputs, 5, given, self._rng, search_s=self._budget_s
            )
        except ModelFailed as failure:
            raise NoEvidence(f"no row ran alone: {failure}") from None

    def _other_kinds(self, kind: SampleKind) -> list[SampleKind]:
        """The kinds worth trying besides the first.

        All inputs, where some may be left out; real values, where there are any; positive ones,
        where there is time or need.
        """
        kinds = (
            [replace(kind, optional=True)]
            if any(tensor.optional for tensor in self._model.inputs)
            else []
        )
        values = [Values.REFERENCE] if self._reference else []
        if self._single.affords(200) or self._shown.silent:
            values.append(Values.POSITIVE)
        return kinds + [replace(kind, values=value) for value in values if value is not kind.values]

    def _apart(self, feed: Feed) -> list[list[Array]]:
        """The answers to single rows, to as many as there is time for."""
        answers = self._single.answers(feed, self.rows)
        if len(answers) == 1:  # nothing can be together
            self.feed = taken(feed, np.array([0]))
            self.rows = 1
            row_s = self._single.row_s
            raise NoEvidence(f"one row alone takes {row_s:.1f} s, too long for trial runs")
        return answers

    def _together(self, feed: Feed, apart: list[list[Array]]) -> None:
        """Runs the rows in several counts and orders, comparing each answer with its row's own."""
        self._check_alone(apart)
        for order in self._orders(len(apart), feed):
            batch = taken(feed, order)
            try:
                answers = self.run(batch)
            except ModelFailed as failure:
                raise NoEvidence(
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
        if self._single.affords(_LARGE_BATCH * 4) and row_bytes * _LARGE_BATCH <= _LARGE_BYTES:
            orders.append(np.arange(_LARGE_BATCH) % rows)
        return orders

    def _check_alone(self, apart: list[list[Array]]) -> None:
        for index, name in enumerate(self._model.output_names):
            shapes = {answer[index].shape for answer in apart}
            if any(shape[:1] != (1,) for shape in shapes):
                raise NoEvidence(
                    f"output '{name}' has shape "
                    f"{list(next(s for s in shapes if s[:1] != (1,)))} where one row was asked"
                )
            if len(shapes) > 1:
                raise NoEvidence(
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
                raise NoEvidence(
                    f"output '{name}' has shape {list(got.shape)} for {len(order)} rows, "
                    f"{list(want.shape)} were expected"
                )
            far = difference(got, want)
            if far > TOLERANCE:
                raise NoEvidence(self._disagreement(index, far, got, batch))
            self._largest = max(self._largest, far)
            self._shown.note(name, want)

    def _disagreement(self, index: int, far: float, got: Array, batch: Feed) -> str:
        name = self._model.output_names[index]
        if difference(self.run(batch)[index], got) > TOLERANCE:
            return f"output '{name}' differs when the same rows are run again"
        text = f"output '{name}' differs between rows together and rows apart"
        if got.dtype.kind in "biuOUS":
            return f"{text} in values that must be equal"
        if not np.isfinite(far):
            return f"{text} in what is NaN or infinite"
        text += f" by {far:.2g} of its largest value ({TOLERANCE:g} is allowed)"
        only_rounds = far <= _ROUNDING_MOST and not self._neighbours_count(index)
        return f"{text}; {_ROUNDING}" if only_rounds else text

    def _neighbours_count(self, index: int) -> bool:
        """A row's answer changes with the row beside it, in any bit.

        Where it does not, batches only round otherwise than single rows. Every row is tried, before
        and behind its neighbour: where a scale is taken over the batch, the row that sets it sees
        no change.
        """
        if self.rows < 3:  # noqa: PLR2004
            return True
        for row in range(self.rows):
            others = [other for other in range(self.rows) if other != row]
            for place in (0, 1):
                answers = {
                    self._answer_beside(index, row, beside, place)
                    for beside in others[:4] + others[-1:]
                }
                if len(answers) > 1:
                    return True
        return False

    def _answer_beside(self, index: int, row: int, beside: int, place: int) -> bytes:
        pair = taken(self.feed, np.roll([row, beside], place))
        answer: Array = self.run(pair)[index][place]
        return answer.tobytes()

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
