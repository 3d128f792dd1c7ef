"""A client: how it is had, how it is run, and what is known not to work and why."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from load_tests.clients.task import Task

FOLDER = Path(__file__).resolve().parents[2] / ".tools" / "clients"
PROGRAMS = Path(__file__).with_name("programs")
INSTALLED_WITHIN_S = 1200
ANSWERED_WITHIN_S = 120


class CannotInstallError(Exception):
    """A client cannot be had here; the text says why."""


class CannotRunError(Exception):
    """A client that is installed did not tell what it did; the text is its last words."""


class Client(ABC):
    """A client that nobody here wrote."""

    def __init__(self, name: str, version: str, *, quick: bool = False) -> None:
        self.name = name
        self.version = version
        self.quick = quick
        """Whether it is installed in seconds, so that CI tries it too."""

    source: Path | None = None
    """The folder of what is compiled of it here; None: nothing is."""

    @property
    def folder(self) -> Path:
        """What is installed of it; kept from one run to the next, while its source is the same."""
        name = f"{self.name.strip('@').replace('/', '-')}-{self.version}"
        return FOLDER / (f"{name}-{digest(self.source)}" if self.source else name)

    def have(self) -> None:
        """Installs it, unless that was done before; raises `CannotInstallError`."""
        complete = self.folder / "complete"  # written last: what was interrupted is done again
        if not complete.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            self.install()
            complete.touch()

    @abstractmethod
    def install(self) -> None:
        """Installs it into its folder; raises `CannotInstallError`."""

    @abstractmethod
    def run(self, task: Task, address: str) -> str:
        """Does the task; returns the lines that it wrote (see `task`)."""

    def environment(self, folder: Path, *packages: str) -> Path:
        """Makes a virtual environment with these packages of PyPI; returns its interpreter."""
        python = folder / "bin" / "python"
        self.call([sys.executable, "-m", "venv", "--clear", folder])
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        self.call([*pip, *packages])
        return python

    def call(
        self, command: Sequence[str | Path], environment: Mapping[str, str] | None = None
    ) -> None:
        """Runs a part of the installation in its folder, with this added to the environment."""
        try:
            done = subprocess.run(
                command,
                cwd=self.folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=INSTALLED_WITHIN_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CannotInstallError(str(error)) from None
        if done.returncode:
            raise CannotInstallError(f"{command[0]} failed: {last_words(done)}")


def digest(folder: Path) -> str:
    """Tells one state of the files in a folder from another."""
    found = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        found.update(path.read_bytes())
    return found.hexdigest()[:8]


def program(command: Sequence[str | Path], text: str, folder: Path) -> str:
    """What a program wrote that was given this text; raises `CannotRunError`."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            input=text,
            capture_output=True,
            text=True,
            timeout=ANSWERED_WITHIN_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CannotRunError(f"no end within {ANSWERED_WITHIN_S} s") from None
    if done.returncode:
        raise CannotRunError(last_words(done))
    return done.stdout


def last_words(done: subprocess.CompletedProcess[str]) -> str:
    """The last lines that are not empty."""
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return " | ".join(lines[-6:])[-600:] or f"exit status {done.returncode}"


class PythonClient(Client):
    """Packages of PyPI in an environment of their own, and a program in `programs`."""

    def __init__(
        self, name: str, version: str, file: str, *also: str, extra: str = "", quick: bool = False
    ) -> None:
        super().__init__(name, version, quick=quick)
        self._file = PROGRAMS / file
        self._packages = (f"{name}{extra}=={version}", *also)

    @property
    def python(self) -> Path:
        """The interpreter of its environment."""
        return self.folder / "bin" / "python"

    def install(self) -> None:
        """Makes the environment."""
        self.environment(self.folder, *self._packages)

    def run(self, task: Task, address: str) -> str:
        """Runs the program in it."""
        return program([self.python, self._file], task.text(address), self.folder)
