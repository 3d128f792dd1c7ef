"""What a graph is made of, as far as batching evidence asks, in the inspection process.

Trial runs show how rows are answered; a graph shows what trial runs may overlook. An operator that
takes a scale from the whole batch couples its rows, however little of it a label shows. And a graph
names the words that it knows, without which all strings are answered alike.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from gateway.core.plan import GraphTensor
from gateway.onnx.graph_parts import constants_in_graph, names_in_graph
from gateway.onnx.known_rows import constant

Array = np.ndarray[Any, Any]

COUPLING: Final = frozenset(
    {"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"}
)
"""Operators whose range is that of a whole tensor, all rows of a batch (ONNX, com.microsoft)."""
REDUCING: Final = frozenset(
    {
        "CumSum", "MeanVarianceNormalization", "NonZero", "ReduceL1", "ReduceL2", "ReduceLogSum",
        "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
        "ReduceSumSquare", "Scan", "Loop", "Unique",
    }
)  # fmt: skip
"""Operators that look over several rows where their axes say so."""
_KEYS: Final = frozenset({b"keys_strings", b"keys_tensor", b"cats_strings", b"pool_strings"})
"""Attributes whose words are looked up, rather than answered."""
_CLASSES: Final = b"classlabels_strings"
"""The attribute that classifiers and ZipMap have their classes in (ai.onnx.ml)."""
_MOST_WORDS: Final = 100
_MOST_COLUMNS: Final = 1000


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """The operators of a graph by name, words that it looks up, in file order, and its classes."""

    operators: frozenset[str] = frozenset()
    words: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    """The names that its classifiers have for their classes; empty: none, or they disagree."""
    tables: tuple[Array, ...] = field(default=(), compare=False)
    """Small constants of floats, with two axes or more."""

    @property
    def coupling(self) -> str:
        """An operator that makes a row's answer depend on the others; empty: none is known to."""
        return min(self.operators & COUPLING, default="")

    @property
    def reducing(self) -> str:
        """An operator that may do so, by its axes; empty: there is none."""
        return min(self.operators & REDUCING, default="")


def graph_facts(path: str) -> GraphFacts:
    """Reads the facts off the file; raises `OnnxFileFault`, and OSError where it cannot be read."""
    operators: set[str] = set()
    words: dict[str, None] = {}
    classes: list[list[str]] = []
    attribute = b""
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        tables = tuple(_tables(file.fileno(), size))
        for kind, name in names_in_graph(file.fileno(), size):
            if kind == "operator":
                operators.add(name.decode("utf-8", "replace"))
            elif kind == "name":
                attribute = name
                if name == _CLASSES:
                    classes.append([])
            elif attribute == _CLASSES:
                classes[-1].append(name.decode("utf-8", "replace"))
            elif attribute in _KEYS and len(words) < _MOST_WORDS:
                words[name.decode("utf-8", "replace")] = None
    distinct = set(map(tuple, filter(None, classes)))
    return GraphFacts(
        frozenset(operators), tuple(words), distinct.pop() if len(distinct) == 1 else (), tables
    )


def _tables(descriptor: int, size: int) -> Iterator[Array]:
    for tensor in constants_in_graph(descriptor, size):
        if (table := constant(tensor)) is not None:
            yield table


def known_words(inputs: Sequence[GraphTensor], facts: GraphFacts) -> dict[str, Array]:
    """Words that the graph looks up, as trial rows of its inputs of strings.

    Words that it does not know are all answered alike. Inputs with free sizes besides the first are
    left out, and those of very many strings a row.
    """
    words = np.array(facts.words, object)
    arrays: dict[str, Array] = {}
    for tensor in inputs if len(words) else ():
        sizes = [size for size in tensor.shape[1:] if isinstance(size, int)]
        columns = math.prod(sizes)
        if tensor.onnx_type != "tensor(string)" or 1 + len(sizes) != len(tensor.shape):
            continue
        if columns <= _MOST_COLUMNS:
            # neighbours in a row are other words than neighbours in a column
            places = np.arange(len(words))[:, None] + 7 * np.arange(columns)
            arrays[tensor.name] = words[places % len(words)].reshape(len(words), *sizes)
    return arrays
