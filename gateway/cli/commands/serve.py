"""`gateway serve`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gateway.cli.command_errors import CommandError
from gateway.cli.options.compose import compose
from gateway.cli.options.config_file import ConfigFile, merge
from gateway.cli.options.parse import option_name, read_config_file, read_options
from gateway.cli.options.serve_options import GROUPS, Option
from gateway.cli.reports.banner import Programs, banner
from gateway.cli.reports.tables import terminal_width
from gateway.config.settings import IoMode, Settings
from gateway.serving.wire.transport.io_mode import apply_io_mode

DESCRIPTION = """\
Serves the ONNX models of a folder over the Open Inference Protocol on gRPC.

Every option but --config is also a key of the --config file (YAML), written with underscores: \
max_message_size: 64MiB. The command line wins.
Durations and sizes carry their unit: 500us, 200ms, 5s, 2m, 1h; 64MiB, 1GB. Relative paths in the \
file start at its folder.

SIGTERM drains and ends it, Ctrl-C skips the draining, a second Ctrl-C ends it at once; SIGHUP \
looks at the models again."""

EXAMPLES = """\
examples:
  gateway serve --models models
  gateway serve --models models --port 9001 --http-port off --processes 1
  gateway serve --models models/digits --name digits --strict-readiness
  gateway serve --models models --model-control explicit --load-model digits --load-model penguins
  gateway serve --models models --host 0.0.0.0 --max-message-size 16MiB --drain-delay 10s"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options, in groups."""
    parser.add_argument(
        "--config", metavar="FILE", help="keys and values, one for each option below"
    )
    for title, options in GROUPS.items():
        group = parser.add_argument_group(title)
        for option in options:
            group.add_argument(
                option_name(option.key), dest=option.key, help=_help(option), **_behaviour(option)
            )


def run(arguments: argparse.Namespace) -> int:
    """Serves until a signal ends it; returns the exit status."""
    settings = read_settings(vars(arguments))
    _check_io_mode(settings.io_mode)
    # nothing of it is needed for a fault in the settings
    from gateway.assembly.control_process import serve  # noqa: PLC0415

    programs = Programs.of(sys.argv[0], sys.executable)
    return serve(
        settings,
        lambda started, io_mode: print(
            banner(settings, started, str(io_mode), programs, terminal_width()), flush=True
        ),
        arguments.spawner,
    )


def read_settings(arguments: Mapping[str, Any]) -> Settings:
    """The settings that the options and the file they may name come to; raises `CommandError`."""
    options = {
        key: value for key, value in arguments.items() if key in ConfigFile.__struct_fields__
    }
    path = arguments.get("config")
    faults: list[str] = []
    sources = [
        _read(lambda: read_options(options), faults),
        _read(lambda: read_config_file(Path(path)) if path else ConfigFile(), faults),
    ]
    if faults:
        raise CommandError(faults)
    return compose(merge(*sources))


def _check_io_mode(wanted: IoMode) -> None:
    """Tries it on a copy of the environment.

    `auto` can always be had, and the look into grpcio's core that it takes is left out.
    """
    if wanted != "auto":
        try:
            apply_io_mode(wanted, dict(os.environ))
        except ValueError as error:
            raise CommandError(str(error)) from error


def _read(read: Callable[[], ConfigFile], faults: list[str]) -> ConfigFile:
    try:
        return read()
    except CommandError as fault:
        faults.extend(fault.faults)
        return ConfigFile()


def _help(option: Option) -> str:
    return f"{option.help} [default: {option.default}]" if option.default else option.help


def _behaviour(option: Option) -> dict[str, Any]:
    if option.kind == "flag":
        return {"action": argparse.BooleanOptionalAction, "default": None}
    return {
        "metavar": option.value,
        "action": "append" if option.kind == "list" else "store",
        "type": _number if option.kind == "number" else str,
    }


def _number(text: str) -> int | str:
    """A whole number where the text is one.

    Whoever checks it says what is wrong with anything else.
    """
    digits = text.removeprefix("-")
    # 64 bits
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 20 else text  # noqa: PLR2004
