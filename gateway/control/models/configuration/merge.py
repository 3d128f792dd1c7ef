"""One configuration from two: `model.yaml` beside `config.pbtxt`.

Merged in the main process: what either file sets holds. The same fact set differently in both is
a fault, because it would deceive a reader of one of them.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.control.models.configuration.configuration import ModelConfiguration


def merge(
    first: ModelConfiguration, second: ModelConfiguration, sources: tuple[str, str]
) -> tuple[ModelConfiguration, tuple[str, ...]]:
    """The union of both, and a sentence for each fact that the two sources say differently.

    The first one's value is then kept.
    """
    faults: list[str] = []
    merged = _merge(first, second, "", sources, faults)
    assert isinstance(merged, ModelConfiguration)
    return merged, tuple(faults)


def fill(configured: ModelConfiguration, implied: ModelConfiguration) -> ModelConfiguration:
    """The configuration with what is implied wherever it is not configured."""
    return merge(configured, implied, ("", ""))[0]


def _merge(first: Any, second: Any, path: str, sources: tuple[str, str], faults: list[str]) -> Any:
    if second is None or first == second:
        return first
    if first is None:
        return second
    if isinstance(first, msgspec.Struct):
        return _merge_fields(first, second, path, sources, faults)
    if _named(first) or _named(second):
        return _merge_named(first, second, path, sources, faults)
    if isinstance(first, dict):
        merged = {
            key: _merge(value, second.get(key), f"{path}.{key}", sources, faults)
            for key, value in first.items()
        }
        return {**second, **merged}
    faults.append(
        f"{path} is {_shown(first)} in {sources[0]} and {_shown(second)} in "
        f"{sources[1]}: set it in one of them"
    )
    return first


def _merge_fields(
    first: msgspec.Struct,
    second: msgspec.Struct,
    path: str,
    sources: tuple[str, str],
    faults: list[str],
) -> msgspec.Struct:
    """Structs of one type: each field by itself."""
    merged = {
        field.name: _merge(
            getattr(first, field.name),
            getattr(second, field.name),
            f"{path}.{field.encode_name}".lstrip("."),
            sources,
            faults,
        )
        for field in msgspec.structs.fields(first)
    }
    return msgspec.structs.replace(first, **merged)


def _merge_named(
    first: Any, second: Any, path: str, sources: tuple[str, str], faults: list[str]
) -> Any:
    """Tensors by their names: the first one's order, then what only the second one has."""
    others = {tensor.name: tensor for tensor in second}
    merged = [
        _merge(tensor, others.get(tensor.name), f"{path}.{tensor.name}", sources, faults)
        for tensor in first
    ]
    mine = {tensor.name for tensor in first}
    return (*merged, *(tensor for tensor in second if tensor.name not in mine))


def _named(value: object) -> bool:
    """Whether the value is a tuple of inputs or outputs, which have unique names.

    Warm-up requests are compared as a whole, because their names need not be unique.
    """
    return (
        isinstance(value, tuple)
        and bool(value)
        and isinstance(value[0], msgspec.Struct)
        and "shape" in value[0].__struct_fields__
    )


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return str(list(value))
    return str(value).lower() if isinstance(value, bool) else repr(value)
