"""One serving process: complete in itself, told what to serve by the control side."""

from __future__ import annotations

import asyncio
import os
import time
from functools import partial

from gateway import __version__
from gateway.assembly.predictor_stack import Surroundings
from gateway.assembly.version_builder import VersionBuilder
from gateway.config.access_log_choice import cells_wanted
from gateway.config.settings import ServingSettings
from gateway.ipc.messages import Start
from gateway.ipc.orphan_watch import SupervisorWatch
from gateway.ipc.serving_link import ServingLink
from gateway.ipc.shared_files import SharedFiles
from gateway.logs.setup import begin_logs
from gateway.records.counters import HOUSE_ROW, StatisticsTable
from gateway.records.gauge_writer import Pulse
from gateway.records.ring import RingWriter
from gateway.records.writer import Journal
from gateway.serving.event_log import note_decision
from gateway.serving.orders import ServingProcess
from gateway.serving.policies.admission.admission import Room
from gateway.serving.policies.breaker.breaker_registry import Circuits
from gateway.serving.routing.catalogue import Catalogue
from gateway.serving.routing.fallback_targets import FallbackTargets
from gateway.serving.routing.version_changes import Versions
from gateway.serving.runtime.loader import Loader
from gateway.serving.runtime.threads.thread_pool import ThreadWorkers
from gateway.serving.wire.health_status import Health
from gateway.serving.wire.security.authorization import Authorization, AuthorizationOptions
from gateway.serving.wire.server_state import ServerState
from gateway.serving.wire.services.breaker_service import BreakerService
from gateway.serving.wire.services.health_service import HealthService
from gateway.serving.wire.services.inference_service import InferenceService
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

# opening one model while another is warmed; more would take the cores from what is served
_LOADING_THREADS = 2


def run_serving_process(link_fd: int, files: SharedFiles, watch: SupervisorWatch) -> None:
    """Serves until the control side says stop or is gone."""
    asyncio.run(_serve(link_fd, files, watch))


async def _serve(link_fd: int, files: SharedFiles, watch: SupervisorWatch) -> None:
    async with await ServingLink.open(link_fd) as link:
        start = await link.start()
        settings = start.settings
        assert isinstance(settings, ServingSettings)
        watch.limit_s = start.orphan_limit_s
        if settings.grpc_experiments:
            # read when the transport imports grpc, further down
            os.environ[EXPERIMENTS_VARIABLE] = settings.grpc_experiments
        begin_logs(settings.log_format, settings.log_level, start.slot)
        try:
            options = transport_options(start, settings)
        except ValueError as error:
            await link.refuse(str(error))
            return
        # Threads before versions: every version's batcher borrows from the same ones.
        table = StatisticsTable(files.statistics)
        catalogue = Catalogue()
        wanted = cells_wanted(settings.access_log)
        journal = Journal(
            RingWriter(files.rings, start.slot),
            settings.sampling,
            table.writer(start.slot, HOUSE_ROW),
            everything=wanted == "all",
            failures=settings.access_log != "off",
            listed=wanted if isinstance(wanted, float) else 0.0,
        )
        on_event = partial(note_decision, journal)
        circuits = Circuits(time.monotonic, on_event)
        surroundings = Surroundings(
            processes=start.processes,
            house=Room(
                "the gateway",
                settings.max_in_flight_per_process,
                settings.max_in_flight_bytes_per_process,
            ),
            targets=FallbackTargets(catalogue),
            told=on_event,
        )
        async with (
            ThreadWorkers(settings.worker_threads) as workers,
            Loader(_LOADING_THREADS) as loader,
            VersionBuilder(
                start.slot, table, workers, loader, circuits, surroundings, journal
            ) as builder,
            Pulse(journal, lambda: builder.watched),
        ):
            await link.serve(
                _assemble(settings, options, link, table, catalogue, circuits, builder, journal)
            )


def _assemble(
    settings: ServingSettings,
    options: TransportOptions,
    link: ServingLink,
    table: StatisticsTable,
    catalogue: Catalogue,
    circuits: Circuits,
    builder: VersionBuilder,
    journal: Journal,
) -> ServingProcess:
    # What is served, and what is said about it: empty until the control side speaks.
    state = ServerState()
    streams = OpenStreams()
    # The services see the catalogue and the state; whoever wants a change is passed on to the
    # control side, which asks all processes.
    authorization = Authorization(
        AuthorizationOptions(token=settings.admin_token, trust_loopback=settings.trust_loopback)
    )
    services = Services(
        inference=InferenceService(catalogue, streams, journal),
        server=ServerService(state, catalogue, __version__),
        models=ModelService(catalogue),
        statistics=StatisticsService(catalogue, table),
        repository=RepositoryService(state, link, authorization),
        settings=SettingsService(state, catalogue, link, authorization),
        health=HealthService(Health(state, catalogue), streams),
        streams=streams,
        breakers=BreakerService(state, link, authorization),
    )
    transport_name, new_transport = choose_transport(settings.transport)
    transport = new_transport(methods(services), options)
    versions = Versions(catalogue, builder.build)
    return ServingProcess(
        transport,
        transport_name,
        versions,
        catalogue,
        state,
        streams,
        circuits,
        journal,
        settings.sampling,
    )


def transport_options(start: Start, settings: ServingSettings) -> TransportOptions:
    """What the transport listens on, and its limits."""
    return TransportOptions(
        addresses=start.addresses,
        max_message_bytes=settings.max_message_bytes,
        max_concurrent_calls=settings.max_concurrent_calls,
        # also for one process: the supervisor holds the port with a socket of its own
        reuse_port=True,
        min_client_ping_interval_s=settings.min_client_ping_interval_s,
        max_connection_age_s=settings.max_connection_age_s,
        max_connection_age_grace_s=settings.max_connection_age_grace_s,
        response_compression=settings.response_compression,
        tls_certificate=settings.tls_certificate,
        tls_key=settings.tls_key,
        tls_client_ca=settings.tls_client_ca,
    )
