"""Serves exports of four libraries, and compares the answers with what the libraries predict.

Each is asked for all its rows at once, and for single rows by many callers, which share batches.
The libraries are installed into .tools/exports.

    .venv/bin/python -m load_tests.exports [--folder DIR] [--keep]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import numpy as np

from gateway.protocol.generated import inference_pb2 as pb
from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub
from gateway.protocol.tensors import decode_raw, encode_raw
from load_tests.exports.environment import HERE, exports_python
from load_tests.servers import BIN, ROOT, free_port

CALLERS = 32
SINGLE_ROWS = 96
FARTHEST = 1e-4  # float32 here, float64 in some of the libraries
READY_WITHIN_S = 300


class Verdict(NamedTuple):
    """What became of one export."""

    name: str
    batched: bool
    labels_off: int
    """Rows with another label than the library's."""
    farthest: float
    """The largest difference of a number, relative to the output's largest."""
    fault: str = ""

    @property
    def right(self) -> bool:
        """All answers are the library's."""
        return not self.fault and not self.labels_off and self.farthest <= FARTHEST


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="exports that were made before")
    folder = parser.parse_args().folder
    if folder is not None:
        return judge(folder, [str(folder / "models")])
    with tempfile.TemporaryDirectory() as made:
        subprocess.run([exports_python(), HERE / "zoo.py", made], check=True)
        return judge(Path(made), [str(Path(made) / "models")])


def judge(folder: Path, served: Sequence[str]) -> int:
    """Serves the paths, compares each NAME.npz, and prints a line for each; 1: one is wrong."""
    port = free_port()
    options = ["--port", str(port), "--http-port", "off", "--cache-dir", str(folder / "cache")]
    server = subprocess.Popen(
        [str(BIN / "gateway"), "serve", *served, *options],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
            wait_ready(stub)
            names = sorted(path.stem for path in folder.glob("*.npz"))
            verdicts = [judged(stub, name, folder / f"{name}.npz") for name in names]
    finally:
        server.terminate()
        server.wait(30)
    return report(verdicts)


def wait_ready(stub: Any) -> None:
    """Returns when all models have been loaded, or have failed."""
    give_up = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < give_up:
        index = stub.RepositoryIndex(pb.RepositoryIndexRequest(), wait_for_ready=True, timeout=60)
        if index.models and not any(entry.state in ("", "LOADING") for entry in index.models):
            return
        time.sleep(0.1)
    raise SystemExit(f"not all models were loaded within {READY_WITHIN_S} s")


def judged(stub: Any, name: str, path: Path) -> Verdict:
    with np.load(path) as file:
        rows = {key[3:]: file[key] for key in file.files if key.startswith("in ")}
        wanted = {int(key[4:]): file[key] for key in file.files if key.startswith("out ")}
    try:
        config = stub.ModelConfig(pb.ModelConfigRequest(name=name), wait_for_ready=True, timeout=60)
        together = answer(stub, name, rows)
        apart = answers_of_single_rows(stub, name, rows)
    except grpc.RpcError as error:
        return Verdict(name, False, 0, 0, f"{error.code().name}: {error.details()}")
    labels_off = 0
    farthest = 0.0
    for place, expected in wanted.items():
        for got in (together[place], apart[place]):
            off, far = difference(got, expected[: len(got)])
            labels_off += off
            farthest = max(farthest, far)
    return Verdict(name, config.config.max_batch_size > 0, labels_off, farthest)


def answers_of_single_rows(stub: Any, name: str, rows: Mapping[str, Any]) -> list[Any]:
    count = min(SINGLE_ROWS, len(next(iter(rows.values()))))
    with ThreadPoolExecutor(CALLERS) as callers:
        answers = list(
            callers.map(
                lambda row: answer(stub, name, {key: x[row : row + 1] for key, x in rows.items()}),
                range(count),
            )
        )
    return [np.concatenate(outputs) for outputs in zip(*answers, strict=True)]


def answer(stub: Any, name: str, rows: Mapping[str, Any]) -> list[Any]:
    """The outputs in their order."""
    request = pb.ModelInferRequest(model_name=name)
    for key, array in rows.items():
        datatype = {"f4": "FP32", "f8": "FP64", "i8": "INT64"}.get(array.dtype.str[1:], "BYTES")
        request.inputs.add(name=key, datatype=datatype, shape=array.shape)
        content = array.astype(object) if datatype == "BYTES" else array
        request.raw_input_contents.append(encode_raw(content, datatype))
    response = stub.ModelInfer(request, timeout=60)
    return [
        decode_raw(raw, 0, len(raw), tensor.datatype, tuple(tensor.shape), tensor.name)
        for tensor, raw in zip(response.outputs, response.raw_output_contents, strict=True)
    ]


def difference(got: Any, expected: Any) -> tuple[int, float]:
    """Rows that differ in a label, and how far numbers are apart."""
    if expected.dtype.kind == "f":
        apart = np.abs(got.astype("f8") - expected).max()
        return 0, float(apart / max(np.abs(expected).max(), 1e-9))
    whole = expected.astype(int) if expected.dtype.kind == "b" else expected
    return sum(a != b for a, b in zip(texts(got), texts(whole), strict=True)), 0.0


def texts(labels: Any) -> list[str]:
    return [
        label.decode() if isinstance(label, bytes) else str(label)
        for label in labels.ravel().tolist()
    ]


def report(verdicts: list[Verdict]) -> int:
    for verdict in verdicts:
        what = verdict.fault or (
            f"{verdict.labels_off} labels off, numbers within {verdict.farthest:.1e}"
        )
        how = "batched" if verdict.batched else "not batched"
        print(f"{'right' if verdict.right else 'WRONG'}  {verdict.name:<24} {how:<12} {what}")
    right = sum(verdict.right for verdict in verdicts)
    batched = sum(verdict.batched for verdict in verdicts)
    print(f"{right} of {len(verdicts)} exports are right, {batched} of them are batched")
    return 0 if right == batched == len(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
