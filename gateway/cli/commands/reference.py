"""`gateway reference`: the command line writes a model's reference sample from rows of a file."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from gateway.cli.command_errors import FAILED, CommandError
from gateway.cli.tensors.input_files import read_inputs
from gateway.cli.tensors.input_tensors import make_tensors
from gateway.cli.tensors.reference_rows import chosen_rows, input_specs, write_reference
from gateway.control.models.planning.tensor_names import with_columns
from gateway.control.models.sources.folder import scan
from gateway.control.models.sources.folder_versions import is_version
from gateway.control.models.sources.sidecars import COLUMNS, REFERENCE, read_labels
from gateway.control.models.sources.version_policy import live_versions
from gateway.core.plan import SessionPlan, TensorSpec
from gateway.core.request import Array
from gateway.onnx.samples import SampleTensor, sample_tensors
from gateway.onnx.session import Session, SessionNotOpened
from gateway.protocol.signature import shape_text

DESCRIPTION = """\
Writes reference.npz beside a model: a few real rows, from which the trial runs take their inputs. \
A model of strings or categories answers
made-up rows all alike, or not at all, so that nothing is seen of whether its rows may be batched.

FILE holds rows as for `gateway infer`: CSV, JSON or .npz. They get the datatypes and shapes of \
the model; an empty cell
of an input of floats is a missing value (NaN). Nothing is asked of a server."""

EXAMPLES = """\
examples:
  gateway reference models/penguins --from rows.csv
  gateway reference wine.onnx --from rows.csv --out reference.npz
  gateway reference models/penguins --from models/penguins/samples.csv --rows 20 --force"""

_ROWS: Final = 100


class _Model(NamedTuple):
    """The file that is looked at, and where its sample goes."""

    file: Path
    reference: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("model", metavar="MODEL", help="the folder of one model, or a .onnx file")
    parser.add_argument(
        "--from",
        dest="source",
        metavar="FILE",
        required=True,
        help="the rows: CSV, JSON or .npz; - is standard input",
    )
    parser.add_argument(
        "--rows",
        metavar="N",
        default=str(_ROWS),
        help=f"take no more than N rows, evenly spread over the file [default: {_ROWS}]",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="where it is written [default: reference.npz in the model's folder]",
    )
    parser.add_argument("--force", action="store_true", help="write over a file that is there")


def run(arguments: argparse.Namespace) -> int:
    """Writes the file and says what is in it; returns 0, or raises `CommandError`."""
    most = _number(arguments.rows)
    model = _model(Path(arguments.model))
    out = Path(arguments.out) if arguments.out else model.reference
    if out.exists() and not arguments.force:
        raise CommandError(f"{out} is there already (--force writes over it)", FAILED)
    tensors = _inputs(model.file)
    specs = _named(input_specs(tensors), model.reference.parent)
    source = "standard input" if arguments.source == "-" else arguments.source
    read = read_inputs(arguments.source, specs)
    arrays, strangers = make_tensors(read.named, specs, source)
    try:
        rows, taken, of = chosen_rows(arrays, specs, most)
    except ValueError as error:
        raise CommandError(f"{source}: {error}") from error
    write_reference(out, rows, tensors)
    print(f"{out}: {taken} of {of} rows of {source}")
    _print_inputs(rows, tensors)
    for note in read.notes:
        print(f"  {note}")
    if strangers:
        print(f"  left out, no inputs of the model: {', '.join(strangers)}")
    return 0


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:9]) > 0):
        raise CommandError(f"--rows: expected a number of 1 or more, got {text!r}")
    return int(text[:9])


def _model(path: Path) -> _Model:
    """The newest version that would be live in a folder, or the file itself."""
    if path.is_file():
        folder = path.absolute().parent
        beside = folder.parent if is_version(folder.name) else folder
        return _Model(path, beside / REFERENCE)
    if not path.is_dir():
        raise CommandError(f"{path} is no folder of a model and no .onnx file")
    found = scan(path)
    if found.fault or len(found.models) != 1:
        names = ", ".join(model.name for model in found.models)
        raise CommandError(found.fault or f"{path} holds several models, name one: {names}")
    (model,) = found.models
    wanted = live_versions(model.policy, [version.version for version in model.versions])
    files = [version.path for version in model.versions if version.version in wanted]
    if model.skipped or not files:
        raise CommandError(f"{path}: {model.skipped or model.fault or 'it has no version'}", FAILED)
    return _Model(files[-1], model.folder / (model.configuration.reference or REFERENCE))


def _named(specs: tuple[TensorSpec, ...], folder: Path) -> tuple[TensorSpec, ...]:
    """The inputs with the names of their columns, where columns.txt beside the model has them."""
    if not (folder / COLUMNS).exists():
        return specs
    try:
        return with_columns(specs, read_labels(folder / COLUMNS), {})[0]
    except ValueError as error:
        raise CommandError(str(error)) from error


def _inputs(file: Path) -> tuple[SampleTensor, ...]:
    """The inputs of the graph; raises `CommandError`."""
    try:
        graph = Session(str(file), SessionPlan(graph_optimization="disabled", cut_zipmap=True))
        return sample_tensors(graph.inputs)
    except SessionNotOpened as error:
        raise CommandError(f"{file}: {error}", FAILED) from error
    except KeyError as error:
        raise CommandError(f"{file}: an input is {error.args[0]}, which is not served") from error


def _print_inputs(rows: Mapping[str, Array], tensors: tuple[SampleTensor, ...]) -> None:
    for tensor in tensors:
        if tensor.name in rows:
            print(f"  {tensor.name} {tensor.datatype} {shape_text(rows[tensor.name].shape)}")
        elif not tensor.optional:
            print(f"  {tensor.name} {tensor.datatype} is not in it; trial runs make it up")
