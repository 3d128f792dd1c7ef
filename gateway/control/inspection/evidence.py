"""Whether a model may be batched, as the inspection process finds out.

Rows must be answered together as they are apart. A first axis that is free shows nothing: it may be
time, or the model may look over it (a mean, a softmax, the range that a dynamic quantisation takes
its scale from). So distinct rows of different scale are run alone, then together in several counts
and orders, and compared (`gateway.control.inspection.trials`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from gateway.control.inspection.shown import REAL_ROWS
from gateway.control.inspection.trials import NoEvidence, Trials
from gateway.core.errors import ModelFailed
from gateway.core.plan import GraphTensor
from gateway.onnx.graph_facts import GraphFacts
from gateway.onnx.samples import find_sample
from gateway.onnx.session import Session

Array = np.ndarray[Any, Any]
Feed = dict[str, Array]

_NO_FACTS: Final = GraphFacts()


@dataclass(frozen=True, slots=True)
class Evidence:
    """What trial runs showed, and the inputs the model ran on."""

    batchable: bool
    sentence: str
    feed: Feed = field(default_factory=dict)
    """Inputs of a run that succeeded; empty where none did (and where the model has no inputs)."""
    rows: int = 0
    """Rows in the feed, each of which runs alone; 0: it is one request without a batch axis."""
    ran: bool = True
    """A run succeeded."""


def weigh(
    model: Session,
    reference: Mapping[str, Array] | None = None,
    facts: GraphFacts = _NO_FACTS,
    *,
    seed: int = 0,
    budget_s: float = 1.0,
) -> Evidence:
    """The evidence for batching a model.

    It takes about `budget_s` seconds, up to ten times as many where single rows are that slow.
    `reference` is as `load_reference` makes it. Equal seeds try equal rows. An operator that is
    known to couple rows (`facts`) decides by itself: the more a graph keeps to itself, the less of
    it shows.
    """
    rng = np.random.default_rng(seed)
    trials = Trials(model, reference or {}, rng, budget_s, facts)
    reason = axes_against(model.inputs, model.outputs) or _coupling(facts)
    if not reason:
        try:
            return Evidence(True, trials.compare(), trials.feed, trials.rows)
        except (NoEvidence, ModelFailed) as against:
            reason = str(against)
    if trials.rows:
        return Evidence(False, reason, trials.feed, trials.rows)
    try:
        _, feed, _ = find_sample(trials.run, model.inputs, None, reference, rng, search_s=budget_s)
    except ModelFailed as failure:
        sentence = f"{reason}; no trial run succeeded: {failure}"
        # real rows, where there are some, did not help either
        return Evidence(False, sentence if reference else f"{sentence}; {REAL_ROWS}", ran=False)
    return Evidence(False, reason, feed)


def _coupling(facts: GraphFacts) -> str:
    if not facts.coupling:
        return ""
    return (
        f"{facts.coupling} takes its scale from all rows of a batch, so rows depend on the others"
    )


def axes_against(inputs: Sequence[GraphTensor], outputs: Sequence[GraphTensor]) -> str:
    """What in the declared shapes rules out a batch axis; empty: all have a free first axis.

    An output of one row may have more: converters (onnxmltools for LightGBM) declare a first axis
    of 1 for what has as many rows as the input. The trial runs know better.
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
        if isinstance(tensor.shape[0], int) and not (side == "output" and tensor.shape[0] == 1):
            return f"{label} '{tensor.name}' has a fixed first axis ({tensor.shape[0]})"
    inner = {size for _, tensor in tensors for size in tensor.shape[1:] if isinstance(size, str)}
    for side, tensor in tensors:
        if tensor.shape[0] in inner:  # an adjacency matrix: [nodes, nodes]
            return (
                f"the first axis of {side} '{tensor.name}', "
                f"{tensor.shape[0]!r}, is an inner axis elsewhere"
            )
    return ""
