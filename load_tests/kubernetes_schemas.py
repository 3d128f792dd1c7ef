"""The schemas of Kubernetes for kubeconform, from PyPI's kubernetes-validate, into .tools.

kubeconform would fetch them one by one from a repository; a package has a version and a hash.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from load_tests.go_tools import TOOLS, say

PACKAGE = "kubernetes-validate==1.37.0"
HASH = "sha256:85136d018a27b50ec7fc049d902bfa5193f5976807e6c0f408e3ab6fe078cad9"
VERSIONS = ("1.28.0", "1.31.0", "1.37.0")
"""The oldest that the package has, the one of `kubectl` in use here, and the newest."""
FOLDER = TOOLS / "kubernetes"
_MARK = FOLDER / f"{PACKAGE}.complete"


def install_schemas() -> None:
    """Unpacks the schemas, unless they are there; SystemExit says what was wanting."""
    if _MARK.exists():
        return
    say(f"schemas of Kubernetes {', '.join(VERSIONS)}: downloading {PACKAGE}")
    with tempfile.TemporaryDirectory() as folder:
        _unpack(_download(Path(folder)))
    _MARK.touch()


def _download(folder: Path) -> Path:
    """The package's wheel, fetched by the pip of an environment that goes with the folder."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{PACKAGE} --hash={HASH}\n")
    python = str(folder / "venv" / "bin" / "python")
    pip = [python, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    for command in (
        [sys.executable, "-m", "venv", str(folder / "venv")],
        [*pip, "--require-hashes", "--dest", str(folder), "-r", str(requirements)],
    ):
        if subprocess.run(command, check=False).returncode:
            raise SystemExit(f"failed: {' '.join(command)}\npip must reach PyPI")
    (wheel,) = folder.glob("*.whl")
    return wheel


def _unpack(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for version in VERSIONS:
            out = FOLDER / f"v{version}-standalone-strict"  # as kubeconform looks for them
            out.mkdir(parents=True, exist_ok=True)
            for name in archive.namelist():
                if f"/v{version}-local-strict/" in name and name.endswith(".json"):
                    text = archive.read(name).decode()
                    (out / Path(name).name).write_text(relative(text))


def relative(schema: str) -> str:
    """The schema with references to the file beside it, not to an address under kubernetes.io."""
    without_address = re.sub(r'"\$id": "[^"]*",?\s*', "", schema)
    references = without_address.replace('"/api/_definitions.json', '"_definitions.json')
    return re.sub(r",(\s*})", r"\1", references)
