"""What a version accepts and answers, compiled from its plan for checking requests.

Runs in a serving process.
"""

from __future__ import annotations

from gateway.core.plan import TensorSpec, VersionPlan


class Signature:
    """Inputs and outputs of one version.

    `row_limit` is how many rows a request may have; None: no limit (what is too large is split) or
    no batch axis (see `batched` which).
    """

    __slots__ = (
        "batched",
        "input_names",
        "inputs",
        "model",
        "output_index",
        "outputs",
        "required",
        "row_limit",
        "version",
    )

    def __init__(self, plan: VersionPlan) -> None:
        self.model = plan.model
        self.version = str(plan.version)
        self.inputs: dict[str, TensorSpec] = {spec.name: spec for spec in plan.inputs}
        self.input_names = tuple(self.inputs)
        self.required = frozenset(spec.name for spec in plan.inputs if not spec.optional)
        self.outputs = plan.outputs
        self.output_index = {spec.name: i for i, spec in enumerate(plan.outputs)}
        self.batched = plan.batching.max_batch_size > 0
        self.row_limit = (
            None if not self.batched or plan.batching.splits else plan.batching.max_batch_size
        )

    def __repr__(self) -> str:
        return (
            f"<Signature {self.model} {self.version}: {', '.join(self.inputs)} -> "
            f"{', '.join(self.output_index)}>"
        )


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape as the protocol's error texts write it: `[-1,64]`."""
    return "[" + ",".join(map(str, shape)) + "]"


def fits(shape: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    """The shape is an instance of the expected one, in which -1 is free.

    An expected shape without axes is fulfilled by any: ONNX Runtime's interface shows rank 0 and a
    rank that the graph leaves open alike, and it takes any tensor for either.
    """
    return not expected or (
        len(shape) == len(expected)
        and all(want in (-1, got) for got, want in zip(shape, expected, strict=True))
    )
