"""The values that sections of `model.yaml` about protection are made of.

Each is a type with a classmethod `parse`, which the main process calls as it reads the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Self, TypeVar

import msgspec

from gateway.config.quantities import Duration
from gateway.config.typed_yaml import TypedYamlFault, decode_mapping, did_you_mean

T = TypeVar("T", bound=msgspec.Struct)

ERRORS: Final = ("failed", "unavailable", "deadline", "overloaded")
"""Kinds of errors that a fallback can stand in for (`gateway.core.protection.FallbackLink`)."""

_NAME = r"[A-Za-z_]\w*"
_FUNCTION = re.compile(rf"{_NAME}(\.{_NAME})*:{_NAME}(\.{_NAME})*", re.ASCII)
_METADATA_KEY = re.compile(r"[0-9a-z_.-]+(?<!-bin)", re.ASCII)
_VARIABLE = re.compile(_NAME, re.ASCII)
_HOST_PORT = re.compile(
    r"(?:dns:(?://[^/\s]*/)?|ipv4:|ipv6:)?(?:[^\s:/\[\],]+|\[[0-9A-Fa-f:.%]+\]):(\d{1,5})", re.ASCII
)
_SOCKET = re.compile(r"unix(?:-abstract)?:\S+", re.ASCII)
_MOST_PORT = 65535


class PositiveDuration(Duration):
    """A duration that is not 0."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """The duration that the text says; raises ValueError."""
        duration = super().parse(value)
        if not duration:
            raise ValueError("must be more than 0s")
        return duration


class Matched(str):
    """A text of one form; its classes say which, and the error text for another."""

    __slots__ = ()
    form: re.Pattern[str]
    expected: str

    @classmethod
    def parse(cls, value: object) -> Self:
        """The text; raises ValueError."""
        if not isinstance(value, str) or not cls.form.fullmatch(value):
            raise ValueError(f"expected {cls.expected}, got {value!r}")
        return cls(value)


class FunctionName(Matched):
    """Where a Python function is found."""

    __slots__ = ()
    form = _FUNCTION
    expected = "module:function, such as mypackage.fallbacks:answer"


class MetadataKey(Matched):
    """A key of a call's metadata."""

    __slots__ = ()
    form = _METADATA_KEY
    expected = (
        "a metadata key of text: lower-case letters, digits, - _ and ., without -bin at its end"
    )


class VariableName(Matched):
    """The name of an environment variable."""

    __slots__ = ()
    form = _VARIABLE
    expected = "the name of an environment variable"

    @classmethod
    def parse(cls, value: object) -> Self:
        """The name; raises ValueError.

        The error does not show what was written, which may be the secret itself.
        """
        try:
            return super().parse(value)
        except ValueError:
            raise ValueError(
                f"expected {cls.expected}, which holds the token; the token "
                "itself must not stand in a file"
            ) from None


class Address(str):
    """What gRPC dials."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """HOST:PORT, [IPv6]:PORT, dns:///NAME:PORT or unix:PATH; raises ValueError."""
        if isinstance(value, str):
            match = _HOST_PORT.fullmatch(value)
            if _SOCKET.fullmatch(value) or (match and 0 < int(match[1]) <= _MOST_PORT):
                return cls(value)
        advice = (
            " (a gRPC address has no http://; TLS is asked for by tls_ca)"
            if str(value).startswith(("http:", "https:"))
            else ""
        )
        raise ValueError(
            "expected an address such as 10.0.0.7:8001, dns:///triton:8001 or "
            f"unix:/run/triton.sock, got {value!r}{advice}"
        )


class FallbackVersion(int):
    """A version, or -1 for the newest other one."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """The version that is given; raises ValueError."""
        if value == "other":
            return cls(-1)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(
                f"expected a version such as 1, or other (the newest other live one), got {value!r}"
            )
        return cls(value)

    def __repr__(self) -> str:
        return "other" if self < 0 else str(int(self))


class ErrorKinds(tuple[str, ...]):
    """Some of `ERRORS`, at least one of them."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """Those that are given; raises ValueError."""
        given = [value] if isinstance(value, str) else value
        if not isinstance(given, list) or not given:
            raise ValueError(f"expected a list of {', '.join(ERRORS)}, got {value!r}")
        for kind in given:
            if kind not in ERRORS:
                raise ValueError(f"unknown value {kind!r}{did_you_mean(kind, ERRORS)}")
        return cls(dict.fromkeys(given))


class Ranges(dict[str, tuple[float, float]]):
    """The smallest and the largest value of each output, by its name."""

    @classmethod
    def parse(cls, value: object) -> Self:
        """The ranges that are given; raises ValueError."""
        if not isinstance(value, Mapping):
            # ValueError is what every `parse` raises
            raise ValueError(f"expected a range such as [0, 1] for each output, got {value!r}")  # noqa: TRY004
        ranges = cls()
        for name, given in value.items():
            try:
                low, high = msgspec.convert(given, tuple[float, float])
            except msgspec.ValidationError:
                low = 0.0
                high = 0.0
            if not low < high:
                raise ValueError(
                    f"{name}: expected [LOW, HIGH], two numbers of which the first is less (-.inf "
                    f"and .inf: without end), got {given!r}"
                )
            ranges[str(name)] = low, high
        return ranges


def decode_part(value: object, into: type[T], expected: str) -> T:
    """The struct that the mapping describes; raises ValueError with all that is wrong with it."""
    if not isinstance(value, Mapping):
        shown = "" if isinstance(value, list) else f", got {value!r}"
        raise ValueError(f"expected {expected}{shown}")  # noqa: TRY004  # what every `parse` raises
    try:
        return decode_mapping(value, into)
    except TypedYamlFault as fault:
        raise ValueError(
            "; ".join(text.removeprefix("the file: ") for text in fault.faults)
        ) from fault


def decode_each(value: object, decode: Callable[[Any], T], expected: str) -> list[T]:
    """The list's items, decoded.

    Raises ValueError with all that is wrong with them, each by its index. Nothing of the list is
    shown.
    """
    if not isinstance(value, list):
        raise ValueError(f"expected {expected}")  # noqa: TRY004  # as above
    items = []
    faults = []
    for i, item in enumerate(value):
        try:
            items.append(decode(item))
        except ValueError as error:
            faults.append(f"[{i}] {error}")
    if faults:
        raise ValueError("; ".join(faults))
    return items
