"""One serving process, put together: complete in itself.

What it serves is decided by the control process, which sends it over the link.
"""

from __future__ import annotations

import asyncio
import os
import time
from functools import partial

import msgspec

from gateway import __version__
from gateway.assembly.predictor_stack import ProcessContext
from gateway.assembly.version_builder import VersionBuilder
from gateway.config.access_log_choice import cells_wanted
from gateway.config.serving_options import ServingSettings
from gateway.ipc.messages import Start
from gateway.ipc.orphan_watch import OrphanWatch
from gateway.ipc.serving_link import ServingLink
from gateway.ipc.shared_files import SharedFiles
from gateway.logs.setup import begin_logs
from gateway.records.counters import GATEWAY_ROW, StatisticsTable
from gateway.records.gauge_writer import GaugeWriter
from gateway.records.ring import RingWriter
from gateway.records.writer import RecordWriter
from gateway.serving.event_log import record_event
from gateway.serving.orders import ServingProcess
from gateway.serving.policies.admission.admission import Room
from gateway.serving.policies.breaker.breaker_registry import BreakerRegistry
from gateway.serving.routing.catalogue import Catalogue
from gateway.serving.routing.fallback_targets import FallbackTargets
from gateway.serving.routing.version_changes import LiveVersions
from gateway.serving.runtime.loader import Loader
from gateway.serving.runtime.threads.thread_pool import ThreadWorkers
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
from gateway.serving.wire.transport.choose import choose_transport
from gateway.serving.wire.transport.interface import TransportOptions
from gateway.serving.wire.transport.io_mode import EXPERIMENTS_VARIABLE

# One model is opened while another is warmed; more would take the cores from what is served.
_LOADING_THREADS = 2


def run_serving_process(link_fd: int, files: SharedFiles, watch: OrphanWatch) -> None:
    """Serves until the control side says stop or is gone."""
    asyncio.run(_serve(link_fd, files, watch))


class _Shared(msgspec.Struct, frozen=True):
    """What the versions and the services of the process share."""

    table: StatisticsTable
    catalogue: Catalogue
    writer: RecordWriter
    breakers: BreakerRegistry
    context: ProcessContext


async def _serve(link_fd: int, files: SharedFiles, watch: OrphanWatch) -> None:
    async with await ServingLink.open(link_fd) as link:
        start = await link.start()
        settings = start.settings
        assert isinstance(settings, ServingSettings)
        watch.limit_s = start.orphan_limit_s
        if settings.grpc_experiments:
            # grpc reads it when the transport imports it, further down
            os.environ[EXPERIMENTS_VARIABLE] = settings.grpc_experiments
        begin_logs(settings.logs.log_format, settings.logs.log_level, start.slot)
        try:
            options = transport_options(start, settings)
        except ValueError as error:
            await link.refuse(str(error))
            return
        shared = _shared(start, settings, files)
        # Threads before versions: every version's batcher borrows from the same ones.
        async with (
            ThreadWorkers(settings.worker_threads) as workers,
            Loader(_LOADING_THREADS) as loader,
            _builder(start.slot, shared, workers, loader) as builder,
            GaugeWriter(shared.writer, lambda: builder.watched),
        ):
            await link.serve(_serving_process(settings, options, link, shared, builder))


def _shared(start: Start, settings: ServingSettings, files: SharedFiles) -> _Shared:
    table = StatisticsTable(files.statistics)
    catalogue = Catalogue()
    writer = _record_writer(start.slot, settings, files, table)
    on_event = partial(record_event, writer)
    room = Room(
        "the gateway",
        settings.max_in_flight_per_process,
        settings.max_in_flight_bytes_per_process,
    )
    context = ProcessContext(
        processes=start.processes,
        global_limit=room,
        targets=FallbackTargets(catalogue),
        on_event=on_event,
    )
    return _Shared(table, catalogue, writer, BreakerRegistry(time.monotonic, on_event), context)


def _record_writer(
    slot: int, settings: ServingSettings, files: SharedFiles, table: StatisticsTable
) -> RecordWriter:
    """The journal of the process: it writes the cells that traces and the access log need."""
    wanted = cells_wanted(settings.logs.access_log)
    return RecordWriter(
        RingWriter(files.rings, slot),
        settings.sampling,
        table.writer(slot, GATEWAY_ROW),
        everything=wanted == "all",
        failures=settings.logs.access_log != "off",
        listed=wanted if isinstance(wanted, float) else 0.0,
    )


def _builder(slot: int, shared: _Shared, workers: ThreadWorkers, loader: Loader) -> VersionBuilder:
    return VersionBuilder(
        slot, shared.table, workers, loader, shared.breakers, shared.context, shared.writer
    )


def _serving_process(
    settings: ServingSettings,
    options: TransportOptions,
    link: ServingLink,
    shared: _Shared,
    builder: VersionBuilder,
) -> ServingProcess:
    # What is served, and its state: empty until the control side publishes.
    state = ServerState()
    streams = OpenStreams()
    services = _services(settings, link, shared, state, streams)
    transport_name, new_transport = choose_transport(settings.run.transport)
    return ServingProcess(
        new_transport(methods(services), options),
        transport_name,
        LiveVersions(shared.catalogue, builder.build),
        shared.catalogue,
        state,
        streams,
        shared.breakers,
        shared.writer,
        settings.sampling,
    )


def _services(
    settings: ServingSettings,
    link: ServingLink,
    shared: _Shared,
    state: ServerState,
    streams: OpenStreams,
) -> Services:
    """The services, which see the catalogue and the state.

    Calls that change something are passed on over the link to the control side, which asks all
    serving processes.
    """
    catalogue = shared.catalogue
    authorization = Authorization(
        AuthorizationOptions(token=settings.admin_token, trust_loopback=settings.trust_loopback)
    )
    return Services(
        inference=InferenceService(
            catalogue, streams, shared.writer, settings.limits.max_message_bytes
        ),
        server=ServerService(state, catalogue, __version__),
        models=ModelService(catalogue),
        statistics=StatisticsService(catalogue, shared.table),
        repository=RepositoryService(state, link, authorization),
        settings=SettingsService(state, catalogue, link, authorization),
        health=HealthService(Health(state, catalogue), streams),
        streams=streams,
        lifecycle=LifecycleService(link, authorization),
        breakers=BreakerService(state, link, authorization),
    )


def transport_options(start: Start, settings: ServingSettings) -> TransportOptions:
    """What the transport listens on, and its limits."""
    limits = settings.limits
    return TransportOptions(
        addresses=start.addresses,
        max_message_bytes=limits.max_message_bytes,
        max_concurrent_calls=limits.max_concurrent_calls,
        # also where there is one process: the supervisor holds the port with its own socket
        reuse_port=True,
        min_client_ping_interval_s=limits.min_client_ping_interval_s,
        max_connection_age_s=limits.max_connection_age_s,
        max_connection_age_grace_s=limits.max_connection_age_grace_s,
        response_compression=limits.response_compression,
        tls_certificate=settings.tls_certificate,
        tls_key=settings.tls_key,
        tls_client_ca=settings.tls_client_ca,
    )
