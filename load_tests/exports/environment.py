"""The environment that exports are made in: libraries that serving has no need of."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOME = HERE.parents[1] / ".tools" / "exports"


def exports_python(requirements: str = "requirements.txt") -> str:
    """The Python of an environment with these requirements, made anew where they changed."""
    wanted = HERE / requirements
    home = HOME / wanted.stem
    digest = hashlib.sha256(wanted.read_bytes()).hexdigest()
    ready = home / "ready"
    python = str(home / "bin" / "python")
    if not ready.exists() or ready.read_text() != digest:
        print(f"making {home} with {wanted.name}: a minute or more", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, "-r", str(wanted)], check=True)
        ready.write_text(digest)
    return python
