"""What the command line prints when a gateway has started.

It says where the gateway listens and what it serves, and gives two calls to paste.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from gateway.cli.client.client_options import ADDRESS_VARIABLE, DEFAULT_ADDRESS
from gateway.cli.reports.tables import table
from gateway.config.control import ModelPath
from gateway.config.settings import Settings
from gateway.control.processes.main_process import Started
from gateway.ipc.repository_index import IndexEntry, VersionState

_MOST_LINES = 20  # models, and failures; a repository of a thousand does not fill the screen
_NONE = "no model is live"
_SAMPLES = ("samples.csv", "samples.json", "reference.npz")


@dataclass(frozen=True)
class Programs:
    """How this gateway is called from the folder that it was started in.

    What is printed with it can be pasted.
    """

    gateway: tuple[str, ...] = ("gateway",)

    @classmethod
    def of(cls, argv0: str, executable: str) -> Self:
        """The program as it was called to start this process."""
        if Path(argv0).name != "gateway":
            return cls((str(_relative(Path(executable))), "-m", "gateway"))
        on_path = shutil.which("gateway")
        known = on_path is not None and Path(on_path).resolve() == Path(argv0).resolve()
        return cls(("gateway" if known else str(_relative(Path(argv0))),))


def banner(
    settings: Settings,
    started: Started,
    io_mode: str,
    programs: Programs = Programs(),
    room: int | None = None,
) -> str:
    """The text: several lines, the last without a newline.

    `io_mode` is grpcio's, with the reason. Names are cut where a line would be longer than `room`;
    None: never.
    """
    live = [entry for entry in started.index if entry.state is VersionState.READY]
    failed = [entry for entry in started.index if entry.state is VersionState.UNAVAILABLE]
    served = ", ".join(str(path.path) for path in settings.source.paths)
    lines = [f"gateway is serving {served} (started in {started.elapsed_s:.2f} s)"]
    lines += [
        f"  {name:<10} {value}" for name, value in _facts(settings, started, io_mode) if value
    ]
    lines += ["", *(["live:", *_some(_live_lines(live, room), "models")] if live else [_NONE])]
    if failed:
        lines += ["", "not served:", *_some([_failure(entry) for entry in failed], "failures")]
    if live:
        lines += ["", "try it:"]
        lines += [f"  {call}" for call in _calls(settings, started.address, live, programs)]
    return "\n".join(lines)


def _facts(settings: Settings, started: Started, io_mode: str) -> list[tuple[str, str]]:
    secure = bool(settings.serving.tls_certificate)
    count = started.processes
    return [
        ("gRPC", f"{started.address}{' (TLS)' if secure else ''}"),
        ("page", started.http_address and f"http://{started.http_address}/"),
        ("pid", str(os.getpid())),
        (
            "processes",
            f"{count}{f' ({settings.processes_reason})' if settings.processes_reason else ''}",
        ),
        ("transport", started.transport),
        ("I/O", io_mode),
    ]


def _live_lines(live: Iterable[IndexEntry], room: int | None) -> list[str]:
    versions: dict[str, list[str]] = {}
    for entry in live:
        versions.setdefault(entry.model, []).append(entry.version)
    rows = [
        (model, f"version{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}")
        for model, numbers in versions.items()
    ]
    return table((), rows, "  ", room).splitlines()


def _failure(entry: IndexEntry) -> str:
    return f"  {entry.model}{f' version {entry.version}' if entry.version else ''}: {entry.reason}"


def _some(lines: list[str], what: str) -> list[str]:
    return (
        lines
        if len(lines) <= _MOST_LINES
        else [*lines[:_MOST_LINES], f"  ... and {len(lines) - _MOST_LINES} more {what}"]
    )


def _calls(
    settings: Settings, address: str, live: Sequence[IndexEntry], programs: Programs
) -> list[str]:
    """Two lines to paste: real rows of two models where there are some, else of one, else yours."""
    models = list(dict.fromkeys(entry.model for entry in live))
    samples = [
        (model, sample) for model in models if (sample := _sample(settings.source.paths, model))
    ]
    if not samples:
        call = _infer_call(settings, address, models[0], programs, ["--input", "rows.csv"])
        return [f"{call}   # a CSV or JSON file of your rows", _models_call(address, programs)]
    inputs = [(model, ["--input", str(sample), "--rows", "3"]) for model, sample in samples[:2]]
    if len(samples) == 1:
        model, words = inputs[0]
        inputs.append((model, [*words[:-1], "1", "--output-format", "json"]))
    return [_infer_call(settings, address, model, programs, words) for model, words in inputs]


def _infer_call(
    settings: Settings, address: str, model: str, programs: Programs, inputs: list[str]
) -> str:
    words = [*programs.gateway, "infer", model, *_where(address), *inputs]
    if settings.serving.tls_certificate:
        words += ["--tls-ca", "ca.pem"]
    if settings.serving.tls_client_ca:
        words += ["--tls-cert", "client.pem", "--tls-key", "client.key"]
    return shlex.join(words)


def _models_call(address: str, programs: Programs) -> str:
    return shlex.join([*programs.gateway, "models", *_where(address)])


def _where(address: str) -> list[str]:
    asked_anyway = os.environ.get(ADDRESS_VARIABLE) or DEFAULT_ADDRESS
    return [] if address == asked_anyway else ["--address", address]


def _sample(paths: Iterable[ModelPath], model: str) -> Path | None:
    """A file of inputs beside the model, as its caller would write it."""
    tops = [path.path if path.path.is_dir() else path.path.parent for path in paths]
    for folder in (*(top / model for top in tops), *tops):
        for name in _SAMPLES:
            if (path := folder / name).is_file():
                return _relative(path)
    return None


def _relative(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
