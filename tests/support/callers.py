"""Callers of a gateway under test.

Their requests have answers that show which version answered; their loads keep every outcome.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self, TypeVar

import grpc
import numpy as np

from gateway.protocol.generated import inference_pb2 as pb
from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub

T = TypeVar("T")


def until(what: Callable[[], T], timeout_s: float = 30, pause_s: float = 0.02) -> T:
    """The first result that is true; a call that fails is tried again."""
    deadline = time.monotonic() + timeout_s
    last = None
    while True:
        try:
            if result := what():
                return result
            last = result
        except (grpc.RpcError, OSError) as error:
            last = error
        assert time.monotonic() < deadline, f"still {last!r} after {timeout_s} s"
        time.sleep(pause_s)


def multiply(model: str, x: float, *, version: str = "", width: int = 4) -> pb.ModelInferRequest:
    """A request with a row of x for a model of `graphs.scale`."""
    request = pb.ModelInferRequest(
        model_name=model,
        model_version=version,
        raw_input_contents=[np.full((1, width), x, "f4").tobytes()],
    )
    request.inputs.add(name="x", datatype="FP32", shape=[1, width])
    return request


def take_time(model: str, rounds: int) -> pb.ModelInferRequest:
    """A request for a model of `graphs.patient`; each round takes a microsecond or so."""
    request = pb.ModelInferRequest(
        model_name=model, raw_input_contents=[np.array([[rounds]], "i8").tobytes()]
    )
    request.inputs.add(name="x", datatype="INT64", shape=[1, 1])
    return request


def factor_of(response: pb.ModelInferResponse, x: float) -> float:
    """The factor by which the model multiplied x.

    It must be the same for every value of the answer.
    """
    y = np.frombuffer(response.raw_output_contents[0], "f4")
    factors = set((y / np.float32(x)).tolist())
    assert len(factors) == 1, f"{x} became {y}"
    return factors.pop()


def index(channel: grpc.Channel) -> dict[str, tuple[str, str]]:
    """The state and reason of each `model/version`, by RepositoryIndex."""
    response = GRPCInferenceServiceStub(channel).RepositoryIndex(
        pb.RepositoryIndexRequest(), timeout=10
    )
    return {
        f"{entry.name}/{entry.version}": (entry.state, entry.reason) for entry in response.models
    }


def answered_so_far(channel: grpc.Channel, model: str) -> int:
    """How many calls of a model ModelStatistics counts as answered.

    It counts over all versions and processes.
    """
    response = GRPCInferenceServiceStub(channel).ModelStatistics(
        pb.ModelStatisticsRequest(name=model), timeout=10
    )
    return sum(statistics.inference_stats.success.count for statistics in response.model_stats)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one call ended."""

    caller: int
    began_s: float
    ended_s: float
    code: grpc.StatusCode = grpc.StatusCode.OK
    text: str = ""
    version: str = ""
    factor: float = 0.0


class Callers:
    """Threads that each call in a closed loop while this is entered, and keep every outcome.

    `infer(caller, request, timeout)` makes a call; each caller sends values that are its own and
    change from call to call.
    """

    def __init__(
        self,
        infer: Callable[[int, pb.ModelInferRequest], pb.ModelInferResponse],
        model: str,
        count: int = 3,
        *,
        version: str = "",
        pause_s: float = 0.0,
    ) -> None:
        self._infer = infer
        self._model = model
        self._version = version
        self._pause_s = pause_s
        self._outcomes: list[list[Outcome]] = [[] for _ in range(count)]
        self._leaving = threading.Event()
        self._threads = [
            threading.Thread(target=self._call_on, args=(caller,), daemon=True)
            for caller in range(count)
        ]
        self._faults: list[BaseException] = []

    @property
    def outcomes(self) -> list[Outcome]:
        """All outcomes, by the time of their end."""
        return sorted(
            itertools.chain.from_iterable(map(list, self._outcomes)),
            key=lambda outcome: outcome.ended_s,
        )

    @property
    def failures(self) -> list[Outcome]:
        """The calls that were not answered."""
        return [outcome for outcome in self.outcomes if outcome.code is not grpc.StatusCode.OK]

    def answered(self, since_s: float = 0.0) -> list[Outcome]:
        """The calls that were answered, among those that began at `since_s` or later."""
        return [
            outcome
            for outcome in self.outcomes
            if outcome.code is grpc.StatusCode.OK and outcome.began_s >= since_s
        ]

    def go_on(self, calls: int = 20) -> None:
        """Waits until `calls` more calls have begun and been answered, some of each caller."""
        now = time.monotonic()
        until(
            lambda: (
                len(fresh := self.answered(now)) >= calls
                and len({outcome.caller for outcome in fresh}) == len(self._threads)
            )
        )

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._leaving.set()
        for thread in self._threads:
            thread.join(60)
        if kind is None:
            assert not any(thread.is_alive() for thread in self._threads), (
                "a call was never answered"
            )
            assert not self._faults, self._faults

    def _call_on(self, caller: int) -> None:
        try:
            for number in itertools.cycle(range(1, 1000)):
                if self._leaving.wait(self._pause_s) if self._pause_s else self._leaving.is_set():
                    return
                self._outcomes[caller].append(self._call(caller, float(number * (caller + 1))))
        except BaseException as fault:  # noqa: BLE001  # raised by the main thread
            self._faults.append(fault)

    def _call(self, caller: int, x: float) -> Outcome:
        began = time.monotonic()
        try:
            response = self._infer(caller, multiply(self._model, x, version=self._version))
        except grpc.RpcError as error:
            return Outcome(caller, began, time.monotonic(), error.code(), error.details())
        return Outcome(
            caller,
            began,
            time.monotonic(),
            version=response.model_version,
            factor=factor_of(response, x),
        )


def over(
    channels: Iterable[grpc.Channel], timeout_s: float = 30
) -> Callable[[int, pb.ModelInferRequest], pb.ModelInferResponse]:
    """Makes calls over channels: each caller has its own, or shares one where there are fewer."""
    stubs = [GRPCInferenceServiceStub(channel) for channel in channels]
    return lambda caller, request: stubs[caller % len(stubs)].ModelInfer(request, timeout=timeout_s)
