"""Settings that are changed while the gateway runs."""

from __future__ import annotations

import pytest

from gateway.control.lifecycle.runtime_settings import RuntimeSettings
from gateway.core.errors import InvalidRequest
from gateway.ipc.messages import Change


class TestSettings:
    def test_a_change_is_all_or_nothing(self):
        settings = RuntimeSettings({}, {"level": 1, "format": "default"})

        with pytest.raises(InvalidRequest, match="setting 'format' must be of type str, got 3"):
            settings.change(Change.LOG_SETTINGS, {"level": 2, "format": 3})

        assert settings.change(Change.LOG_SETTINGS, {}) == {"level": 1, "format": "default"}
        assert settings.change(Change.LOG_SETTINGS, {"level": 2})["level"] == 2

    def test_a_setting_without_a_value_is_the_starts_again_and_the_others_stay(self):
        settings = RuntimeSettings({}, {"level": 1, "format": "default"})
        settings.change(Change.LOG_SETTINGS, {"level": 2, "format": "json"})

        assert (
            settings.change(Change.LOG_SETTINGS, {"level": ()})
            == settings.log
            == {"level": 1, "format": "json"}
        )
        assert repr(settings) == "<RuntimeSettings trace {} log {'level': 1, 'format': 'json'}>"

    def test_unknown_names_are_told_the_known_ones(self):
        with pytest.raises(
            InvalidRequest, match="unknown setting 'lever': expected one of format, level"
        ):
            RuntimeSettings({}, {"level": 1, "format": ""}).change(
                Change.LOG_SETTINGS, {"lever": 2}
            )
        with pytest.raises(InvalidRequest, match="must be of type bool, got 1"):
            RuntimeSettings({"on": True}, {}).change(Change.TRACE_SETTINGS, {"on": 1})
