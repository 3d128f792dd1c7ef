"""The keys of `model.yaml` as their structs declare them, for tables of the command line."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from gateway.config.option import Option
from gateway.config.quantities import ByteSize, Duration, format_bytes, format_duration
from gateway.config.typed_yaml import bare_type
from gateway.control.models.configuration.configuration import ModelConfiguration
from gateway.control.models.configuration.protection_configuration import Protections

_FORMATS = ((Duration, format_duration), (ByteSize, format_bytes))


class ModelKey(msgspec.Struct, frozen=True):
    """One key, or the same key of several sections."""

    paths: tuple[str, ...]
    """`queue.max_requests`, `inputs[].name`, `warmup[].inputs.NAME.file`."""
    help: str
    left_out: str
    """What holds where it is left out."""


def serving_keys() -> list[ModelKey]:
    """How a model is served."""
    return _merged(
        field
        for field in msgspec.structs.fields(ModelConfiguration)
        if field.name not in Protections.__struct_fields__
    )


def protection_keys() -> list[ModelKey]:
    """How a model is protected, and what runs it."""
    return _merged(msgspec.structs.fields(Protections))


def _merged(fields: Iterable[Any]) -> list[ModelKey]:
    """The keys without repetition: one that several sections share by a struct is one row."""
    rows: dict[tuple[type, str], ModelKey] = {}
    for struct, field, path in _walk(ModelConfiguration, fields, ""):
        option = _option(field)
        if option is None or (option.only and not path.startswith(option.only)):
            continue
        before = rows.get((struct, field.name))
        paths = (*(before.paths if before else ()), path)
        rows[struct, field.name] = ModelKey(paths, option.help, _left_out(struct, field, option))
    return list(rows.values())


def _walk(
    struct: type[msgspec.Struct], fields: Iterable[Any], prefix: str
) -> Iterator[tuple[type[msgspec.Struct], Any, str]]:
    for field in fields:
        path = prefix + field.encode_name
        yield struct, field, path
        suffix, part = _part(bare_type(field.type))
        if part is not None:
            yield from _walk(part, msgspec.structs.fields(part), path + suffix)


def _part(type_: Any) -> tuple[str, type[msgspec.Struct] | None]:
    """The struct that a value is made of, and how its keys' paths go on."""
    if _is_struct(type_):
        return ".", type_
    # a list that has a `parse` is a subclass of tuple, which names its items in its bases
    listed = getattr(type_, "__orig_bases__", (type_,))[0]
    arguments = typing.get_args(listed)
    if typing.get_origin(listed) is tuple and _is_struct(arguments[0]):
        return "[].", arguments[0]
    if typing.get_origin(listed) is dict and _is_struct(arguments[1]):
        return ".NAME.", arguments[1]
    return "", None


def _is_struct(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, msgspec.Struct)


def _option(field: Any) -> Option | None:
    said = getattr(field.type, "__metadata__", ())
    return next((one for one in said if isinstance(one, Option)), None)


def _left_out(struct: type[msgspec.Struct], field: Any, option: Option) -> str:
    """What holds without the key: as the option says, else the default of the struct or plan."""
    if option.default:
        return option.default
    if field.required:
        return "required"
    default = field.default
    if default is None:
        plan = {one.name: one.default for one in msgspec.structs.fields(struct.PLAN)}  # type: ignore[attr-defined]
        default = plan[field.name]
    return _shown(default, bare_type(field.type))


def _shown(value: Any, type_: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"`{value}`"
    for kind, shown in _FORMATS:
        if isinstance(type_, type) and issubclass(type_, kind):
            return shown(value)
    return f"{value:g}"
