"""Runs batches of one version: the shapes that callers see on one side, the graph's on the other.

Runs in a serving process or in a worker process.
"""

from __future__ import annotations

from typing import Protocol

from gateway.core.errors import ModelFailed
from gateway.core.plan import TensorSpec, VersionPlan
from gateway.core.request import Array


class OpenModel(Protocol):
    """An open session: ONNX Runtime's, or one that observes it."""

    def run(self, feed: dict[str, Array], wanted: list[str]) -> list[Array]:
        """The wanted outputs by name; raises ModelFailed."""
        ...


class VersionRunner:
    """Runs a version's session; thread safe."""

    def __init__(self, plan: VersionPlan, session: OpenModel) -> None:
        self._session: OpenModel | None = session
        self._plan = plan
        self._outputs = plan.outputs
        self._all = tuple(range(len(plan.outputs)))
        self._names = {self._all: [spec.name for spec in plan.outputs]}
        self._reshaped_inputs = {
            spec.name: (spec.shape, spec.model_shape)
            for spec in plan.inputs
            if spec.model_shape is not None
        }
        self._reshapes_outputs = any(spec.model_shape is not None for spec in plan.outputs)

    def run(self, feed: dict[str, Array], wanted: tuple[int, ...], rows: int) -> list[Array]:
        """The wanted outputs by index.

        Raises ModelFailed, also where the first axis of an output is not `rows` long (-1: there is
        no such axis).
        """
        for name, (seen, wanted_shape) in self._reshaped_inputs.items():
            if name in feed:
                feed[name] = reshape(feed[name], seen, wanted_shape)
        names = self._names.get(wanted) or self._name(wanted)
        if self._session is None:
            raise ModelFailed(
                f"'{self._plan.model}' version {self._plan.version} is closed. This is a bug."
            )
        outputs = self._session.run(feed, names)
        if rows >= 0:
            for array in outputs:
                if not array.shape or array.shape[0] != rows:
                    raise ModelFailed(self._wrong_rows(outputs, wanted, rows))
        if self._reshapes_outputs:
            return [
                self._as_seen(array, self._outputs[i])
                for i, array in zip(wanted, outputs, strict=True)
            ]
        return outputs

    def close(self) -> None:
        """Lets the session go; nothing may run.

        It takes as long as freeing its memory does.
        """
        self._session = None

    def _name(self, wanted: tuple[int, ...]) -> list[str]:
        names = [self._outputs[i].name for i in wanted]
        if len(self._names) < 64:  # noqa: PLR2004  # callers choose the subsets: remember a few
            self._names[wanted] = names
        return names

    def _as_seen(self, array: Array, spec: TensorSpec) -> Array:
        """The output in the shape that callers see; its rows are counted before, in the graph's."""
        if spec.model_shape is None:
            return array
        try:
            return reshape(array, spec.model_shape, spec.shape)
        except ValueError as error:
            raise ModelFailed(
                f"'{self._plan.model}' version {self._plan.version} returned '{spec.name}' in the "
                f"shape {list(array.shape)}, which cannot be reshaped from "
                f"{list(spec.model_shape)} to {list(spec.shape)}, as it is configured"
            ) from error

    def _wrong_rows(self, outputs: list[Array], wanted: tuple[int, ...], rows: int) -> str:
        shapes = ", ".join(
            f"'{self._outputs[i].name}' {list(array.shape)}"
            for i, array in zip(wanted, outputs, strict=True)
        )
        return (
            f"'{self._plan.model}' version {self._plan.version} was given {rows} rows "
            f"and returned {shapes}: its first axis is not a batch axis. Set "
            "max_batch_size to 0 in its configuration"
        )

    def __repr__(self) -> str:
        return f"<VersionRunner {self._plan.model} {self._plan.version}>"


def reshape(array: Array, given: tuple[int, ...], wanted: tuple[int, ...]) -> Array:
    """The array, which has the configured shape `given`, in the configured shape `wanted`.

    The free sizes (-1) of both, the batch's among them, keep their order, as in Triton. Raises
    ValueError where the array has another number of axes or elements.
    """
    if len(array.shape) != len(given):
        raise ValueError(f"{len(array.shape)} axes instead of {len(given)}")
    free = [size for size, fixed in zip(array.shape, given, strict=True) if fixed < 0]
    sizes = iter(free)
    return array.reshape([next(sizes) if size < 0 else size for size in wanted])
