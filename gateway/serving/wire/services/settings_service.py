"""TraceSetting and LogSettings: the settings now, and changes of them, in a serving process."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final, cast

from gateway.core.errors import InvalidRequest, Unsupported
from gateway.core.setting_value import Setting
from gateway.ipc.messages import Change
from gateway.ipc.serving_link import ServingLink
from gateway.protocol.generated.inference_pb2 import (
    LogSettingsRequest,
    LogSettingsResponse,
    TraceSettingRequest,
    TraceSettingResponse,
)
from gateway.serving.routing.catalogue import Catalogue
from gateway.serving.wire.security.authorization import Authorization
from gateway.serving.wire.server_state import ServerState
from gateway.serving.wire.services.parsing import parse
from gateway.serving.wire.transport.interface import Call

_TRUTH: Final = {"true": True, "false": False}
_WORDS: Final = {"bool_param": "boolean", "uint32_param": "uint32", "string_param": "string"}
_log = logging.getLogger(__name__)


class SettingsService:
    """Answers settings from the last publication, and hands changes to the control process.

    Which settings there are, and of what type, is what is published: nothing is kept here.
    """

    def __init__(
        self,
        state: ServerState,
        catalogue: Catalogue,
        control: ServingLink,
        authorization: Authorization,
    ) -> None:
        self._state = state
        self._catalogue = catalogue
        self._control = control
        self._authorization = authorization

    async def trace_setting(self, call: Call, message: bytes) -> bytes:
        """TraceSetting, of the server; a setting without a value goes back to that of the start.

        The settings of a live model are the server's, and cannot differ.
        """
        request = parse(TraceSettingRequest, message)
        if request.settings:
            self._authorization.require(call)
        current = self._state.published().trace_settings
        if request.model_name:
            self._catalogue.resolve(request.model_name, "")
            if request.settings:
                raise Unsupported(
                    f"'{request.model_name}' has no trace settings of its own: leave its name out "
                    "to change those of all models"
                )
        changed = {
            name: trace_value(name, list(sent.value), current)
            for name, sent in request.settings.items()
        }
        if changed:
            current = await self._ask(call, Change.TRACE_SETTINGS, changed)
        response = TraceSettingResponse()
        for name, value in current.items():
            response.settings[name].value.extend(_trace_texts(value))
        return response.SerializeToString()

    async def log_settings(self, call: Call, message: bytes) -> bytes:
        """LogSettings, of the server: changes those that are given, and answers all."""
        request = parse(LogSettingsRequest, message)
        if request.settings:
            self._authorization.require(call)
        current = self._state.published().log_settings
        changed = {name: log_value(name, sent, current) for name, sent in request.settings.items()}
        if changed:
            current = await self._ask(call, Change.LOG_SETTINGS, changed)
        response = LogSettingsResponse()
        for name, value in current.items():
            setattr(
                response.settings[name],
                _log_field(value),
                ",".join(value) if isinstance(value, tuple) else value,
            )
        return response.SerializeToString()

    async def _ask(
        self, call: Call, change: Change, changed: Mapping[str, Setting]
    ) -> Mapping[str, Setting]:
        _log.info("%s asks for %s %s", call.peer(), change, dict(changed))
        return cast("Mapping[str, Setting]", await self._control.ask(change, "", changed))


def trace_value(name: str, values: list[str], current: Mapping[str, Setting]) -> Setting:
    """The values of a trace setting as one value of the setting's type; raises InvalidRequest.

    No values ask for the setting of the start. The texts of the errors are Triton's.
    """
    kind = _known(name, current, "trace")
    if not values or isinstance(kind, tuple):
        return tuple(values)
    if len(values) != 1:
        raise InvalidRequest(f"expect only 1 value for '{name}', got {len(values)}")
    text = values[0]
    if isinstance(kind, str):
        return text
    if isinstance(kind, bool):
        if text not in _TRUTH:
            raise InvalidRequest(f"Unable to parse '{name}', expected true or false, got: {text}")
        return _TRUTH[text]
    try:
        return int(text)
    except ValueError:
        raise InvalidRequest(
            f"Unable to parse '{name}', expected a whole number, got: {text}"
        ) from None


def log_value(
    name: str, sent: LogSettingsRequest.SettingValue, current: Mapping[str, Setting]
) -> Setting:
    """The value of a log setting, which must come in the field of the setting's type."""
    wanted = _log_field(_known(name, current, "log"))
    got = sent.WhichOneof("parameter_choice")
    if got != wanted:
        raise InvalidRequest(
            f"expect {_WORDS[wanted]} for '{name}' (in {wanted}), got {got or 'no value'}"
        )
    return cast("Setting", getattr(sent, wanted))


def _known(name: str, current: Mapping[str, Setting], kind: str) -> Setting:
    if name not in current:
        raise InvalidRequest(
            f"unknown {kind} setting '{name}': there are {', '.join(sorted(current)) or 'none'}"
        )
    return current[name]


def _trace_texts(value: Setting) -> list[str]:
    if isinstance(value, tuple):
        return list(value)
    return [str(value).lower() if isinstance(value, bool) else str(value)]


def _log_field(value: Any) -> str:
    if isinstance(value, bool):
        return "bool_param"
    return "uint32_param" if isinstance(value, int) else "string_param"
