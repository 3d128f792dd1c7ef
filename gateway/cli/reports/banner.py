"""What the command line prints when a gateway has started.

It says where the gateway listens and what it serves, and gives a call to paste.
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from gateway.cli.reports.tables import table
from gateway.config.control import ModelPath
from gateway.config.settings import Settings
from gateway.control.processes.main_process import Started
from gateway.ipc.repository_index import IndexEntry, VersionState

_MOST_LINES = 20  # models, and failures; a repository of a thousand does not fill the screen
_NONE = "no model is live"
_SAMPLES = ("samples.json", "reference.npz")


@dataclass(frozen=True)
class Programs:
    """How this gateway and its Python are called from the folder that it was started in.

    What is printed with them can be pasted.
    """

    gateway: tuple[str, ...] = ("gateway",)
    python: str = "python"

    @classmethod
    def of(cls, argv0: str, executable: str) -> Self:
        """The programs as they were called to start this process."""
        python = str(_relative(Path(executable)))
        if Path(argv0).name != "gateway":
            return cls((python, "-m", "gateway"), python)
        on_path = shutil.which("gateway")
        known = on_path is not None and Path(on_path).resolve() == Path(argv0).resolve()
        return cls(("gateway" if known else str(_relative(Path(argv0))),), python)


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
        lines += ["", "try it:", *_calls(settings, started.address, live[0].model, programs)]
    return "\n".join(lines)


def _facts(settings: Settings, started: Started, io_mode: str) -> list[tuple[str, str]]:
    secure = bool(settings.serving.tls_certificate)
    count = started.processes
    return [
        ("gRPC", f"{started.address}{' (TLS)' if secure else ''}"),
        ("HTTP", started.http_address and f"http://{started.http_address}/v2/health/ready"),
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


def _calls(settings: Settings, address: str, model: str, programs: Programs) -> list[str]:
    return [
        f"  {_infer_call(settings, address, model, programs)}",
        "",
        f"  {_client_call(settings, address, model, programs)}",
    ]


def _infer_call(settings: Settings, address: str, model: str, programs: Programs) -> str:
    words = [*programs.gateway, "infer", model, "--address", address]
    if (sample := _sample(settings.source.paths, model)) is not None:
        words += ["--input", str(sample)]
    if settings.serving.tls_certificate:
        words += ["--tls-ca", "ca.pem"]
    if settings.serving.tls_client_ca:
        words += ["--tls-cert", "client.pem", "--tls-key", "client.key"]
    return shlex.join(words)


def _client_call(settings: Settings, address: str, model: str, programs: Programs) -> str:
    """A call of Triton's client, with zeros for the inputs, which it asks the server for."""
    files = {"root_certificates": "ca.pem"} if settings.serving.tls_certificate else {}
    if settings.serving.tls_client_ca:
        files |= {"private_key": "client.key", "certificate_chain": "client.pem"}
    secure = (
        "".join([", ssl=True", *(f", {name}={_text(file)}" for name, file in files.items())])
        if files
        else ""
    )
    steps = (
        "import numpy as np, tritonclient.grpc as t",
        f"c = t.InferenceServerClient({_text(address)}{secure})",
        (
            "x = [t.InferInput(i.name, [max(n, 1) for n in i.shape], i.datatype) for i in "
            f"c.get_model_metadata({_text(model)}).inputs]"
        ),
        (
            "[i.set_data_from_numpy(np.zeros(i.shape(), "
            "t.triton_to_np_dtype(i.datatype()))) for i in x]"
        ),
        f"print(c.infer({_text(model)}, x).get_response())",
    )
    return f"{shlex.quote(programs.python)} -c {shlex.quote('; '.join(steps))}"


def _text(value: str) -> str:
    """The text as Python writes it, in double quotes: single ones hold the call for the shell."""
    return json.dumps(value, ensure_ascii=False)


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
