"""Inputs and outputs as callers see them, planned in the control process.

They are what the graph declares, as far as the configuration does not say otherwise. It may name
what the graph leaves free and may reshape; where it contradicts the graph, that is a fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.config.typed_yaml import did_you_mean
from gateway.control.models.configuration.tensor_configuration import TensorConfiguration
from gateway.core.datatypes import datatype_of_onnx
from gateway.core.plan import GraphTensor, TensorSpec
from gateway.onnx.model_faults import PlanFault

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BatchAxis:
    """Whether tensors have a batch axis, and whether that is configured."""

    batched: bool
    configured: int | None = None
    """The configured max_batch_size; None: the axis was found, or not found, in the graph."""


def tensor_specs(
    graph: Sequence[GraphTensor],
    configured: Sequence[TensorConfiguration],
    axis: BatchAxis,
    kind: str,
) -> tuple[tuple[TensorSpec, ...], tuple[str, ...]]:
    """The graph's inputs (or outputs, by `kind`) as callers see them, in the graph's order.

    The second value has a sentence for each that cannot be as it is configured.
    """
    names = [tensor.name for tensor in graph]
    given = {tensor.name: tensor for tensor in configured}
    faults = [
        f"{kind} '{tensor.name}' is configured, but the graph has no such "
        f"{kind}{did_you_mean(tensor.name, names)}"
        for tensor in configured
        if tensor.name not in names
    ]
    specs = []
    for tensor in graph:
        configuration = given.get(tensor.name) or TensorConfiguration(name=tensor.name)
        try:
            specs.append(_spec(tensor, configuration, axis, kind))
        except PlanFault as fault:
            faults.append(str(fault))
    return tuple(specs), tuple(faults)


def free_sizes(tensor: GraphTensor) -> Shape:
    """The tensor's sizes, with -1 for every free one."""
    return tuple(size if isinstance(size, int) and size >= 0 else -1 for size in tensor.shape)


def _spec(
    tensor: GraphTensor, entry: TensorConfiguration, axis: BatchAxis, kind: str
) -> TensorSpec:
    what = f"{kind} '{tensor.name}'"
    datatype = _datatype(tensor, entry, what)
    if entry.optional and not tensor.optional:
        raise PlanFault(
            f"{what} is configured as optional, but the graph has no initialiser for it"
        )
    graph = free_sizes(tensor)
    if axis.batched:
        _check_batch_axis(graph, axis, what)
    shape, model_shape = _shapes(graph, entry, axis, what)
    optional = tensor.optional if entry.optional is None else entry.optional
    return TensorSpec(tensor.name, datatype, shape, optional, model_shape)


def _datatype(tensor: GraphTensor, entry: TensorConfiguration, what: str) -> str:
    datatype = datatype_of_onnx(tensor.onnx_type)
    if datatype is None:
        raise PlanFault(
            f"{what} is of type {tensor.onnx_type}; only tensors of the "
            "protocol's datatypes can be served"
        )
    if entry.datatype not in (None, datatype):
        raise PlanFault(f"{what} is configured as {entry.datatype}, but the graph has {datatype}")
    return datatype


def _check_batch_axis(graph: Shape, axis: BatchAxis, what: str) -> None:
    if graph[:1] in ((-1,), (axis.configured,)):
        return
    has = f"the fixed size {graph[0]} there" if graph else "no axis at all"
    raise PlanFault(
        f"{what} has {has}, so it cannot have the batch axis that max_batch_size "
        f"{axis.configured} means (the graph's shape is {list(graph)}): set max_batch_size to 0 "
        "and give shapes with all their axes"
    )


def _shapes(
    graph: Shape, entry: TensorConfiguration, axis: BatchAxis, what: str
) -> tuple[Shape, Shape | None]:
    """The shape for callers, and the graph's where it is another one; both with the batch axis."""
    shape = entry.shape
    reshape = entry.reshape
    lead: Shape = (-1,) if axis.batched else ()
    rows = graph[1:] if axis.batched else graph
    if shape is None:
        return lead + rows, None
    wanted = shape if reshape is None else reshape
    if axis.configured is None and reshape is None and len(wanted) != len(rows):
        # whether there is a batch axis is not configured, so a shape may be written with or without
        if axis.batched and len(wanted) == len(graph) and wanted[0] == -1:
            shape = wanted[1:]
            wanted = shape
        elif not axis.batched and len(wanted) + 1 == len(graph):
            lead = graph[:1]
            rows = graph[1:]
    _check_agreement(graph, lead, rows, wanted, what)
    if reshape is None:
        return lead + shape, None
    _check_reshape(shape, reshape, what)
    return lead + shape, lead + reshape


def _check_agreement(graph: Shape, lead: Shape, rows: Shape, wanted: Shape, what: str) -> None:
    if len(wanted) != len(rows) or any(
        has not in (-1, want) for has, want in zip(rows, wanted, strict=True)
    ):
        first = f" ({list(lead + wanted)} with the batch axis)" if lead else ""
        raise PlanFault(
            f"{what} is configured with the shape {list(wanted)}{first}, "
            f"but the graph has {list(graph)}"
        )


def _check_reshape(shape: Shape, reshape: Shape, what: str) -> None:
    """As Triton: free sizes keep their order, and the sizes between them their product."""
    if _products(shape) != _products(reshape):
        raise PlanFault(
            f"{what}: a tensor of shape {list(shape)} cannot be reshaped to {list(reshape)}: both "
            "need as many free sizes (-1), and before, between and behind these as many elements"
        )


def _products(shape: Shape) -> list[int]:
    """The products of the sizes before, between and behind the free ones."""
    products = [1]
    for size in shape:
        if size == -1:
            products.append(1)
        else:
            products[-1] *= size
    return products
