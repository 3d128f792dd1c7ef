"""What holds of the gateway, its processes and its models at one moment, as metrics.

The telemetry process has it from the main process and from the gauges of the serving processes.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Final

import gateway
from gateway.ipc.repository_index import VersionState
from gateway.ipc.telemetry_messages import Overview, ProcessState
from gateway.records.breaker_state import state_of
from gateway.records.events import Gauges, InstanceGauges, VersionGauges
from gateway.telemetry.metrics import metric_names as names
from gateway.telemetry.metrics.cached_samples import Sample
from gateway.telemetry.metrics.families import Family, Labels
from gateway.telemetry.metrics.version_samples import version_labels

_PACKAGES: Final = ("grpcio", "onnxruntime")


def gateway_samples(_: str, overview: Overview) -> Iterator[Sample]:
    """What the main process knows of the gateway as a whole."""
    yield names.READY, (), int(overview.ready)
    yield from _states(names.GATEWAY_PHASE, (), names.PHASE, names.PHASES, overview.phase)
    yield names.START_TIME, (), overview.started_s


def build_samples(_: str, __: None) -> Iterator[Sample]:
    """What the gateway is made of."""
    labels = [("version", gateway.__version__), ("python", platform.python_version())]
    for package in _PACKAGES:
        try:
            labels.append((package, version(package)))
        except PackageNotFoundError:
            continue
    yield names.BUILD, tuple(labels), 1


def model_samples(key: tuple[str, str], state: VersionState) -> Iterator[Sample]:
    """Where a version stands; one without a number speaks for the model as a whole."""
    yield from _states(
        names.MODEL_STATE,
        ((names.MODEL, key[0]), (names.VERSION, key[1])),
        names.STATE,
        names.MODEL_STATES,
        state.value,
    )


def process_state_samples(slot: int, process: ProcessState) -> Iterator[Sample]:
    """What the main process knows of a serving process."""
    labels = _process(slot)
    yield names.PROCESS_UP, labels, int(process.state == "serving")
    yield names.RESTARTS, labels, process.restarts


def process_samples(slot: int, gauges: Gauges) -> Iterator[Sample]:
    """What a serving process says of itself."""
    labels = _process(slot)
    yield names.LOOP_LAG, labels, gauges.loop_lag_s
    yield names.PROCESS_IN_FLIGHT, labels, gauges.in_flight
    yield names.CPU, labels, gauges.cpu_s
    yield names.MEMORY, labels, gauges.rss_bytes


def version_gauge_samples(key: tuple[int, int], version: VersionGauges) -> Iterator[Sample]:
    """What a serving process says of a version."""
    labels = version_labels(version.model, version.version) + _process(key[0])
    yield names.QUEUED, labels, version.queued
    yield names.QUEUED_BYTES, labels, version.queued_bytes
    yield names.IN_FLIGHT, labels, version.in_flight
    yield names.RUNNING, labels, version.running
    yield from _breaker(labels, "", version.breaker)
    if version.forced:
        yield names.BREAKER_FORCED, (*labels, (names.STATE, version.forced)), 1
    for instance in version.instances:
        yield from _instance(labels, instance)


def _instance(labels: Labels, instance: InstanceGauges) -> Iterator[Sample]:
    named = *labels, (names.MODEL_INSTANCE, instance.name)
    yield names.INSTANCE_UP, named, int(instance.available)
    yield names.INSTANCE_RUNNING, named, instance.running
    yield from _breaker(labels, instance.name, instance.breaker)


def _breaker(labels: Labels, instance: str, state: str) -> Iterator[Sample]:
    if state:
        yield from _states(
            names.BREAKER_STATE,
            (*labels, (names.MODEL_INSTANCE, instance)),
            names.STATE,
            names.BREAKER_STATES,
            state_of(state),
        )


def _states(
    family: Family, labels: Labels, name: str, states: tuple[str, ...], state: str
) -> Iterator[Sample]:
    for each in states:
        yield family, (*labels, (name, each)), int(each == state)


def _process(slot: int) -> Labels:
    return ((names.PROCESS, str(slot)),)
