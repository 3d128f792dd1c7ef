"""Whether a version answers callers of another one, as the control process compares their plans."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.core.plan import TensorSpec, VersionPlan
from gateway.protocol.signature import shape_text

ALLOWED_BY = "`allow_interface_change: true` in model.yaml lets it pass"


def interface_change(old: VersionPlan, new: VersionPlan) -> str:
    """What callers of the old version would notice, in one sentence; empty: nothing.

    Additions pass: a new output, a new optional input, an input's fixed size that becomes free.
    """
    return "; ".join((*_input_changes(old, new), *_output_changes(old, new)))


def _input_changes(old: VersionPlan, new: VersionPlan) -> Iterator[str]:
    specs = {spec.name: spec for spec in new.inputs}
    for before in old.inputs:
        after = specs.pop(before.name, None)
        if after is None:
            yield f"input '{before.name}' is gone"
        elif before.datatype != after.datatype or not _takes(after.shape, before.shape):
            yield f"input '{before.name}' {_was_and_is(before, after)}"
        elif before.optional and not after.optional:
            yield f"input '{before.name}' is not optional any more"
    for added in specs.values():
        if not added.optional:
            yield f"input '{added.name}' {_text(added)} is new and not optional"


def _output_changes(old: VersionPlan, new: VersionPlan) -> Iterator[str]:
    specs = {spec.name: spec for spec in new.outputs}
    for before in old.outputs:
        after = specs.get(before.name)
        if after is None:
            yield f"output '{before.name}' is gone"
        elif before.datatype != after.datatype or not _agree(after.shape, before.shape):
            yield f"output '{before.name}' {_was_and_is(before, after)}"


def _takes(new: tuple[int, ...], old: tuple[int, ...]) -> bool:
    """An input of the new shape takes all that one of the old shape took.

    A shape without axes stands for a rank that the graph leaves open.
    """
    return not new or (
        len(new) == len(old) and all(size in (-1, was) for size, was in zip(new, old, strict=True))
    )


def _agree(new: tuple[int, ...], old: tuple[int, ...]) -> bool:
    """Outputs of both shapes may be the same: a size that either leaves free may be any."""
    return (
        not new
        or not old
        or (
            len(new) == len(old)
            and all(-1 in (size, was) or size == was for size, was in zip(new, old, strict=True))
        )
    )


def _was_and_is(before: TensorSpec, after: TensorSpec) -> str:
    return f"was {_text(before)} and is {_text(after)}"


def _text(spec: TensorSpec) -> str:
    return f"{spec.datatype} {shape_text(spec.shape)}"
