"""The options of the command line and of the `--config` file, as `ServerOptions` declares them."""

from __future__ import annotations

import functools
import typing
from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, Literal

import msgspec

from gateway.config.option import DURATION, PATHS, SIZE, Option
from gateway.config.quantities import ByteSize, Duration, format_bytes, format_duration
from gateway.config.server_options import ServerOptions
from gateway.config.typed_yaml import decode_values

_WRITTEN = {DURATION: Duration, SIZE: ByteSize}


class DeclaredOption(msgspec.Struct, frozen=True):
    """One option, and the field that holds it."""

    key: str
    """The name in the configuration file; the command line has `option_name` of it."""
    title: str
    """The title of its group."""
    group: str
    """The field of `ServerOptions` that holds the group."""
    field: str
    """The field of the group."""
    type: Any
    """The type of the field."""
    default: Any
    option: Option

    @property
    def is_path(self) -> bool:
        """Its value is a path."""
        return self.option.value in PATHS

    @property
    def is_number(self) -> bool:
        """Its value is a whole number without a unit."""
        return self.type is int and self.option.parse is None and self.option.value not in _WRITTEN

    @property
    def default_text(self) -> str:
        """What holds where nothing is set, as people write it; empty: there is none."""
        if self.option.default or self.default in (None, "", ()):
            return self.option.default
        if isinstance(self.default, bool):
            return "yes" if self.default else "no"
        formatted = {DURATION: format_duration, SIZE: format_bytes}.get(self.option.value, str)
        return formatted(self.default)

    def reader(self) -> Any:
        """What reads its value, for `typed_yaml`: a type, or something with `parse`."""
        option = self.option
        if option.parse is not None:
            return option
        if option.value in _WRITTEN:
            return _WRITTEN[option.value]
        if option.least is not None or option.most is not None:
            return Annotated[self.type, msgspec.Meta(ge=option.least, le=option.most)]
        if isinstance(self.type, type) and issubclass(self.type, Enum):
            return Literal[tuple(member.value for member in self.type)]
        return self.type


@functools.cache
def declared_options() -> Mapping[str, DeclaredOption]:
    """Every option by its key, in the order of `--help`."""
    found = [
        _declared(group, kind, name, type_)
        for group, kind in _groups()
        for name, type_ in typing.get_type_hints(kind, include_extras=True).items()
        if typing.get_origin(type_) is Annotated
    ]
    return {option.key: option for option in found}


def read_values(data: object) -> dict[str, Any]:
    """The values of a mapping by key, without keys that have nothing behind them.

    Raises `TypedYamlFault` with all that is wrong with it.
    """
    readers = {key: option.reader() for key, option in declared_options().items()}
    return decode_values(data, readers)


def server_options(values: Mapping[str, Any], faults: list[str]) -> ServerOptions:
    """The options that these values, by key, come to; what is not given has its default.

    Values that cannot be are added to `faults`, and their group then has its defaults.
    """
    groups: dict[str, dict[str, Any]] = {group: {} for group, _ in _groups()}
    for key, value in values.items():
        option = declared_options()[key]
        kind = option.type
        is_enum = isinstance(kind, type) and issubclass(kind, Enum)
        groups[option.group][option.field] = kind(value) if is_enum else value
    made: dict[str, Any] = {}
    for group, kind in _groups():
        try:
            made[group] = kind(**groups[group])
        except ValueError as error:
            faults.extend(map(str, error.args))
    return ServerOptions(**made)


def _groups() -> list[tuple[str, Any]]:
    types = typing.get_type_hints(ServerOptions)
    return [(name, types[name]) for name in ServerOptions.__struct_fields__]


def _declared(group: str, kind: Any, name: str, type_: Any) -> DeclaredOption:
    bare, *said = typing.get_args(type_)
    option = next(one for one in said if isinstance(one, Option))
    default = dict(zip(kind.__struct_fields__, kind.__struct_defaults__, strict=True))[name]
    key = option.key or (name.removesuffix("_s") if option.value == DURATION else name)
    return DeclaredOption(key, kind.title, group, name, bare, default, option)
