"""Which threads do gRPC's input and output: chosen before grpc is imported.

Runs in the main process, whose choice reaches every process by the environment. Up to 1.78 grpcio
reads and writes its sockets in whichever thread polls the completion queue. From 1.80 on it does so
in threads of its own (EventEngine), which costs a busy core 25-35 %. `GRPC_EXPERIMENTS`, read when
grpc is imported, brings either way back as far as a version has it. This file imports nothing of
grpc.
"""

from __future__ import annotations

import importlib.util
import mmap
import os
import sys
from collections.abc import Callable, Collection, Iterable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

Mode = Literal["polling", "event-engine"]
Wanted = Literal["auto", "polling", "event-engine"]

EXPERIMENTS_VARIABLE: Final = "GRPC_EXPERIMENTS"
_LISTENER = "event_engine_listener"
_CLIENT = "event_engine_client"
# 1.76 to 1.80: off up to 1.78; the switch above it, so that the others change nothing
_PYTHON_POLLER: Final = "event_engine_poller_for_python"
_EVENT_ENGINE_BY_DEFAULT: Final = (1, 80)


@dataclass(frozen=True, slots=True)
class IoMode:
    """The mode, the experiments that make it so, and why it was chosen."""

    mode: Mode
    experiments: tuple[str, ...]
    """In `GRPC_EXPERIMENTS` form, to be added to what the user set; `-` turns one off."""
    reason: str

    def __str__(self) -> str:
        return f"{self.mode} ({self.reason})"


def choose_io_mode(
    wanted: Wanted, *, version: str, known: Callable[[str], bool], set_by_user: Iterable[str] = ()
) -> IoMode:
    """The mode for this grpcio; raises ValueError where what is wanted cannot be had.

    `known` returns whether grpcio has an experiment; `set_by_user` are the entries of the user's
    own `GRPC_EXPERIMENTS`, which `wanted` must not contradict. `auto` is polling, the faster one,
    unless the user's entries ask for EventEngine or this grpcio has no other way.
    """
    users = _user_choice(set_by_user)
    if users is not None:
        if wanted not in ("auto", users):
            raise ValueError(
                f"--io-mode {wanted} contradicts "
                f"{EXPERIMENTS_VARIABLE}={','.join(set_by_user)}: change one of them"
            )
        return IoMode(users, (), f"as {EXPERIMENTS_VARIABLE} says")
    if wanted == "event-engine":
        return _event_engine(version, known)
    switchable = known(_LISTENER)
    if switchable or not _is_event_engine_by_default(version):
        why = "the faster one" if wanted == "auto" else "as --io-mode says"
        experiments = (f"-{_LISTENER}", f"-{_CLIENT}") if switchable else ()
        return IoMode("polling", experiments, f"{why}, grpcio {version}")
    if wanted == "auto":
        return IoMode("event-engine", (), f"grpcio {version} has no other")
    raise ValueError(
        f"grpcio {version} cannot do its I/O by polling: leave --io-mode at auto, or "
        "install a grpcio that can (1.85 is one)"
    )


def _user_choice(entries: Iterable[str]) -> Mode | None:
    """What the user's entries choose for the listener: the last one counts, as in the core."""
    chosen: Mode | None = None
    for entry in entries:
        if entry.removeprefix("-") == _LISTENER:
            chosen = "polling" if entry.startswith("-") else "event-engine"
    return chosen


def _event_engine(version: str, known: Callable[[str], bool]) -> IoMode:
    reason = f"as --io-mode says, grpcio {version}"
    if _is_event_engine_by_default(version):
        return IoMode("event-engine", (), reason)
    if known(_PYTHON_POLLER):
        return IoMode("event-engine", (_PYTHON_POLLER,), reason)
    raise ValueError(
        f"grpcio {version} has no EventEngine for Python: leave --io-mode at "
        "auto, or install grpcio>=1.76"
    )


def _is_event_engine_by_default(version: str) -> bool:
    return tuple(int(part) for part in version.split(".")[:2]) >= _EVENT_ENGINE_BY_DEFAULT


def apply_io_mode(
    wanted: Wanted,
    environ: MutableMapping[str, str] = os.environ,
    imported: Collection[str] = sys.modules,
) -> IoMode:
    """Chooses the mode for the installed grpcio and writes it to the environment.

    There this process and its children find it. Raises RuntimeError where grpc is imported already
    and the environment would have to change; ValueError as `choose_io_mode`.
    """
    present = [
        entry.strip() for entry in environ.get(EXPERIMENTS_VARIABLE, "").split(",") if entry.strip()
    ]
    chosen = choose_io_mode(
        wanted, version=_grpcio_version(), known=_has_experiment, set_by_user=present
    )
    if missing := [entry for entry in chosen.experiments if entry not in present]:
        if "grpc" in imported:
            raise RuntimeError(
                "the I/O mode was to be chosen after grpc had been imported, too late to "
                "take effect. This is a bug."
            )
        environ[EXPERIMENTS_VARIABLE] = ",".join([*present, *missing])
    return chosen


def _grpcio_version() -> str:
    """The installed version, by the name of its metadata's folder.

    importlib.metadata takes 10 ms to import, which the start would wait for.
    """
    for folder in sys.path:
        if os.path.isdir(folder):  # noqa: PTH112
            for name in os.listdir(folder):  # noqa: PTH208
                if name.startswith("grpcio-") and name.endswith(".dist-info"):
                    return name.removeprefix("grpcio-").removesuffix(".dist-info")
    raise RuntimeError("grpcio is not installed: pip install onnx-gateway brings it")


def _has_experiment(name: str) -> bool:
    """Whether the installed grpcio has an experiment of this name: its core is searched in 7 ms."""
    wanted = b"\0" + name.encode() + b"\0"
    for path in _compiled_core():
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            if content.find(wanted) >= 0:
                return True
    return False


def _compiled_core() -> Iterable[Path]:
    spec = importlib.util.find_spec("grpc")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        yield from Path(folder, "_cython").glob("cygrpc*.so")
