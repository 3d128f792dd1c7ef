"""What the layers around the batcher cost a request, in microseconds of this process.

    .venv/bin/python -m load_tests.onion [--turns 40]

Three ways into the same batcher, taking turns: the batcher itself, the predictors around it
(`predict`), and the whole way of a message from bytes to bytes (`message`). The model is one that
answers at once, on the loop, so that nothing but our own code is timed. The figure is the median
over turns of the difference to the batcher.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import numpy as np

from gateway.assembly.predictor_stack import ProcessContext, VersionInstances, build_stack
from gateway.core.plan import BatchingPlan, TensorSpec, VersionPlan
from gateway.core.request import Array, InferenceRequest
from gateway.core.waiter import Driven
from gateway.protocol.codec import VersionCodec
from gateway.protocol.generated.inference_pb2 import ModelInferRequest
from gateway.protocol.requests import ParsedRequest
from gateway.records.batch_writer import BatchWriter
from gateway.records.counters import StatisticsTable, size_statistics_file
from gateway.records.ring import RingWriter
from gateway.records.ring_file import size_rings_file
from gateway.records.sampling import SamplingPlan
from gateway.records.writer import RecordWriter
from gateway.serving.policies.admission.admission import Room
from gateway.serving.policies.breaker.circuit_breaker import CircuitBreaker
from gateway.serving.routing.catalogue import Catalogue
from gateway.serving.routing.fallback_targets import FallbackTargets
from gateway.serving.routing.live_version import LiveVersion
from gateway.serving.wire.services.inference_service import InferenceService
from gateway.serving.wire.services.open_streams import OpenStreams

_REQUESTS = 128
_ROUNDS = 40


class _Ended(Driven):
    """Drives one request and counts its end."""

    __slots__ = ("_ends",)

    def __init__(self, ends: list[Any]) -> None:
        self._ends = ends

    def _finished(self, value: Any) -> None:
        self._ends.append(value)

    def _failed(self, error: BaseException) -> None:
        raise error


class _Model:
    def run(self, feed: dict[str, Array], wanted: tuple[int, ...], rows: int) -> list[Array]:
        return [feed["input"][:, :10]]


class _NoInstances:
    max_concurrency = 1

    def unreachable(self) -> str:
        return ""

    def acquire(self, ready: Callable[[], None]) -> None: ...

    def release(self, slot: object) -> None: ...


class _Call:
    deadline = float("inf")

    def metadata(self) -> tuple[()]:
        return ()

    def peer(self) -> str:
        return ""


async def _nothing() -> None: ...


def _ignore(record: object) -> None: ...


def _message() -> bytes:
    request = ModelInferRequest(model_name="m", id="1")
    request.inputs.add(name="input", datatype="FP32", shape=[1, 64])
    request.raw_input_contents.append(np.zeros((1, 64), "f4").tobytes())
    return request.SerializeToString()


async def _time(one: Callable[[], Coroutine[Any, Any, Any]]) -> float:
    """Microseconds a request, driven in bursts as the transport drives it."""
    began = time.perf_counter()
    for _ in range(_ROUNDS):
        ends: list[Any] = []
        for _ in range(_REQUESTS):
            _Ended(ends).start(one())
        while len(ends) < _REQUESTS:
            await asyncio.sleep(0)
    return (time.perf_counter() - began) / (_ROUNDS * _REQUESTS) * 1e6


async def measure(turns: int) -> dict[str, float]:
    """Medians over turns, in microseconds a request."""
    plan = VersionPlan(
        "m", 1, "", "", (TensorSpec("input", "FP32", (-1, 64)),),
        (TensorSpec("probs", "FP32", (-1, 10)),),
        BatchingPlan(max_batch_size=64, useful_batch_size=64, splits=True, loop_batch_size=64),
    )  # fmt: skip
    statistics_fd = os.memfd_create("statistics")
    rings_fd = os.memfd_create("rings")
    size_statistics_file(statistics_fd, 1)
    size_rings_file(rings_fd, 1)
    counts = StatisticsTable(statistics_fd).writer(0, 0)
    breaker = CircuitBreaker("m", plan.protection.breaker, time.monotonic, _ignore)
    catalogue = Catalogue()
    context = ProcessContext(
        processes=1,
        global_limit=Room("the gateway", 0, 0),
        targets=FallbackTargets(catalogue),
        on_event=_ignore,
    )
    writer = RecordWriter(RingWriter(rings_fd, 0), SamplingPlan(), counts)
    batches = BatchWriter(writer, "m/1", 0)
    stack = build_stack(
        plan, VersionInstances(_NoInstances(), _Model()), breaker, counts, context, batches
    )
    live = LiveVersion(
        plan,
        stack.outermost,
        VersionCodec(plan),
        counts=counts,
        inside=stack.inside,
        without_fallback=stack.without_fallback,
        close=_nothing,
    )
    catalogue.swap([live], ())
    service = InferenceService(catalogue, OpenStreams(), writer, 64 << 20)
    call = _Call()
    message = _message()
    form = live.codec.read(ParsedRequest(message), time.monotonic()).request.form
    row = (np.zeros((1, 64), "f4"),)
    ways: dict[str, Callable[[], Awaitable[Any]]] = {
        "batcher": lambda: stack.batcher.predict(InferenceRequest(form, row, time.monotonic())),
        "predict": lambda: live.predict(InferenceRequest(form, row, time.monotonic())),
        "message": lambda: service.model_infer(call, message),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(turns + 3):
        for name, one in ways.items():
            took = await _time(one)  # type: ignore[arg-type]
            if turn >= 3:
                times[name].append(took)
    base = times["batcher"]
    differences = {
        name: statistics.median(t - b for t, b in zip(taken, base, strict=True))
        for name, taken in times.items()
        if name != "batcher"
    }
    return {
        "batcher": statistics.median(base),
        **{f"{name} over batcher": value for name, value in differences.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=40)
    result = asyncio.run(measure(parser.parse_args().turns))
    for name, value in result.items():
        print(f"{name:22} {value:6.2f} us a request")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
