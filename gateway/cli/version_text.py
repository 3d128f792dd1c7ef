"""The versions of what a gateway is made of, for `--version` on the command line."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from gateway import __version__

_PACKAGES = ("grpcio", "onnxruntime", "protobuf", "numpy")


def versions() -> str:
    """One line for each package, and for Python; none of the packages is imported."""
    lines = [
        f"gateway {__version__}",
        *(f"{package} {_installed(package)}" for package in _PACKAGES),
    ]
    return "\n".join([*lines, f"python {platform.python_version()}"])


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "is not installed"
