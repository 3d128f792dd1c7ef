"""All services behind a real server in a thread.

Stand-ins take the place of the main process and of the models.
"""

import asyncio
import contextlib
import os
import threading
import time

import grpc
from msgspec.structs import replace

from gateway.core.plan import BatchingPlan, TensorSpec, VersionPlan
from gateway.core.predictor import Description
from gateway.core.request import Prediction
from gateway.ipc.messages import Publish
from gateway.ipc.repository_index import IndexEntry, VersionState
from gateway.protocol.generated import (
    gateway_control_pb2_grpc,
    inference_pb2_grpc,
    model_config_pb2,
)
from gateway.protocol.generated.health_pb2 import (
    HealthCheckRequest,
    HealthCheckResponse,
    HealthListRequest,
    HealthListResponse,
)
from gateway.records.breaker_state import Survey
from gateway.records.counters import StatisticsTable, size_statistics_file
from gateway.serving.routing.catalogue import Catalogue
from gateway.serving.routing.live_version import LiveVersion
from gateway.serving.wire.health_status import Health
from gateway.serving.wire.security.authorization import Authorization, AuthorizationOptions
from gateway.serving.wire.server_state import ServerState
from gateway.serving.wire.services.breaker_service import BreakerService
from gateway.serving.wire.services.health_service import HealthService
from gateway.serving.wire.services.inference_service import InferenceService
from gateway.serving.wire.services.lifecycle_service import LifecycleService
from gateway.serving.wire.services.method_table import Services, methods
from gateway.serving.wire.services.model_service import ModelService
from gateway.serving.wire.services.open_streams import OpenStreams
from gateway.serving.wire.services.repository_service import RepositoryService
from gateway.serving.wire.services.server_service import ServerService
from gateway.serving.wire.services.settings_service import SettingsService
from gateway.serving.wire.services.statistics_service import StatisticsService
from gateway.serving.wire.transport.completion_queue.server import CompletionQueueServer
from gateway.serving.wire.transport.interface import TransportOptions
from tests.support.versions import make_live

PROCESSES = 2
TRACE_SETTINGS = {
    "trace_level": ("TIMESTAMPS", "TENSORS"),
    "trace_rate": 1000,
    "trace_file": "",
    "trace_ids": True,
}
LOG_SETTINGS = {
    "log_info": True,
    "log_error": True,
    "log_verbose_level": 0,
    "log_file": "",
    "log_format": "default",
}


def plan(model="m", version=1, *, row=-1, batched=True) -> VersionPlan:
    """A plan for a model that doubles its input; the optional input is not used."""
    axis = (-1,) if batched else ()
    config = model_config_pb2.ModelConfig(
        name=model, platform="onnxruntime_onnx", max_batch_size=8 if batched else 0
    )
    config.input.add(name="x", data_type=model_config_pb2.TYPE_FP32, dims=[4])
    config.input.add(name="bias", data_type=model_config_pb2.TYPE_FP32, dims=[4], optional=True)
    config.output.add(name="y", data_type=model_config_pb2.TYPE_FP32, dims=[4])
    if batched:
        config.dynamic_batching.SetInParent()
    return VersionPlan(
        model,
        version,
        path=f"/models/{model}/{version}/model.onnx",
        fingerprint=f"{model}{version}",
        inputs=(
            TensorSpec("x", "FP32", (*axis, 4)),
            TensorSpec("bias", "FP32", (*axis, 4), optional=True),
        ),
        outputs=(TensorSpec("y", "FP32", (*axis, 4), labels=("a", "b", "c", "d")),),
        batching=BatchingPlan(max_batch_size=8 if batched else 0),
        model_config=config.SerializeToString(),
        statistics_row=row,
    )


class Doubling:
    """A predictor that needs no model and counts as a batcher does."""

    def __init__(self, statistics):
        self._statistics = statistics

    async def predict(self, request):
        if self._statistics is not None:
            self._statistics.record_batch(
                1,
                1,
                queue_ns=1,
                compute_input_ns=1,
                compute_infer_ns=1,
                compute_output_ns=1,
                now_ms=1,
            )
            self._statistics.record_request(elapsed_s=4e-9, queue_s=1e-9)
        return Prediction((request.inputs[0] * 2,))

    def describe(self):
        return Description("doubling")


class Uncounted:
    def record_failures(self, requests, ns):
        pass


def live(of: VersionPlan, statistics=None) -> LiveVersion:
    return make_live(of, Doubling(statistics), Uncounted())


class LedControlSide:
    """A control link that keeps what it is asked, and answers as the test wants."""

    def __init__(self):
        self.asked = []
        self.answer = None

    async def ask(self, change, model="", parameters=None):
        self.asked.append((change, model, dict(parameters or {})))
        if isinstance(self.answer, Exception):
            raise self.answer
        if parameters and isinstance(self.answer, Survey):
            return ()  # states are for who asks for them, not for who sets breakers
        return self.answer


