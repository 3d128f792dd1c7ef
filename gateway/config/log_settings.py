"""The LogSettings there are, in Triton's names, and the level they come to.

The main process makes them of the options; each serving process sets its level by them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from gateway.core.setting_value import Setting

_LEVELS = {"log_info": logging.INFO, "log_warning": logging.WARNING, "log_error": logging.ERROR}


def log_settings_of(level: str) -> dict[str, Setting]:
    """The settings that come to a level, given by its name."""
    number = logging.getLevelNamesMapping()[level.upper()]
    return {
        **{name: lowest >= number for name, lowest in _LEVELS.items()},
        "log_verbose_level": int(number <= logging.DEBUG),
    }


def log_level(settings: Mapping[str, Setting]) -> int:
    """The level the settings come to: the lowest that is switched on."""
    if int(str(settings.get("log_verbose_level", 0))) > 0:
        return logging.DEBUG
    return next((level for name, level in _LEVELS.items() if settings.get(name)), logging.CRITICAL)
