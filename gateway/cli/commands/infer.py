"""`gateway infer`: the command line asks a model for a prediction."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from gateway.cli.client.client_options import ClientOptions
from gateway.cli.client.inference_client import Client
from gateway.cli.command_errors import DEGRADED, FAILED, CommandError
from gateway.cli.options.connection_options import add_connection_arguments, connection_options
from gateway.cli.tensors.input_files import read_inputs
from gateway.cli.tensors.input_tensors import make_tensors, make_zeros
from gateway.cli.tensors.predictions import (
    as_json,
    as_npz,
    as_table,
    parameters_of,
    read_outputs,
)
from gateway.core.errors import InvalidRequest
from gateway.core.plan import TensorSpec
from gateway.core.request import Array
from gateway.protocol.generated.inference_pb2 import ModelInferResponse
from gateway.protocol.signature import shape_text

DESCRIPTION = """\
Asks a model for a prediction, over gRPC, and prints what it answers.

FILE is one of these; what it holds is made into the datatypes and shapes that the server says the \
model takes:
  JSON   {"x": [[1, 2], [3, 4]]}, the same under "inputs", the protocol's own {"inputs": \
[{"name": ..., "shape": ..., "data": ...}]}, or a frame as pandas writes it
  .npz   an array for each input
  CSV    a column for each input of one value a row; or, for a model with one input, a column for \
each of its values. Separated by commas, semicolons or tabs; an empty cell is a missing value (NaN)
Where the model names its columns, they are found by name, in whatever order they stand. What a \
file has besides, such as a column `label`, is not sent."""

EXAMPLES = """\
examples:
  gateway infer digits --input models/digits/samples.json --rows 3
  gateway infer penguins --input models/penguins/samples.csv
  gateway infer digits --version 1 --address 127.0.0.1:8001 --input models/digits/reference.npz \
--output-format json
  echo '{"features": [[0.5, 1.5]]}' | gateway infer NAME --input -
  gateway infer breast_cancer --zeros --rows 4"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("model", metavar="MODEL", help="its name")
    version = "the model's version [default: the server's choice, the newest]"
    parser.add_argument("--version", metavar="N", default="", help=version)
    _add_rows_arguments(parser)
    _add_answer_arguments(parser)
    add_connection_arguments(parser)


def _add_rows_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--input", metavar="FILE", help="JSON, .npz or CSV; - is standard input")
    parser.add_argument(
        "--zeros", action="store_true", help="send zeros and empty texts instead of a file"
    )
    parser.add_argument(
        "--rows",
        metavar="N",
        help="send no more than the first N rows; with --zeros, so many [default: all, 1]",
    )


def _add_answer_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output-format",
        metavar="FORMAT",
        default="table",
        help="table, json or npz [default: table]",
    )
    parser.add_argument(
        "--output", metavar="FILE", help="where the answer is written [default: standard output]"
    )
    parser.add_argument(
        "--fail-if-degraded",
        action="store_true",
        help=f"exit with {DEGRADED} where a fallback answered in the model's place",
    )


def run(arguments: argparse.Namespace) -> int:
    """Asks the model and prints its answer; returns the exit status."""
    options, rows = _read(arguments)
    model = arguments.model
    version = arguments.version
    with Client(options) as client:
        specs, outputs = client.signature(model, version)
        if arguments.input is not None:
            inputs = _inputs(arguments.input, specs, rows)
        elif arguments.zeros:
            optional = client.optional_inputs(model, version)
            inputs = _zeros([spec for spec in specs if spec.name not in optional], rows or 1)
        else:
            raise CommandError(_what_to_send(model, specs))
        asked = time.perf_counter()
        datatypes = {spec.name: spec.datatype for spec in specs}
        response = client.infer(model, version, inputs, datatypes)
        took_ms = (time.perf_counter() - asked) * 1000
    _print(arguments, response, outputs, took_ms)
    degraded = parameters_of(response).get("degraded", False)
    return DEGRADED if degraded and arguments.fail_if_degraded else 0


