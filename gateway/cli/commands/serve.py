"""`gateway serve`: the command line reads the options, then becomes the main process."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gateway.cli.command_errors import CommandError
from gateway.cli.options.arguments import add_declared
from gateway.cli.options.compose import compose
from gateway.cli.options.declared import declared_options
from gateway.cli.options.parse import read_config_file, read_options
from gateway.cli.options.written_options import written_options
from gateway.cli.reports.banner import Programs, banner
from gateway.cli.reports.configuration_report import configuration_text
from gateway.cli.reports.tables import terminal_width
from gateway.config.serving_options import IoMode
from gateway.config.settings import Settings
from gateway.serving.wire.transport.io_mode import apply_io_mode

DESCRIPTION = """\
Serves ONNX models over the Open Inference Protocol on gRPC: files, models' folders, or folders of \
models (NAME/VERSION/model.onnx).

Every option but --config is also a key of the --config file (YAML), written with underscores: \
max_message_size: 64MiB. The command line wins.
Durations and sizes carry their unit: 500us, 200ms, 5s, 2m, 1h; 64MiB, 1GB. Relative paths in the \
file start at its folder.

SIGTERM drains and ends it, Ctrl-C skips the draining, a second Ctrl-C ends it at once; SIGHUP \
looks at the models again, as `gateway reload` does."""

EXAMPLES = """\
examples:
  gateway serve wine.onnx
  gateway serve models red=exports/red.onnx
  gateway serve --models models
  gateway serve --models models --port 9001 --http-port off --processes 1
  gateway serve --models models/digits --name digits --strict-readiness
  gateway serve --models models --model-control explicit --load-model digits --load-model penguins
  gateway serve --models models --config gateway.yaml --show-config
  gateway serve --models models --host 0.0.0.0 --max-message-size 16MiB --drain-delay 10s"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options, in groups."""
    parser.add_argument(
        "paths",
        metavar="PATH",
        nargs="*",
        help="a model file, a model's folder, or a folder of models; NAME=PATH says what one model "
        "is called",
    )
    parser.add_argument(
        "--config", metavar="FILE", help="keys and values, one for each option below"
    )
    parser.add_argument(
        "--show-config",
        action="store_true",
        help="print the configuration in effect with where each value came from, and end",
    )
    options = declared_options().values()
    groups = {
        title: parser.add_argument_group(title)
        for title in dict.fromkeys(option.title for option in options)
    }
    for option in options:
        add_declared(groups[option.title], option)


def run(arguments: argparse.Namespace) -> int:
    """Serves until a signal ends it; returns the exit status."""
    _name_models(arguments)
    settings = read_settings(vars(arguments))
    _check_io_mode(settings.serving.run.io_mode)
    if arguments.show_config:
        written = written_options(vars(arguments))
        print(configuration_text(written, settings, os.environ))
        return 0
    # imported late: a fault in the settings needs nothing of it
    from gateway.assembly.control_process import serve  # noqa: PLC0415

    programs = Programs.of(sys.argv[0], sys.executable)
    return serve(
        settings,
        lambda started, io_mode: print(
            banner(settings, started, str(io_mode), programs, terminal_width()), flush=True
        ),
        arguments.spawner,
    )


def _name_models(arguments: argparse.Namespace) -> None:
    """One path by itself is the `models` of the configuration, and is shown as such."""
    if arguments.models is None and len(arguments.paths) == 1 and "=" not in arguments.paths[0]:
        arguments.models = arguments.paths.pop()


def read_settings(arguments: Mapping[str, Any]) -> Settings:
    """The settings that the options and the file they may name come to; raises `CommandError`."""
    given = {key: value for key, value in arguments.items() if key in declared_options()}
    path = arguments.get("config")
    faults: list[str] = []
    from_command_line = _read(lambda: read_options(given), faults)
    from_file = _read(lambda: read_config_file(Path(path)) if path else {}, faults)
    if faults:
        raise CommandError(faults)
    paths = arguments.get("paths", ())
    if paths:  # the command line wins
        from_file.pop("models", None)
    return compose(merge(from_command_line, from_file), paths)


def merge(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """The values of both, by key; the first one's where both have the key."""
    return {**second, **first}


def _check_io_mode(wanted: IoMode) -> None:
    """Raises `CommandError` where this grpcio does not have the mode.

    It is tried on a copy of the environment. `auto` can always be had, so it is not tried: that
    would take a look into grpcio's core.
    """
    if wanted != "auto":
        try:
            apply_io_mode(wanted, dict(os.environ))
        except ValueError as error:
            raise CommandError(str(error)) from error


def _read(read: Callable[[], dict[str, Any]], faults: list[str]) -> dict[str, Any]:
    try:
        return read()
    except CommandError as fault:
        faults.extend(fault.faults)
        return {}
