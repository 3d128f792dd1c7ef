"""The settings of a gateway: groups of `ServerOptions`, and what the main process makes of them.

Each process gets the groups that concern it as they are, so that a new option of a group reaches
its process by being declared.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.config.control import ControlOptions, SourceOptions
from gateway.config.serving_options import ModelDefaults, ServingSettings
from gateway.config.telemetry_options import TelemetrySettings


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a gateway is run with."""

    source: SourceOptions = field(default_factory=SourceOptions)
    defaults: ModelDefaults = field(default_factory=ModelDefaults)
    control: ControlOptions = field(default_factory=ControlOptions)
    serving: ServingSettings = field(default_factory=ServingSettings)
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)
    processes_reason: str = ""
    """Why so many serving processes run, for people."""
