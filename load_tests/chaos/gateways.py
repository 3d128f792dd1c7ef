"""The gateways of the fault trials, each with the models and settings of one trial.

It also shows what is seen of their processes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import grpc
import numpy as np

from gateway.protocol.generated import gateway_control_pb2 as control
from gateway.protocol.generated import inference_pb2
from gateway.protocol.generated.gateway_control_pb2_grpc import GatewayControlStub
from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub
from load_tests.benchmark_models import FRAGILE_WIDTH, INPUT
from load_tests.open_loop import VARIANTS
from load_tests.payloads import Payload, make_payload
from load_tests.processes import serving_pids
from load_tests.servers import GATEWAY, Cores, Server, serving

T = TypeVar("T")
CHANGES_WITHIN_S = 20


@dataclass(frozen=True)
class Gateways:
    """What all trials share.

    These are the models to choose from, a folder for files, the cores, and the form that runs.
    """

    models: Path
    folder: Path
    cores: Cores
    short: bool

    def seconds(self, full: float, short: float) -> float:
        """How long something lasts in the form that runs."""
        return short if self.short else full

    def payloads(self, model: str) -> list[Payload]:
        """Requests of different rows, so that an answer given to the wrong call shows."""
        return [make_payload(self.models, model, seed=seed) for seed in range(VARIANTS)]

    @contextlib.contextmanager
    def gateway(
        self,
        name: str,
        settings: Mapping[str, str],
        first: Payload,
        *,
        processes: int = 1,
        core: int | None = None,
    ) -> Iterator[Gateway]:
        """Starts a gateway that serves all models of `settings` and has answered `first`.

        A setting is the text of the model's model.yaml. `core` is the server's by default.
        """
        folder = self.folder / name
        for model, text in settings.items():
            shutil.copytree(self.models / model, folder / model)
            if text:
                (folder / model / "model.yaml").write_text(text)
        command = GATEWAY.replace("--processes 1", f"--processes {processes}")
        with serving(
            command,
            folder,
            first,
            self.folder / f"{name}.log",
            core=self.cores.server if core is None else core,
        ) as server:
            gateway = Gateway(server)
            until(lambda: gateway.serves(settings))
            yield gateway


@dataclass(frozen=True)
class Gateway:
    """A running gateway."""

    server: Server

    @property
    def address(self) -> str:
        """The gRPC address, HOST:PORT."""
        return self.server.address

    @property
    def serving_pids(self) -> list[int]:
        """The ids of its serving processes."""
        return serving_pids(self.server.process.pid)

    @property
    def worker_pids(self) -> list[int]:
        """The ids of the worker processes of its first serving process."""
        found = []
        for task in Path(f"/proc/{self.serving_pids[0]}/task").iterdir():
            for child in (task / "children").read_text().split():
                with contextlib.suppress(OSError):
                    if b"worker_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                        found.append(int(child))
        return sorted(found)

    def cpu_s(self) -> float:
        """Processor time of its serving processes so far, in seconds."""
        ticks = 0
        for pid in self.serving_pids:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def serves(self, models: Iterable[str]) -> bool:
        """Whether all of these are ready for calls."""
        with grpc.insecure_channel(self.address) as channel:
            stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
            return all(
                stub.ModelReady(inference_pb2.ModelReadyRequest(name=model), timeout=10).ready
                for model in models
            )

    def breakers(self, model: str, version: str) -> list[control.ProcessBreaker]:
        """The state of a version's circuit breaker in each process."""
        with grpc.insecure_channel(self.address) as channel:
            stub = GatewayControlStub(channel)  # type: ignore[no-untyped-call]
            answer = stub.ListBreakers(
                control.ListBreakersRequest(model=model, version=version), timeout=10
            )
        return [
            process
            for breaker in answer.breakers
            if not breaker.instance
            for process in breaker.processes
        ]

    def force_open(self, model: str) -> None:
        """Opens the circuit breakers of a model's versions for good."""
        with grpc.insecure_channel(self.address) as channel:
            stub = GatewayControlStub(channel)  # type: ignore[no-untyped-call]
            stub.SetBreaker(
                control.SetBreakerRequest(model=model, mode=control.FORCE_OPEN), timeout=10
            )


def scaled(model: str, value: float, factor: float, *, version: str = "") -> Payload:
    """A request for a model of `benchmark_models.build_scale` or `build_fragile`.

    The answer that it must get is that of a model with this factor.
    """
    x = np.full((1, FRAGILE_WIDTH), value, np.float32)
    request = inference_pb2.ModelInferRequest(
        model_name=model, model_version=version, raw_input_contents=[x.tobytes()]
    )
    request.inputs.add(name=INPUT, datatype="FP32", shape=x.shape)
    return Payload(model, request.SerializeToString(), x * np.float32(factor))


def until(found: Callable[[], T], *, within_s: float = CHANGES_WITHIN_S) -> T:
    """What `found` gives as soon as it is true; raises TimeoutError."""
    ends = time.monotonic() + within_s
    while not (value := found()):
        if time.monotonic() > ends:
            raise TimeoutError(f"did not come about within {within_s:g} s")
        time.sleep(0.02)
    return value
