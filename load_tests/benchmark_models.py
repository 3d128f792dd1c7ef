"""The models that the load tests serve, built from fixed seeds.

- `small`: 64-64-10 perceptron; the transport and the gateway's own work dominate.
- `mid`: 512-1024-1024-1024-128 perceptron, 10 MB; matrix products dominate.
- `large`: 150 528 floats in (600 KB, an image's worth), the maxima of 84
  groups out; copying dominates.
- `slow`: one row at a time only, about 5 ms a run on one core; it shows what overload
  does to a model that no batching can help.
- `small_000`, `mid_000`, ...: copies of these two with weights of their own.

The fault trials have models of four floats besides: `build_scale` makes one that multiplies,
`build_fragile` one that multiplies and fails on a value that is too large.

    .venv/bin/python -m load_tests.benchmark_models DIR [--copies 97]

The program writes DIR/models/NAME/1/model.onnx for a server, and DIR/payloads/NAME.bin and
NAME.framed for ghz and h2load.
"""

from __future__ import annotations

import argparse
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SMALL = (64, 64, 10)
MID = (512, 1024, 1024, 1024, 128)
LARGE_WIDTH = 150_528
LARGE_GROUPS = 84
SLOW_WIDTH = 64
SLOW_SIDE = 512
SLOW_PRODUCTS = 2
FRAGILE_WIDTH = 4
FRAGILE_LIMIT = 100
INPUT = "input"
OUTPUT = "probs"


def copy_name(number: int, of: str = "small") -> str:
    """Names a copy; all names have one length, so that the replies of all copies have one size."""
    return f"{of}_{number:03}"


def build(folder: Path, *, copies: int = 0, copies_of_mid: int = 0) -> None:
    """Writes small, mid, large and slow, `copies` copies of small and `copies_of_mid` of mid.

    A copy has the same shapes as its original. Each model is FOLDER/NAME/1/model.onnx.
    """
    for name in ("small", *map(copy_name, range(copies))):
        _save(folder, name, *_perceptron(name, SMALL), SMALL[0], SMALL[-1])
    for name in ("mid", *(copy_name(number, of="mid") for number in range(copies_of_mid))):
        _save(folder, name, *_perceptron(name, MID), MID[0], MID[-1])
    shape = numpy_helper.from_array(
        np.array([0, LARGE_GROUPS, LARGE_WIDTH // LARGE_GROUPS], np.int64), "shape"
    )
    nodes = [
        helper.make_node("Reshape", [INPUT, "shape"], ["groups"]),
        helper.make_node("ReduceMax", ["groups"], [OUTPUT], axes=[2], keepdims=0),
    ]
    _save(folder, "large", nodes, [shape], LARGE_WIDTH, LARGE_GROUPS)
    _save(folder, "slow", *_products(), SLOW_WIDTH, SLOW_SIDE, rows=1)


def build_scale(folder: Path, name: str, *, version: int = 1, factor: float) -> None:
    """Writes FOLDER/NAME/VERSION/model.onnx, which multiplies by the factor."""
    weights = [numpy_helper.from_array(np.array([factor], np.float32), "factor")]
    _save(
        folder,
        name,
        [helper.make_node("Mul", [INPUT, "factor"], [OUTPUT])],
        weights,
        FRAGILE_WIDTH,
        FRAGILE_WIDTH,
        version=version,
    )


def build_fragile(folder: Path, name: str, *, version: int = 1, factor: float) -> None:
    """Writes a model that multiplies whole numbers from 0 up to FRAGILE_LIMIT by the factor.

    A larger number fails the run that it is in.
    A reference sample of numbers that it accepts lies beside the model.
    """
    table = numpy_helper.from_array((np.arange(FRAGILE_LIMIT) * factor).astype(np.float32), "table")
    nodes = [
        helper.make_node("Cast", [INPUT], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], [OUTPUT]),
    ]
    _save(folder, name, nodes, [table], FRAGILE_WIDTH, FRAGILE_WIDTH, version=version)
    np.savez(
        folder / name / "reference.npz",
        input=np.arange(8 * FRAGILE_WIDTH, dtype=np.float32).reshape(8, FRAGILE_WIDTH),
    )


def _products() -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Makes the graph of `slow`: a row becomes a square matrix, which is multiplied by others."""
    rng = np.random.default_rng(5)
    first = rng.standard_normal((SLOW_WIDTH, SLOW_SIDE), np.float32) / 8
    weights = [numpy_helper.from_array(first, "first")]
    nodes = [
        helper.make_node("MatMul", [INPUT, "first"], ["row"]),
        helper.make_node("Transpose", ["row"], ["column"], perm=[1, 0]),
        helper.make_node("MatMul", ["column", "row"], ["square0"]),
    ]
    for k in range(SLOW_PRODUCTS):
        kernel = rng.standard_normal((SLOW_SIDE, SLOW_SIDE), np.float32) / np.float32(
            SLOW_SIDE**0.5
        )
        weights.append(numpy_helper.from_array(kernel, f"m{k}"))
        nodes.append(helper.make_node("MatMul", [f"square{k}", f"m{k}"], [f"square{k + 1}"]))
    nodes.append(
        helper.make_node("ReduceMean", [f"square{SLOW_PRODUCTS}"], ["mean"], axes=[0], keepdims=1)
    )
    nodes.append(helper.make_node("Softmax", ["mean"], [OUTPUT], axis=1))
    return nodes, weights


def _perceptron(
    name: str, widths: tuple[int, ...]
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    # weights of its own, so that an answer from the wrong model shows
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    nodes = []
    weights = []
    x = INPUT
    for k, (width, next_width) in enumerate(pairwise(widths)):
        kernel = rng.standard_normal((width, next_width), np.float32) / np.float32(width**0.5)
        weights += [
            numpy_helper.from_array(kernel, f"w{k}"),
            numpy_helper.from_array(np.zeros(next_width, np.float32), f"b{k}"),
        ]
        nodes.append(helper.make_node("Gemm", [x, f"w{k}", f"b{k}"], [f"h{k}"]))
        if k == len(widths) - 2:
            nodes.append(helper.make_node("Softmax", [f"h{k}"], [OUTPUT], axis=1))
        else:
            nodes.append(helper.make_node("Relu", [f"h{k}"], [x := f"a{k}"]))
    return nodes, weights


def _save(
    folder: Path,
    name: str,
    nodes: list[onnx.NodeProto],
    weights: list[onnx.TensorProto],
    width_in: int,
    width_out: int,
    rows: int | str = "N",
    version: int = 1,
) -> None:
    ends = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, [rows, w])
        for n, w in ((INPUT, width_in), (OUTPUT, width_out))
    ]
    graph = helper.make_graph(nodes, name, ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = folder / name / str(version) / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument(
        "--copies", type=int, default=0, help="how many models of small's shape to add (default 0)"
    )
    args = parser.parse_args()
    from load_tests.payloads import make_payload  # noqa: PLC0415 - payloads imports this module

    build(args.folder / "models", copies=args.copies)
    payloads = args.folder / "payloads"
    payloads.mkdir(exist_ok=True)
    for name in ("small", "mid", "large"):
        payload = make_payload(args.folder / "models", name)
        (payloads / f"{name}.bin").write_bytes(payload.message)
        (payloads / f"{name}.framed").write_bytes(payload.framed)
    print(f"models in {args.folder / 'models'}, payloads in {payloads}")


if __name__ == "__main__":
    main()
