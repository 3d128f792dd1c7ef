"""`gateway convert`: the command line rewrites a model file so that it can be served."""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from pathlib import Path
from typing import Final

from gateway.cli.command_errors import FAILED, CommandError

DESCRIPTION = """\
Rewrites an exported model so that ONNX Runtime opens it and the gateway serves it:
  ZipMap is cut: the probabilities are a tensor, the classes' names go into the file's metadata
  outputs are declared as they are, in their datatypes and with as many rows as they have
  rows of FP64 are rounded to FP32 before trees with thresholds of FP32, as the library did in \
training
  where ONNX Runtime refuses FP64 all the same, the graph computes in FP32
Inputs keep their names and datatypes. OUT is a .onnx file, or the folder of a model, whose \
version 1 it becomes.

Needs the package onnx: pip install 'onnx-gateway[convert]'"""

EXAMPLES = """\
examples:
  gateway convert exported.onnx wine.onnx
  gateway convert exported.onnx models/wine"""

_SUFFIX: Final = ".onnx"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("source", metavar="IN", help="the .onnx file that was exported")
    parser.add_argument("target", metavar="OUT", help="a .onnx file, or the folder of a model")
    parser.add_argument("--force", action="store_true", help="write over a file that is there")


def run(arguments: argparse.Namespace) -> int:
    """Writes the file and says what was done; returns 0, or raises `CommandError`."""
    if importlib.util.find_spec("onnx") is None:
        raise CommandError(
            "the package onnx is not installed: pip install 'onnx-gateway[convert]'", FAILED
        )
    source = Path(arguments.source)
    target = _target(Path(arguments.target))
    if not source.is_file():
        raise CommandError(f"{source} is no file")
    if target.exists() and not arguments.force:
        raise CommandError(f"{target} is there already (--force writes over it)", FAILED)
    done = _converted(source, target)
    print(target)
    for sentence in done or ("nothing had to be rewritten",):
        print(f"  {sentence}")
    return 0


def _target(path: Path) -> Path:
    return path if path.suffix == _SUFFIX else path / "1" / "model.onnx"


def _converted(source: Path, target: Path) -> tuple[str, ...]:
    """Writes the file whole or not at all."""
    # imported late: the package is an extra
    from gateway.onnx.conversion.rewrite import NotConverted, rewrite  # noqa: PLC0415

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".convert-", dir=target.parent) as folder:
            written = Path(folder) / target.name
            done = rewrite(source, written)
            written.replace(target)
    except NotConverted as error:
        raise CommandError(str(error), FAILED) from error
    except OSError as error:
        raise CommandError(f"{target} cannot be written: {error.strerror}", FAILED) from error
    return done
