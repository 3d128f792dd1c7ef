"""Whether trial rows were answered so that they show anything, in the inspection process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from gateway.control.inspection.comparison import differs, tells
from gateway.core.plan import GraphTensor
from gateway.onnx.graph_facts import GraphFacts

Array = np.ndarray[Any, Any]

REAL_ROWS: Final = (
    "a reference sample of real inputs may show it (gateway reference MODEL --from rows.csv)"
)
"""What to do where made-up rows show nothing."""
_DISCRETE: Final = frozenset(
    f"tensor({kind})"
    for kind in (
        "bool", "string", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    )
)  # fmt: skip


class Shown:
    """What the answers to trial rows have shown of each output, whatever agreed.

    `silent`: outputs that were NaN or infinite all over; `alike`: outputs that were the same for
    all rows.
    """

    def __init__(self, outputs: Sequence[GraphTensor], facts: GraphFacts) -> None:
        self._outputs = outputs
        self._facts = facts
        self.silent = {output.name for output in outputs}
        self.alike = set(self.silent)

    def note(self, name: str, answers: Array) -> None:
        """Answers to several rows, one behind the other."""
        if tells(answers):
            self.silent.discard(name)
        if differs(answers):
            self.alike.discard(name)

    def lacking(self, tried: str) -> str:
        """Why rows may depend on one another though no trial showed it; empty: nothing is lacking.

        There are four cases: an output was never a number; all outputs were alike for all rows; one
        was, and the graph has an operator that may look over rows; all outputs are labels or the
        like, in which little shows, and it has one.
        """
        reducing = self._facts.reducing
        if self.silent:
            return (
                f"output '{min(self.silent)}' was NaN or infinite all over for {tried}, which "
                "shows nothing"
            )
        if len(self.alike) == len(self._outputs):
            return (
                f"all rows were answered alike for {tried}, which shows nothing of what an "
                f"answer depends on: {REAL_ROWS}"
            )
        if reducing and self.alike:
            return (
                f"output '{min(self.alike)}' was alike for all rows of {tried}, and the graph's "
                f"{reducing} may look over rows: {REAL_ROWS}"
            )
        if reducing and all(output.onnx_type in _DISCRETE for output in self._outputs):
            return (
                "all outputs are whole numbers, booleans or strings, in which little shows, and "
                f"the graph's {reducing} may look over rows"
            )
        return ""

    def __repr__(self) -> str:
        return f"<Shown {len(self.silent)} silent, {len(self.alike)} alike>"
