"""How long a start takes.

It counts from the start of the process to the first answer, and until every model has answered.

The gateway is started once before, so its findings about the models are in its cache, as they are
on a server that starts again. Beside it stands a plain script that opens the same versions. Both
may use every core.
"""

from __future__ import annotations

import compileall
import contextlib
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import grpc
import numpy as np

import gateway
from gateway.protocol.generated import inference_pb2 as pb
from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub
from load_tests.servers import UP_WITHIN_S, Server, pinned, started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

POLL_S = 0.005
ITEM_BYTES = {
    "BOOL": 1,
    "INT8": 1,
    "UINT8": 1,
    "INT16": 2,
    "UINT16": 2,
    "FP16": 2,
    "BF16": 2,
    "FP64": 8,
    "INT64": 8,
    "UINT64": 8,
}


@dataclass(frozen=True)
class Start:
    """The times of one start, in seconds from the start of the process."""

    first_s: float
    all_s: float


@dataclass(frozen=True)
class LiveVersion:
    """What a server serves: one request for each model, and the files of every version."""

    requests: list[pb.ModelInferRequest]
    files: list[Path]


def start_gateway(command: str, models: Path, log: Path, cache: Path, live: LiveVersion) -> Start:
    """Starts the gateway once, measures the start and stops it again.

    `cache` holds what it knows from earlier starts.
    """
    begun = time.perf_counter()
    with _open_port(command, models, log, cache) as (server, stub):
        first_s = 0.0
        for request in live.requests:
            _until(
                server,
                log,
                grpc.RpcError,
                lambda request=request: stub.ModelInfer(request, timeout=5),  # type: ignore[misc]
            )
            first_s = first_s or time.perf_counter() - begun
        return Start(first_s, time.perf_counter() - begun)


def start_plain(live: LiveVersion) -> Start:
    """Runs the plain script once, until it reports that all sessions are open."""
    script = Path(__file__).with_name("plain_start.py")
    begun = time.perf_counter()
    subprocess.run(
        pinned(None, [sys.executable, str(script), *map(str, live.files)]),
        check=True,
        stdout=subprocess.DEVNULL,
    )
    took = time.perf_counter() - begun
    return Start(took, took)


def warm_cache(command: str, models: Path, log: Path, cache: Path) -> LiveVersion:
    """Starts the gateway once, so that it inspects everything, and asks what it serves.

    Its bytecode is compiled before, as pip does when it installs a package.
    """
    # needed where Python may not write bytecode by itself
    compileall.compile_dir(str(Path(gateway.__file__).parent), quiet=1)
    with _open_port(command, models, log, cache) as (server, stub):
        index: list[pb.RepositoryIndexResponse.ModelIndex] = []
        while not index or any(model.state not in {"READY", "UNAVAILABLE"} for model in index):
            index = list(
                _until(
                    server,
                    log,
                    grpc.RpcError,
                    lambda: stub.RepositoryIndex(pb.RepositoryIndexRequest(), timeout=5),
                ).models
            )
            time.sleep(POLL_S)
        ready = [model for model in index if model.state == "READY"]
        requests = [
            make_request(stub.ModelMetadata(pb.ModelMetadataRequest(name=name), timeout=5), models)
            for name in sorted({m.name for m in ready})
        ]
        for request in requests:
            stub.ModelInfer(request, timeout=20)
        return LiveVersion(
            requests, [models / model.name / model.version / "model.onnx" for model in ready]
        )


def make_request(metadata: pb.ModelMetadataResponse, models: Path) -> pb.ModelInferRequest:
    """A request of one row for a model.

    The row is the first of MODELS/NAME/reference.npz, or zeros and empty strings without that file.
    """
    reference = models / metadata.name / "reference.npz"
    rows = np.load(reference) if reference.exists() else {}
    request = pb.ModelInferRequest(model_name=metadata.name)
    for tensor in metadata.inputs:
        shape = [1 if size < 0 else size for size in tensor.shape]
        if tensor.name in rows:
            row = rows[tensor.name]
            row = row[None] if row.ndim < len(tensor.shape) else row[:1]
            shape = list(row.shape)
            raw = _raw(row)
        else:
            # an empty string is four zero bytes
            raw = bytes(int(np.prod(shape)) * ITEM_BYTES.get(tensor.datatype, 4))
        request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=shape)
        request.raw_input_contents.append(raw)
    return request


def _raw(row: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> bytes:
    if row.dtype.kind not in "OSU":
        return row.tobytes()
    texts = [
        text if isinstance(text, bytes) else str(text).encode() for text in row.ravel().tolist()
    ]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


@contextlib.contextmanager
def _open_port(
    command: str, models: Path, log: Path, cache: Path
) -> Iterator[tuple[Server, GRPCInferenceServiceStub]]:
    """Starts a gateway and waits until its port takes connections.

    A channel that was refused once would wait a second before it tries again.
    """
    with started(command, models, log, env={"XDG_CACHE_HOME": str(cache)}) as server:
        host, _, port = server.address.rpartition(":")
        _until(
            server,
            log,
            OSError,
            lambda: socket.create_connection((host, int(port)), timeout=1).close(),
        )
        with grpc.insecure_channel(server.address) as channel:
            yield server, GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]


def _until(server: Server, log: Path, refusal: type[Exception], call: Callable[[], T]) -> T:
    until = time.monotonic() + UP_WITHIN_S
    while True:
        try:
            return call()
        except refusal as error:
            if server.process.poll() is not None or time.monotonic() > until:
                raise SystemExit(
                    f"the gateway did not come up: {error}\n{log.read_text()[-2000:]}"
                ) from None
        time.sleep(POLL_S)
