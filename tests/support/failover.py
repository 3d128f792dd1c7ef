"""A client of several gateways that watches their health, as careful callers do."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

import grpc

from gateway.protocol.generated import inference_pb2 as pb
from gateway.protocol.generated.health_pb2 import HealthCheckRequest, HealthCheckResponse
from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub

CONNECT_S = 0.1
OPTIONS = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 200),
]


class WatchingClient:
    """Sends each call once, to the next of the servers whose health is SERVING.

    No call is repeated.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self._channels = [grpc.insecure_channel(address, options=OPTIONS) for address in addresses]
        self._stubs = [GRPCInferenceServiceStub(channel) for channel in self._channels]
        self._serving = [threading.Event() for _ in addresses]
        self._turn = itertools.count()
        self._leaving = threading.Event()
        self._watches = [
            threading.Thread(target=self._watch, args=(number,), daemon=True)
            for number in range(len(addresses))
        ]

    def infer(self, _caller: int, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
        """Makes one call and returns its answer; raises grpc.RpcError."""
        return self._stubs[self._next()].ModelInfer(request, timeout=30)

    def serving(self, number: int) -> bool:
        """Whether the last health that the server sent is SERVING."""
        return self._serving[number].is_set()

    def _next(self) -> int:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            number = next(self._turn) % len(self._stubs)
            if self.serving(number):
                return number
            time.sleep(0 if any(map(self.serving, range(len(self._stubs)))) else 0.001)
        raise AssertionError("no server was healthy for 30 s")

    def _watch(self, number: int) -> None:
        watch = self._channels[number].unary_stream(
            "/grpc.health.v1.Health/Watch",
            HealthCheckRequest.SerializeToString,
            HealthCheckResponse.FromString,
        )
        while not self._leaving.wait(CONNECT_S):
            with suppress(grpc.RpcError):
                for health in watch(HealthCheckRequest(), wait_for_ready=True):
                    if health.status == HealthCheckResponse.SERVING:
                        self._serving[number].set()
                    else:
                        self._serving[number].clear()
            self._serving[number].clear()

    def __enter__(self) -> Self:
        for watch in self._watches:
            watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        for channel in self._channels:
            channel.close()
        for watch in self._watches:
            watch.join(10)
