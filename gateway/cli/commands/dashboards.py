"""`gateway dashboards`: the command line writes a dashboard for Grafana, and alert rules."""

from __future__ import annotations

import argparse
from importlib.resources import files
from pathlib import Path
from typing import Final

from gateway.cli.command_errors import FAILED, CommandError

DESCRIPTION = """\
Writes a Grafana dashboard and alert rules for Prometheus, made for what a gateway shows at \
/metrics on its HTTP port.

In Grafana: Dashboards, New, Import, and the JSON file. In Prometheus: the YAML file goes under \
rule_files; its limits (a latency, a share of
errors, a length of queues) are to be set to what your callers expect.

A file of the same name that says something else is not used, unless --force is given."""

EXAMPLES = """\
examples:
  gateway dashboards --out monitoring
  gateway dashboards --out monitoring --force"""

_FILES: Final = {
    "grafana.json": "gateway-dashboard.json",
    "prometheus_rules.yaml": "gateway-alerts.yaml",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument(
        "--out",
        metavar="DIR",
        required=True,
        help="the folder to write to; made where there is none",
    )
    parser.add_argument("--force", action="store_true", help="write over files that were changed")


def run(arguments: argparse.Namespace) -> int:
    """Writes the files; returns 0, or raises `CommandError`."""
    folder = Path(arguments.out)
    shipped = files("gateway.telemetry") / "dashboards"
    texts = {folder / name: (shipped / source).read_bytes() for source, name in _FILES.items()}
    try:
        _write(folder, texts, force=arguments.force)
    except OSError as error:
        raise CommandError(
            f"--out: {error.filename} cannot be written: {error.strerror}", FAILED
        ) from None
    for path in texts:
        print(path)
    return 0


def _write(folder: Path, texts: dict[Path, bytes], *, force: bool) -> None:
    changed = [
        path
        for path, text in texts.items()
        if not force and path.exists() and path.read_bytes() != text
    ]
    if changed:
        raise CommandError(
            [
                f"{path} is there and says something else (--force writes over it)"
                for path in changed
            ],
            FAILED,
        )
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        path.write_bytes(text)
