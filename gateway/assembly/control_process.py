"""The whole gateway: the main process around its serving processes.

Nothing heavy is imported here before those are on their way.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.config.log_settings import log_settings_of
from gateway.config.settings import Settings
from gateway.config.trace_settings import trace_settings_of
from gateway.control.processes.main_process import MainProcess, Started
from gateway.control.processes.spawning import Spawner
from gateway.logs.setup import begin_logs
from gateway.serving.wire.transport.io_mode import EXPERIMENTS_VARIABLE, IoMode, apply_io_mode

if TYPE_CHECKING:
    from gateway.control.models.sources.source import Source

_log = logging.getLogger(__name__)


def serve(settings: Settings, announce: Callable[[Started, IoMode], None], spawner: Spawner) -> int:
    """Serves until a signal ends it; returns the exit status.

    `announce` is called once, when the start-up pass is over.
    """
    logs = settings.serving.logs
    begin_logs(logs.log_format, logs.log_level)
    # grpc reads its environment when it is imported, which is in the serving processes,
    # after they have had their settings.
    io_mode = apply_io_mode(settings.serving.run.io_mode)
    serving = replace(settings.serving, grpc_experiments=os.environ.get(EXPERIMENTS_VARIABLE, ""))
    otel = settings.telemetry.otel
    main_process = MainProcess(
        settings.control,
        serving,
        lambda: _open_source(settings),
        spawner,
        telemetry_settings=settings.telemetry,
        announce=lambda started: announce(started, io_mode),
        trace_settings=trace_settings_of(otel.sampling) if otel.trace_exporters else {},
        log_settings=log_settings_of(logs.log_level),
    )
    return asyncio.run(main_process.run())


def _open_source(settings: Settings) -> AbstractAsyncContextManager[Source]:
    """Where models come from: the folder, inspected and planned.

    Imported late: it brings protobuf and the configuration's types.
    """
    from gateway.control.models.sources.folder_source import FolderSource  # noqa: PLC0415

    return FolderSource(settings.source, settings.defaults, settings.serving.cores)
