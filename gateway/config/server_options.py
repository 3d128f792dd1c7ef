"""All that people may set of a gateway: `gateway serve`'s options, keys of the `--config` file.

Read in the main process. Each group stands where the options of its process stand and is handed to
that process as it is. A group says its `title` in `--help`; several may share one.
"""

from __future__ import annotations

import msgspec

from gateway.config.control import (
    ListenOptions,
    ModelControlOptions,
    SourceOptions,
    StopOptions,
)
from gateway.config.log_options import LogOptions
from gateway.config.serving_options import LimitOptions, ModelDefaults, RunOptions
from gateway.config.telemetry_options import TelemetryOptions


class ServerOptions(msgspec.Struct, frozen=True):
    """Every option, in the groups that its processes get, in the order of `--help`."""

    source: SourceOptions = msgspec.field(default_factory=SourceOptions)
    model_control: ModelControlOptions = msgspec.field(default_factory=ModelControlOptions)
    listen: ListenOptions = msgspec.field(default_factory=ListenOptions)
    run: RunOptions = msgspec.field(default_factory=RunOptions)
    logs: LogOptions = msgspec.field(default_factory=LogOptions)
    limits: LimitOptions = msgspec.field(default_factory=LimitOptions)
    defaults: ModelDefaults = msgspec.field(default_factory=ModelDefaults)
    telemetry: TelemetryOptions = msgspec.field(default_factory=TelemetryOptions)
    stop: StopOptions = msgspec.field(default_factory=StopOptions)
