"""YAML texts as typed structs, with every fault in them named by its path.

Read in the main process. Fields are msgspec structs, their tuples and dicts, plain values, and
types with a classmethod `parse` (`Duration`, `ByteSize`). A key with nothing behind it is as good
as not written.
"""

from __future__ import annotations

import difflib
import functools
import re
import types
import typing
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


class TypedYamlFault(ValueError):
    """The text does not fit the type; `faults` holds one sentence for each fault found."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(self.faults))


def load_yaml(text: str) -> object:
    """The plain value that the text describes, an empty mapping where it says nothing.

    Raises `TypedYamlFault` where it is not YAML, or says a key twice.
    """
    import yaml  # noqa: PLC0415  # 10 ms that a start without a configuration file need not pay

    try:
        # the loader is a SafeLoader that also refuses a key given twice
        data: object = yaml.load(text, Loader=_strict_loader())  # noqa: S506
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise TypedYamlFault([f"is not YAML: {_one_line(error)}"]) from error
    return {} if data is None else data


def decode_yaml(text: str, into: type[T]) -> T:
    """The struct that the text describes.

    Raises `TypedYamlFault` with all that is wrong with it.
    """
    return decode_mapping(load_yaml(text), into)


def decode_mapping(data: object, into: type[T]) -> T:
    """The struct that the plain mapping describes.

    Raises `TypedYamlFault` with all that is wrong with it.
    """
    faults: list[str] = []
    result = _struct(data, into, "", faults)
    if faults:
        raise TypedYamlFault(faults)
    assert isinstance(result, into)
    return result


def decode_values(data: object, types: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the plain mapping by key, of those keys that say something.

    Args:
        data: Keys and values.
        types: By key, the value's type, or something with a method `parse`.

    Raises `TypedYamlFault` with all that is wrong with it.
    """
    faults: list[str] = []
    values = _values(data, types, "", faults)
    if faults:
        raise TypedYamlFault(faults)
    return values


def did_you_mean(word: object, known: Sequence[str]) -> str:
    """`; did you mean 'x'?`, or `; known are ...` where nothing is near."""
    near = difflib.get_close_matches(str(word), known, n=1)
    return f"; did you mean '{near[0]}'?" if near else f"; known are {', '.join(known)}"


def bare_type(type_: Any) -> Any:
    """The type without None, and without what describes it and constrains nothing."""
    origin = typing.get_origin(type_)
    if origin is typing.Annotated and not any(
        isinstance(one, msgspec.Meta) for one in type_.__metadata__
    ):
        return bare_type(type_.__origin__)
    if origin not in (typing.Union, types.UnionType):
        return type_
    members = tuple(member for member in typing.get_args(type_) if member is not types.NoneType)
    # the members are known only when it runs
    return members[0] if len(members) == 1 else typing.Union[members]  # noqa: UP007


@functools.cache
def _strict_loader() -> Any:
    """A SafeLoader that refuses a key given twice.

    It is built on the one of libyaml, ten times quicker, where PyYAML has that.
    """
    import yaml  # noqa: PLC0415  # as above

    safe_loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class StrictLoader(safe_loader):  # type: ignore[misc]  # one of two classes
        def construct_mapping(
            self, node: yaml.MappingNode, deep: bool = False
        ) -> dict[Hashable, Any]:
            seen: set[object] = set()
            for key_node, _ in node.value:
                key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
                if key in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key '{key}' is given twice", key_node.start_mark
                    )
                if key is not None:
                    seen.add(key)
            mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
            return mapping

    return StrictLoader


def _value(data: object, type_: Any, path: str, faults: list[str]) -> Any:
    arguments = typing.get_args(type_)
    origin = typing.get_origin(type_)
    if _is_struct(type_) and not hasattr(type_, "parse"):
        return _struct(data, type_, path, faults)
    if origin is tuple and isinstance(data, list) and _is_struct(arguments[0]):
        return tuple(
            _struct(item, arguments[0], f"{path}[{i}]", faults) for i, item in enumerate(data)
        )
    if origin is dict and isinstance(data, dict) and _is_struct(arguments[1]):
        return {
            str(key): _struct(item, arguments[1], f"{path}.{key}", faults)
            for key, item in data.items()
        }
    try:
        return type_.parse(data) if hasattr(type_, "parse") else msgspec.convert(data, type_)
    except msgspec.ValidationError as error:
        if origin is typing.Literal and isinstance(data, str):
            faults.append(f"{path}: unknown value '{data}'{did_you_mean(data, arguments)}")
        else:
            faults.append(_leaf_fault(str(error), data, path))
    except ValueError as error:
        faults.append(f"{path}: {error}")
    return None


def _struct(
    data: object, type_: type[msgspec.Struct], path: str, faults: list[str]
) -> msgspec.Struct | None:
    fields = {field.encode_name: field for field in msgspec.structs.fields(type_)}
    before = len(faults)
    types = {key: field.type for key, field in fields.items()}
    values = _values({} if data is None else data, types, path, faults)
    if isinstance(data, Mapping | None):
        faults.extend(
            f"{path or 'the file'}: the key '{key}' is missing"
            for key, field in fields.items()
            if field.required and key not in values
        )
    if len(faults) > before:
        return None
    return type_(**{fields[key].name: value for key, value in values.items()})


def _values(data: object, types: Mapping[str, Any], path: str, faults: list[str]) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        faults.append(f"{path or 'the file'}: expected a mapping of keys to values, got {data!r}")
        return {}
    for key in data:
        if key not in types:
            where = f" in {path}" if path else ""
            faults.append(f"unknown key '{key}'{where}{did_you_mean(key, list(types))}")
    return {
        key: _value(data[key], bare_type(type_), f"{path}.{key}" if path else key, faults)
        for key, type_ in types.items()
        if data.get(key) is not None
    }


def _is_struct(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, msgspec.Struct)


def _leaf_fault(message: str, data: object, path: str) -> str:
    """One sentence from msgspec's ``Expected `int`, got `str` - at `$[1]` ``."""
    match = re.fullmatch(r"(.*?)(?: - at `\$(.*)`)?", message, re.DOTALL)
    assert match is not None
    text = match[1].replace("`", "")
    # a value is shown in at most 80 characters
    shown = repr(data) if len(repr(data)) < 80 else f"{repr(data)[:77]}..."  # noqa: PLR2004
    return f"{path}{match[2] or ''}: {text[:1].lower()}{text[1:]}" + (
        "" if shown in text else f" ({shown})"
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