class Blind:
    """An observer that records nothing."""

    def answered(self, request, prediction, id_field, flags=0):
        pass

    def failed(self, failure, flags=0):
        pass


class Served:
    """The services of one process; `do` calls a function on its event loop."""

    # the default is frozen
    def __init__(
        self,
        options: AuthorizationOptions = AuthorizationOptions(),  # noqa: B008
        transport=CompletionQueueServer,
    ):
        self._transport = transport
        self.catalogue = Catalogue()
        self.state = ServerState()
        self.streams = OpenStreams()
        self.control = LedControlSide()
        self.health = Health(self.state, self.catalogue)
        statistics_fd = os.memfd_create("statistics")
        size_statistics_file(statistics_fd, PROCESSES)
        self.table = StatisticsTable(statistics_fd)
        self.authorization = Authorization(options)
        self.services = Services(
            inference=InferenceService(self.catalogue, self.streams, Blind(), 64 << 20),
            server=ServerService(self.state, self.catalogue, "1.2.3"),
            models=ModelService(self.catalogue),
            statistics=StatisticsService(self.catalogue, self.table),
            repository=RepositoryService(self.state, self.control, self.authorization),
            settings=SettingsService(self.state, self.catalogue, self.control, self.authorization),
            health=HealthService(self.health, self.streams),
            streams=self.streams,
            lifecycle=LifecycleService(self.control, self.authorization),
            breakers=BreakerService(self.state, self.control, self.authorization),
        )
        self._sequence = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="served")

    def __enter__(self):
        self._thread.start()
        self.port = self.run(self._start())
        self.address = f"127.0.0.1:{self.port}"
        self.channel = grpc.insecure_channel(self.address, [("grpc.use_local_subchannel_pool", 1)])
        self.stub = inference_pb2_grpc.GRPCInferenceServiceStub(self.channel)
        self.control_stub = gateway_control_pb2_grpc.GatewayControlStub(self.channel)
        self.check = self._unary("Check", HealthCheckRequest, HealthCheckResponse)
        self.list = self._unary("List", HealthListRequest, HealthListResponse)
        return self

    def __exit__(self, *_):
        self.channel.close()
        self.do(self.streams.end)
        self.run(self.server.stop(5))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        os.close(self.table.fd)  # the map itself is closed with the last object that counts in it

    async def _start(self):
        self.server = self._transport(methods(self.services), TransportOptions())
        return await self.server.start()

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def do(self, function, *arguments, **named):
        async def on_the_loop():
            return function(*arguments, **named)

        return self.run(on_the_loop())

    def make_live(self, *plans, retire=()):
        rows = [
            self.table.writer(0, each.statistics_row) if each.statistics_row >= 0 else None
            for each in plans
        ]
        self.do(
            self.catalogue.swap,
            [live(each, row) for each, row in zip(plans, rows, strict=True)],
            retire,
        )

    def publish(self, *index, ready=True, trace=TRACE_SETTINGS, log=LOG_SETTINGS):
        self._sequence += 1
        self.do(self.state.publish, Publish(self._sequence, ready, index, trace, log))

    def start_up(self, *plans):
        """Makes these versions live and the server ready, as after a start."""
        self.make_live(*plans)
        self.publish(
            *(IndexEntry(each.model, str(each.version), VersionState.READY) for each in plans)
        )

    @contextlib.contextmanager
    def watching(self, service):
        """The statuses of a watch, as an iterator of names."""
        watch = self.channel.unary_stream(
            "/grpc.health.v1.Health/Watch", request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )  # fmt: skip
        call = watch(HealthCheckRequest(service=service), timeout=20)
        try:
            yield (HealthCheckResponse.ServingStatus.Name(response.status) for response in call)
        finally:
            call.cancel()

    def _unary(self, name, request, response):
        return self.channel.unary_unary(
            f"/grpc.health.v1.Health/{name}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )


def wait_until(holds, within_s=10.0):
    """Waits until something holds that other threads or processes do; returns whether it does."""
    give_up = time.monotonic() + within_s
    while not (value := holds()) and time.monotonic() < give_up:
        time.sleep(0.005)
    return bool(value)


class PuppetCall:
    """A call as its method sees it."""

    deadline = float("inf")

    def __init__(self, peer="ipv4:127.0.0.1:5000", metadata=()):
        self._peer = peer
        self._metadata = tuple(metadata)

    def peer(self):
        return self._peer

    def metadata(self):
        return self._metadata


def two_versions():
    """Plans of `m` with versions 1 and 2, and of `single` without a batch axis."""
    return plan("m", 1, row=0), plan("m", 2, row=1), plan("single", 7, row=2, batched=False)


def without_row(of):
    return replace(of, statistics_row=-1)
