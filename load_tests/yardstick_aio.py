"""The yardstick: a server as most people would write it.

It has grpc.aio, an asyncio batcher with a 1 ms window, and ONNX Runtime in a thread.

    .venv/bin/python -m load_tests.yardstick_aio PORT MODELS [--echo]

It serves MODELS/NAME/1/model.onnx of one float input and one float output. With --echo there is no
model and no batcher: the first ten floats of each row come back, so what is left is grpc.aio
itself.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

# the faster of grpcio's I/O modes, which the gateway uses too
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener,-event_engine_client")

import grpc
import numpy as np
import onnxruntime as ort

from gateway.protocol.generated import inference_pb2

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numpy.typing import NDArray

    Rows = NDArray[np.float32]
    Predict = Callable[[str, Rows], Awaitable[Rows]]

SERVICE = "inference.GRPCInferenceService"
MAX_BATCH = 64
WINDOW_S = 0.001
ECHOED_FLOATS = 10


class Batcher:
    """Gathers the requests of one model and runs them together.

    A batch starts after a millisecond, or as soon as 64 requests wait.
    """

    def __init__(self, path: Path) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._queue: asyncio.Queue[tuple[Rows, asyncio.Future[Rows]]] = asyncio.Queue()

    async def predict(self, x: Rows) -> Rows:
        """The model's output for these rows."""
        future: asyncio.Future[Rows] = asyncio.get_running_loop().create_future()
        await self._queue.put((x, future))
        return await future

    async def run(self) -> None:
        """Runs batches until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            batch = await self._gather()
            x = np.concatenate([rows for rows, _ in batch])
            (y,) = await loop.run_in_executor(None, self._session.run, None, {self._input: x})
            at = 0
            for rows, future in batch:
                if not future.done():
                    future.set_result(y[at : at + len(rows)])
                at += len(rows)

    async def _gather(self) -> list[tuple[Rows, asyncio.Future[Rows]]]:
        loop = asyncio.get_running_loop()
        batch = [await self._queue.get()]
        until = loop.time() + WINDOW_S
        while len(batch) < MAX_BATCH and (left := until - loop.time()) > 0:
            if not self._queue.empty():
                batch.append(self._queue.get_nowait())
                continue
            try:
                batch.append(await asyncio.wait_for(self._queue.get(), left))
            except TimeoutError:
                break
        return batch


def make_handler(predict: Predict) -> grpc.RpcMethodHandler:
    """A handler of ModelInfer that answers with `predict(model, rows)`."""

    async def infer(
        request: inference_pb2.ModelInferRequest, _: object
    ) -> inference_pb2.ModelInferResponse:
        x = np.frombuffer(request.raw_input_contents[0], np.float32).reshape(
            tuple(request.inputs[0].shape)
        )
        y = await predict(request.model_name, x)
        response = inference_pb2.ModelInferResponse(
            model_name=request.model_name, model_version="1", id=request.id
        )
        response.outputs.add(name="probs", datatype="FP32", shape=y.shape)
        response.raw_output_contents.append(y.tobytes())
        return response

    request = inference_pb2.ModelInferRequest
    response = inference_pb2.ModelInferResponse
    return grpc.unary_unary_rpc_method_handler(
        infer, request.FromString, response.SerializeToString
    )


async def serve(port: int, batchers: dict[str, Batcher], *, echo: bool) -> None:
    """Serves until the process is ended."""

    async def predict(model: str, x: Rows) -> Rows:
        return x[:, :ECHOED_FLOATS] if echo else await batchers[model].predict(x)

    server = grpc.aio.server()
    # A generic handler: registered methods, as the generated code makes them,
    # cost grpc.aio more for each call.
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE, {"ModelInfer": make_handler(predict)}),)
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await asyncio.gather(
        server.wait_for_termination(), *(batcher.run() for batcher in batchers.values())
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("port", type=int)
    parser.add_argument("models", type=Path)
    parser.add_argument(
        "--echo", action="store_true", help="no model: the first ten floats of each row come back"
    )
    args = parser.parse_args()
    batchers = (
        {}
        if args.echo
        else {path.parts[-3]: Batcher(path) for path in args.models.glob("*/1/model.onnx")}
    )
    asyncio.run(serve(args.port, batchers, echo=args.echo))


if __name__ == "__main__":
    main()
