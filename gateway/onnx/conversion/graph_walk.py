"""What the rewriting of graphs has in common: all nodes, and names that nobody uses yet.

Runs on the command line.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from onnx import AttributeProto


def subgraphs(node: Any) -> Iterator[Any]:
    """The graphs in a node's attributes: branches, bodies of loops."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == AttributeProto.GRAPHS:
            yield from attribute.graphs


def graphs(graph: Any) -> Iterator[Any]:
    """The graph and all that are inside it."""
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from graphs(inner)


def free_name(graph: Any, wish: str) -> str:
    """The name that is wished for, or one like it, that no tensor in the graph has."""
    used = {
        name for each in graphs(graph) for node in each.node for name in (*node.input, *node.output)
    }
    used |= {tensor.name for each in graphs(graph) for tensor in (*each.initializer, *each.input)}
    name = wish
    number = 1
    while name in used:
        number += 1
        name = f"{wish}_{number}"
    return name


def rename_uses(graph: Any, old: str, new: str) -> None:
    """Has every node take `new` where it took `old`, in the graphs inside as well."""
    for each in graphs(graph):
        for node in each.node:
            for index, name in enumerate(node.input):
                if name == old:
                    node.input[index] = new
        if each is not graph:
            for output in each.output:
                if output.name == old:
                    output.name = new
