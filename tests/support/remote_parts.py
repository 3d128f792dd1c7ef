"""Works, a server that answers as a test wants, and remote instances that run the works."""

from __future__ import annotations

import asyncio
import math
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import grpc
import numpy as np

from gateway.core.plan import BatchingPlan, TensorSpec, VersionPlan
from gateway.core.protection import RemotePlan
from gateway.protocol.generated import inference_pb2 as pb
from gateway.protocol.generated.health_pb2 import HealthCheckResponse
from gateway.serving.runtime.remote.grpc_channel import Channels
from gateway.serving.runtime.remote.remote_instance import RemoteInstance

SERVING = HealthCheckResponse.SERVING
NOT_SERVING = HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = HealthCheckResponse.SERVICE_UNKNOWN


def version(name="m", datatype="FP32", shape=(-1, 4), batch=64) -> VersionPlan:
    """A version whose input x and output y have the same datatype and shape."""
    return VersionPlan(
        name,
        1,
        "",
        "",
        (TensorSpec("x", datatype, shape),),
        (TensorSpec("y", datatype, shape),),
        batching=BatchingPlan(max_batch_size=batch),
    )


class Piece:
    """A work of one input, which counts how often it was settled."""

    def __init__(self, x, *, deadline_in_s=math.inf, wanted=(0,), axis=True, input_bytes=None):
        self.x = x
        self.wanted = wanted
        self.rows = len(x) if axis else -1
        self.deadline = time.monotonic() + deadline_in_s
        self.input_bytes = x.nbytes if input_bytes is None else input_bytes
        self.outputs = None
        self.error = None
        self.settled = 0
        self.collated_in = None
        self.alone = True

    def collate(self):
        self.collated_in = threading.current_thread()
        return {"x": self.x}

    def finish(self, outputs):
        self.outputs = outputs
        self.settled = self.settled + 1

    def fail(self, error):
        self.error = error
        self.settled = self.settled + 1


def rows(count, width=4) -> np.ndarray:
    return np.arange(count * width, dtype="f4").reshape(count, width)


def start(instance, work) -> asyncio.Future[None]:
    """Runs the work; the future is done when the instance has called `done`.

    The instance must not call it twice, nor inside `run`.
    """
    over = asyncio.get_running_loop().create_future()
    instance.run(work, lambda: over.set_result(None))
    assert not over.done()
    return over


async def result(instance, work):
    """Runs the work and returns its outputs; raises its error."""
    await start(instance, work)
    assert work.settled == 1
    if work.error is not None:
        raise work.error
    return work.outputs


async def until(true, timeout_s=20.0, what="it"):
    """Waits until the function returns true."""
    give_up = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < give_up, f"{what} did not come true"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def remote(address, of=None, metadata=None, **plan):
    """Starts a remote instance on channels of its own."""
    hook = {} if metadata is None else {"metadata": metadata}
    async with (
        Channels() as channels,
        RemoteInstance(of or version(), RemotePlan(address, **plan), channels, **hook) as instance,
    ):
        yield instance


def doubled(request: pb.ModelInferRequest) -> pb.ModelInferResponse:
    """The answer of a server that computes `y = 2 * x`."""
    x = np.frombuffer(request.raw_input_contents[0], "f4").reshape(request.inputs[0].shape)
    response = pb.ModelInferResponse(
        model_name=request.model_name, model_version="1", raw_output_contents=[(x * 2).tobytes()]
    )
    response.outputs.add(name="y", datatype="FP32", shape=x.shape)
    return response


class Stand:
    """A gRPC server on a port of its own.

    `infer` makes a response (or bytes) of request and context; `ready` is whether the model is
    ready, or a function that returns it; `health` is a list that a Watch repeats and then follows
    (see `says`); None: the server has no Watch.
    """

    def __init__(
        self,
        infer=lambda request, _context: doubled(request),
        *,
        ready=True,
        health=None,
        port=0,
        credentials=None,
        options=(),
    ):
        self.requests = []
        self.calls = []
        self.asked = 0
        self.watched = []
        self._infer = infer
        self.ready = ready
        self._changed = threading.Condition()
        self._stopping = False
        self._health = health
        self._server = grpc.server(
            ThreadPoolExecutor(16), options=(("grpc.so_reuseport", 0), *options)
        )
        methods = {
            "ModelInfer": self._unary(self._model_infer),
            "ModelReady": self._unary(self._model_ready),
        }
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("inference.GRPCInferenceService", methods),)
        )
        if health is not None:
            watch = {"Watch": grpc.unary_stream_rpc_method_handler(self._watch)}
            self._server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler("grpc.health.v1.Health", watch),)
            )
        where = f"127.0.0.1:{port}"
        self.port = (
            self._server.add_secure_port(where, credentials)
            if credentials
            else self._server.add_insecure_port(where)
        )
        assert self.port
        self.address = f"127.0.0.1:{self.port}"
        self._server.start()

    def says(self, status):
        """Sets a new health, which every watch gets."""
        with self._changed:
            self._health = [status]
            self._changed.notify_all()

    def stop(self):
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._server.stop(0).wait(10)

    @staticmethod
    def _unary(behaviour):
        return grpc.unary_unary_rpc_method_handler(behaviour)

    def _model_infer(self, message, context):
        request = pb.ModelInferRequest.FromString(message)
        self.requests.append(request)
        self.calls.append((dict(context.invocation_metadata()), context.time_remaining()))
        response = self._infer(request, context)
        return response if isinstance(response, bytes) else response.SerializeToString()

    def _model_ready(self, message, context):
        self.asked += 1
        ready = self.ready(context) if callable(self.ready) else self.ready
        return pb.ModelReadyResponse(ready=ready).SerializeToString()

    def _watch(self, message, context):
        self.watched.append(message)
        told = None
        while not self._stopping and context.is_active():
            with self._changed:
                if self._health[0] == told:
                    self._changed.wait(0.1)
                told, new = self._health[0], self._health[0] != told
            if new:
                yield HealthCheckResponse(status=told).SerializeToString()


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
