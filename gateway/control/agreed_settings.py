"""Trace and log settings, the same in every process."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.control.messages import Change, Setting
from gateway.core.errors import InvalidRequest


class AgreedSettings:
    """What TraceSetting and LogSettings answer. The names are fixed at start, the values change."""

    def __init__(self, trace: Mapping[str, Setting], log: Mapping[str, Setting]) -> None:
        self.trace, self.log = dict(trace), dict(log)

    def __repr__(self) -> str:
        return f"<AgreedSettings trace {self.trace} log {self.log}>"

    def change(self, which: Change, values: Mapping[str, object]) -> Mapping[str, Setting]:
        """Changes some; returns all that hold now. Raises `InvalidRequest` for a name or type that is not known, and changes none."""
        settings = self.trace if which is Change.TRACE_SETTINGS else self.log
        settings.update({name: _checked(name, value, settings) for name, value in values.items()})
        return dict(settings)


def _checked(name: str, value: object, settings: Mapping[str, Setting]) -> Setting:
    if name not in settings:
        raise InvalidRequest(f"unknown setting '{name}': expected one of {', '.join(sorted(settings)) or 'none'}")
    expected = type(settings[name])
    if type(value) is not expected:
        raise InvalidRequest(f"setting '{name}' must be of type {expected.__name__}, got {value!r}")
    return value
