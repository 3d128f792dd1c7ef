"""Sets up the log of a process; every process calls it once, when it starts."""

from __future__ import annotations

import logging
import sys
import threading
from types import TracebackType
from typing import Final

from gateway.logs.formats import HumanFormatter, JsonFormatter, LogFormat

MAIN: Final = "main"
TELEMETRY: Final = "telemetry"

_log = logging.getLogger("gateway")


def begin_logs(log_format: LogFormat | str, level: str, process: str | int = MAIN) -> None:
    """Sends the log to stderr in this form; does nothing where logging is set up already.

    So does `logging.basicConfig`. `process` is MAIN, TELEMETRY, or the slot of a serving process.
    """
    root = logging.getLogger()
    if root.handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(make_formatter(log_format, process))
    root.addHandler(handler)
    root.setLevel(level.upper())
    if log_format == "json":  # what Python itself writes there must be an object as well
        logging.captureWarnings(capture=True)
        sys.excepthook = _uncaught
        threading.excepthook = _uncaught_in_thread


def make_formatter(log_format: LogFormat | str, process: str | int) -> logging.Formatter:
    """The formatter of a process."""
    if log_format == "json":
        return JsonFormatter(json_process(process))
    return HumanFormatter("" if process == MAIN else str(process))


def json_process(process: str | int) -> str:
    """The name of a process in JSON lines; `process` as in `begin_logs`."""
    return f"serving-{process}" if isinstance(process, int) else process


def _uncaught(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    _log.critical("the process ends with an error", exc_info=(kind, error, where))


def _uncaught_in_thread(hooked: threading.ExceptHookArgs) -> None:
    if hooked.exc_value is not None and not isinstance(hooked.exc_value, SystemExit):
        _log.error(
            "a thread has ended with an error",
            exc_info=(hooked.exc_type, hooked.exc_value, hooked.exc_traceback),
        )
