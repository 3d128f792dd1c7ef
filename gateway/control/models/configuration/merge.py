"""One configuration from two: `model.yaml` beside `config.pbtxt`.

What either sets holds. The same fact set differently in both is a fault: a reader of one file
would be deceived by it.
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
        fields = msgspec.structs.fields(first)
        return msgspec.structs.replace(
            first,
            **{
                f.name: _merge(
                    getattr(first, f.name),
                    getattr(second, f.name),
                    f"{path}.{f.encode_name}".lstrip("."),
                    sources,
                    faults,
                )
                for f in fields
            },
        )
    if _named(first) or _named(second):
        return _merge_named(first, second, path, sources, faults)
    if isinstance(first, dict):
        return {
            **second,
            **{
                key: _merge(value, second.get(key), f"{path}.{key}", sources, faults)
                for key, value in first.items()
            },
        }
    faults.append(
        f"{path} is {_shown(first)} in {sources[0]} and {_shown(second)} in "
        f"{sources[1]}: set it in one of them"
    )
    return first


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
    """A tuple of inputs or outputs.

    Warm-up requests are compared as a whole, for their names need not be unique.
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