def _what_to_send(model: str, specs: Sequence[TensorSpec]) -> str:
    inputs = ", ".join(f"{spec.name} {spec.datatype} {shape_text(spec.shape)}" for spec in specs)
    return (
        f"'{model}' takes {inputs or 'no input'}: give rows with --input FILE, or have zeros sent, "
        "--zeros"
    )


def _print(
    arguments: argparse.Namespace,
    response: ModelInferResponse,
    specs: Sequence[TensorSpec],
    took_ms: float,
) -> None:
    try:
        outputs = read_outputs(response, {spec.name: spec.labels for spec in specs})
    except InvalidRequest as error:
        raise CommandError(f"the server's answer is not well formed: {error}", FAILED) from error
    if arguments.output_format == "npz":
        _write(arguments.output, as_npz(outputs))
    elif arguments.output_format == "json":
        _write(arguments.output, f"{as_json(response, outputs)}\n".encode())
    else:
        heading = f"{_who_answered(response)} in {took_ms:.1f} ms"
        _write(arguments.output, f"{heading}\n\n{as_table(outputs)}\n".encode())


def _who_answered(response: ModelInferResponse) -> str:
    """The version that answered; where that was a fallback, in whose place and why."""
    asked = f"{response.model_name} version {response.model_version}"
    parameters = parameters_of(response)
    if not parameters.get("degraded"):
        return f"{asked} answered"
    answered = str(parameters.get("served_by", "a fallback"))
    reason = " ".join(str(parameters.get("fallback_reason", "without a reason")).split())
    if answered.startswith("version "):
        return (
            f"{response.model_name} {answered} answered for version {response.model_version} "
            f"(degraded: {reason})"
        )
    return f"{answered} answered for {asked} (degraded: {reason})"


def _read(arguments: argparse.Namespace) -> tuple[ClientOptions, int | None]:
    """The connection, and the number of rows that the arguments name; None: they name none.

    Raises `CommandError` with all that is wrong with the arguments.
    """
    faults = []
    rows = arguments.rows
    if arguments.output_format not in ("table", "json", "npz"):
        faults.append(
            f"--output-format: expected table, json or npz, got {arguments.output_format!r}"
        )
    elif arguments.output_format == "npz" and arguments.output is None and sys.stdout.isatty():
        faults.append("--output-format npz is not for the screen: name a file with --output")
    if arguments.zeros and arguments.input is not None:
        faults.append("--zeros and --input: expected one of them")
    if rows is not None and not (rows.isascii() and rows.isdigit() and int(rows) > 0):
        faults.append(f"--rows: expected a number of 1 or more, got {rows!r}")
    return connection_options(arguments, faults), None if rows is None else int(rows)


def _zeros(specs: Sequence[TensorSpec], rows: int) -> dict[str, Array]:
    return {spec.name: make_zeros(spec, rows) for spec in specs}


def _inputs(source: str, specs: tuple[TensorSpec, ...], rows: int | None) -> dict[str, Array]:
    read = read_inputs(source, specs)
    inputs, strangers = make_tensors(read.named, specs, source)
    called = "standard input" if source == "-" else source
    for note in (*read.notes, *([_not_sent(strangers, called)] if strangers else [])):
        print(f"gateway infer: note: {note}", file=sys.stderr)
    free = {spec.name for spec in specs if spec.shape[:1] == (-1,)}
    return {name: array[:rows] if name in free else array for name, array in inputs.items()}


def _not_sent(strangers: Sequence[str], source: str) -> str:
    """A note on what is left out of a file; sample files hold the true answers as well."""
    names = ", ".join(f"'{name}'" for name in strangers)
    what = (
        "is not an input of the model and is not sent"
        if len(strangers) == 1
        else "are not inputs of the model and are not sent"
    )
    return f"{names} in {source} {what}"


def _write(path: str | None, content: bytes) -> None:
    if path is None:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    try:
        Path(path).write_bytes(content)
    except OSError as error:
        raise CommandError(f"--output: {path} cannot be written: {error.strerror}") from error
