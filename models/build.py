"""Rebuilds the models in this folder: `python models/build.py [NAME ...]`.

With `--check` it changes nothing and says whether a build would change a byte.

It needs the `dev` extra. The same package versions on the same kind of processor give the same
files; on another kind the last bits of a weight may differ, and then `--check` says by how much the
answers do.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version as installed
from pathlib import Path

import numpy as np
import train_breast_cancer
import train_digits
import train_penguins
from model_folder import Model, accuracy, answer, write
from threadpoolctl import threadpool_limits

HERE = Path(__file__).resolve().parent
TRAININGS: dict[str, Callable[[], Model]] = {
    "breast_cancer": train_breast_cancer.train,
    "digits": train_digits.train,
    "penguins": train_penguins.train,
}
TRAINED_WITH = ", ".join(
    f"{package} {installed(package)}"
    for package in ("scikit-learn", "numpy", "scipy", "onnx", "skl2onnx")
)


def main() -> int:
    """Builds or checks the models named (all by default); 1 where a check found a difference."""
    arguments = _arguments()
    names = arguments.names or list(TRAININGS)
    if arguments.check:
        return max([check(name, arguments.into) for name in names])
    for name in names:
        build(name, arguments.into)
    return 0


def build(name: str, root: Path) -> list[Path]:
    """Trains the model and writes its folder under `root`.

    It prints how good and how large each version is.
    """
    # with several threads the order of a sum, and so its last bit, is left to chance
    with threadpool_limits(1):
        model = TRAININGS[name]()
    files = write(model, root, TRAINED_WITH)
    for number, version in model.versions.items():
        size_kb = (root / name / str(number) / "model.onnx").stat().st_size / 1000
        rows = len(model.answers)
        print(
            f"{name}/{number}: {version.kind}, accuracy {accuracy(model, number):.4f} on {rows} "
            f"held-out rows, {size_kb:.1f} KB"
        )
    return files


def check(name: str, root: Path) -> int:
    """Builds the model elsewhere and says of each file whether it is the same byte for byte.

    It returns 1 where a file differs.
    """
    with tempfile.TemporaryDirectory() as scratch:
        fresh = build(name, Path(scratch))
        differing = [
            (file, root / file.relative_to(scratch))
            for file in fresh
            if not _same(file, root / file.relative_to(scratch))
        ]
        for built, kept in differing:
            print(f"  {kept.relative_to(root)}: {_difference(built, kept)}")
    print(
        f"{name}: {len(differing)} of {len(fresh)} files differ"
        if differing
        else f"{name}: all {len(fresh)} files are identical"
    )
    return 1 if differing else 0


def _same(built: Path, kept: Path) -> bool:
    return kept.is_file() and kept.read_bytes() == built.read_bytes()


def _difference(built: Path, kept: Path) -> str:
    if not kept.is_file():
        return "is missing: build it"
    if built.suffix != ".onnx":
        return "other bytes"
    rows = dict(np.load(built.parent.parent / "reference.npz"))
    ours, theirs = (answer(file.read_bytes(), rows)["probabilities"] for file in (built, kept))
    return (
        "other bytes; its probabilities differ by at most "
        f"{np.abs(ours - theirs).max():.1e} on the reference rows"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Rebuild the models that ship with the gateway.")
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"one of {', '.join(TRAININGS)}; all where none is named",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="build elsewhere and compare; exit 1 where a file differs",
    )
    parser.add_argument(
        "--into",
        type=Path,
        default=HERE,
        metavar="DIR",
        help="the folder of models to write or check (default: this one)",
    )
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(TRAININGS))
    if unknown:
        parser.error(f"NAME: expected one of {', '.join(TRAININGS)}, got {', '.join(unknown)}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
