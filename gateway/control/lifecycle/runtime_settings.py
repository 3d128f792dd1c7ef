"""Trace and log settings that callers change, kept by the control process for every process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from gateway.config.trace_settings import check_trace_setting
from gateway.core.errors import InvalidRequest
from gateway.core.setting_value import Setting
from gateway.ipc.messages import Change

_Kind = Literal[Change.TRACE_SETTINGS, Change.LOG_SETTINGS]


class RuntimeSettings:
    """The settings that TraceSetting and LogSettings change and answer.

    The names are fixed at start; the values may change, and go back to those of the start.
    """

    def __init__(self, trace: Mapping[str, Setting], log: Mapping[str, Setting]) -> None:
        self._start: dict[_Kind, Mapping[str, Setting]] = {
            Change.TRACE_SETTINGS: trace,
            Change.LOG_SETTINGS: log,
        }
        self._changes: dict[_Kind, Mapping[str, Setting]] = {
            Change.TRACE_SETTINGS: {},
            Change.LOG_SETTINGS: {},
        }

    def __repr__(self) -> str:
        return f"<RuntimeSettings trace {self.trace} log {self.log}>"

    @property
    def trace(self) -> Mapping[str, Setting]:
        """All trace settings as they hold now."""
        return self._current(Change.TRACE_SETTINGS)

    @property
    def log(self) -> Mapping[str, Setting]:
        """All log settings as they hold now."""
        return self._current(Change.LOG_SETTINGS)

    @property
    def trace_changes(self) -> Mapping[str, Setting]:
        """The trace settings that a caller changed, without those that hold since the start."""
        return self._changes[Change.TRACE_SETTINGS]

    def change(self, which: _Kind, values: Mapping[str, object]) -> Mapping[str, Setting]:
        """Changes the settings named and returns all that hold now.

        The value `()` goes back to the start's. Raises `InvalidRequest` for a name, a type or a
        value that cannot be, and changes none.
        """
        changes = {
            **self._changes[which],
            **{name: self._checked(which, name, value) for name, value in values.items()},
        }
        self._changes[which] = {name: value for name, value in changes.items() if value != ()}
        return self._current(which)

    def _current(self, which: _Kind) -> Mapping[str, Setting]:
        return {**self._start[which], **self._changes[which]}

    def _checked(self, which: _Kind, name: str, value: object) -> Setting:
        start = self._start[which]
        if name not in start:
            raise InvalidRequest(
                f"unknown setting '{name}': expected one of {', '.join(sorted(start)) or 'none'}"
            )
        if value == ():
            return ()
        expected = type(start[name])
        if type(value) is not expected:
            raise InvalidRequest(
                f"setting '{name}' must be of type {expected.__name__}, got {value!r}"
            )
        if which is Change.TRACE_SETTINGS:
            check_trace_setting(name, value)
        return value
