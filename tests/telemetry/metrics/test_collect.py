"""What /metrics shows of a gateway.

It has sums over processes, no series of versions that are gone, and no name that a client made up.
"""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from gateway.core.errors import REASONS
from gateway.ipc.repository_index import IndexEntry, VersionState
from gateway.ipc.telemetry_messages import ProcessState
from gateway.records.counters import GATEWAY_ROW
from gateway.telemetry.metrics.collect import NamesOf
from tests.support.metrics_parts import (
    OTHER_ROW,
    OVERVIEW,
    ROW,
    SECOND_NS,
    VERSION_GAUGES,
    Metrics,
    Spans,
    gauges,
)


@pytest.fixture
def metrics():
    made = Metrics(Spans())
    yield made
    made.close()


def count(metrics, slot, row=ROW):
    writer = metrics.table.writer(slot, row)
    writer.record_batch(
        requests=2,
        rows=6,
        queue_ns=10,
        compute_input_ns=2_000,
        compute_infer_ns=3_000_000,
        compute_output_ns=5_000,
        now_ms=1,
    )
    writer.record_request(0.004, 0.0007)
    writer.record_request(0.3, 0.0007)
    writer.record_failure(REASONS.index("overloaded"), 0.00005)
    writer.record_degraded()
    writer.record_retry()
    writer.record_bytes(100, 10)


def test_what_all_processes_counted_is_one_number(metrics):
    for slot in (0, 1):
        count(metrics, slot)

    of = {"model": "digits", "version": "2"}
    assert metrics.value("gateway_requests_total", status="OK", **of) == 4
    assert (
        metrics.value(
            "gateway_requests_total", status="RESOURCE_EXHAUSTED", reason="overloaded", **of
        )
        == 2
    )
    assert metrics.value("gateway_requests_total", reason="deadline", **of) == 0
    assert metrics.value("gateway_inference_rows_total", **of) == 12
    assert metrics.value("gateway_batches_total", **of) == 2
    assert (
        metrics.value("gateway_degraded_requests_total", **of)
        == metrics.value("gateway_retried_batches_total", **of)
        == 2
    )
    assert (
        metrics.value("gateway_input_bytes_total", **of),
        metrics.value("gateway_output_bytes_total", **of),
    ) == (200, 20)


def test_histograms_are_cumulative_and_end_with_their_count(metrics):
    count(metrics, 0)

    def bucket(name, bound, **labels):
        return metrics.value(f"gateway_{name}_bucket", le=bound, model="digits", **labels)

    assert [
        bucket("request_duration_seconds", b, outcome="answered")
        for b in ("0.0025", "0.005", "0.25", "0.5", "+Inf")
    ] == [0, 1, 1, 2, 2]
    assert metrics.value("gateway_request_duration_seconds_count", outcome="answered") == 2
    assert metrics.value(
        "gateway_request_duration_seconds_sum", outcome="answered"
    ) == pytest.approx(0.304)
    assert bucket("request_duration_seconds", "0.0001", outcome="failed") == 1
    assert [bucket("queue_duration_seconds", b) for b in ("0.0005", "0.001")] == [0, 2]
    assert [bucket("compute_duration_seconds", b) for b in ("0.0025", "0.005")] == [0, 1]
    assert [bucket("batch_duration_seconds", b) for b in ("0.0025", "0.005")] == [0, 1]
    assert [bucket("batch_size_rows", b) for b in ("4.0", "8.0", "+Inf")] == [0, 1, 1]
    assert metrics.value("gateway_batch_size_rows_sum") == 6


def test_what_a_killed_process_counted_stays(metrics):
    code = (
        "import os, signal, sys; from gateway.records.counters import StatisticsTable\n"
        f"StatisticsTable(int(sys.argv[1])).writer(1, {ROW}).record_request(0.1, 0.1)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    count(metrics, 0)
    metrics.say(1, gauges(101))

    subprocess.run(
        [sys.executable, "-c", code, str(metrics.fd)], pass_fds=[metrics.fd], check=False
    )
    metrics.change(processes=(OVERVIEW.processes[0], ProcessState(1, 0, "restarting", 1)))

    assert metrics.value("gateway_requests_total", status="OK") == 3
    assert metrics.values("gateway_event_loop_lag_seconds", process="1") == []
    assert metrics.value("gateway_records_dropped_total", process="1") == 4


def test_a_request_for_no_version_is_counted_without_a_name(metrics):
    metrics.table.writer(0, GATEWAY_ROW).record_failure(REASONS.index("model_not_found"), 0.001)

    assert (
        metrics.value(
            "gateway_requests_total", model="", reason="model_not_found", status="NOT_FOUND"
        )
        == 1
    )


def test_gauges_are_those_that_each_process_told_last(metrics):
    metrics.say(0, gauges(100, versions=[VERSION_GAUGES._replace(queued=1)]))
    metrics.say(0, gauges(100))
    metrics.say(
        1, gauges(101, versions=[VERSION_GAUGES._replace(queued=2, instances=(), forced="")])
    )

    assert metrics.values("gateway_queue_requests", model="digits", version="2", process="0") == [5]
    assert metrics.values("gateway_queue_requests", model="digits", version="2", process="1") == [2]
    assert metrics.value("gateway_queue_bytes", process="0") == 640
    assert metrics.value("gateway_in_flight_requests", process="0") == 7
    assert metrics.value("gateway_running_batches", process="0") == 1
    assert metrics.value("gateway_event_loop_lag_seconds", process="0") == 0.25
    assert metrics.value("gateway_process_cpu_seconds_total", process="0") == 1.5
    assert metrics.value("gateway_process_resident_memory_bytes", process="0") == 4096


def test_a_breaker_has_a_series_for_each_state_and_the_one_it_is_in_is_one(metrics):
    metrics.say(0, gauges(100))

    def states(instance):
        return {
            s: metrics.value("gateway_breaker_state", model_instance=instance, state=s)
            for s in ("closed", "open", "half-open")
        }

    assert states("") == {"closed": 0, "open": 0, "half-open": 1}
    assert states("worker 1") == {"closed": 0, "open": 1, "half-open": 0}
    assert metrics.value("gateway_breaker_forced", state="open") == 1
    metrics.say(
        0, gauges(100, now_ns=1, versions=(VERSION_GAUGES._replace(breaker="open, to try"),))
    )
    assert states("") == {"closed": 0, "open": 1, "half-open": 0}
    assert metrics.value("gateway_model_instance_up", model_instance="worker 1") == 0


@pytest.mark.parametrize(
    ("age_s", "pid", "shown"),
    [(5, 100, True), (5.1, 100, False), (0, 99, False)],
    ids=["fresh", "silent for five seconds", "another process"],
)
def test_gauges_go_with_the_process_that_told_them(metrics, age_s, pid, shown):
    metrics.say(0, gauges(pid))
    metrics.now_ns = int(age_s * SECOND_NS)

    found = {name for name, _ in metrics.samples()}

    assert (
        ("gateway_queue_requests" in found) is ("gateway_event_loop_lag_seconds" in found) is shown
    )
    assert "gateway_inference_rows_total" in found


def test_a_version_that_is_unloaded_leaves_no_series_and_goes_on_when_it_comes_back(metrics):
    count(metrics, 0)
    metrics.say(0, gauges(100))
    assert metrics.values("gateway_queue_requests", model="digits")

    metrics.change(rows={}, index=())
    assert not [labels for _, labels in metrics.samples() if ("model", "digits") in labels]

    metrics.change(rows={ROW: ("digits", 2)})
    assert metrics.value("gateway_requests_total", status="OK") == 2


def test_a_row_that_another_version_has_now_bears_its_name_alone(metrics):
    count(metrics, 0)
    metrics.say(0, gauges(100))
    metrics.samples()

    metrics.change(rows={ROW: ("penguins", 1), OTHER_ROW: ("digits", 2)})

    assert metrics.value("gateway_requests_total", status="OK", model="penguins") == 2
    assert metrics.value("gateway_requests_total", status="OK", model="digits") == 0
    assert metrics.values("gateway_queue_requests") == []


def test_states_of_models_are_those_that_somebody_wants_served(metrics):
    def states(model):
        return {
            s: v
            for s in ("READY", "LOADING", "UNLOADING", "UNAVAILABLE")
            for v in metrics.values("gateway_model_state", model=model, state=s)
        }

    assert states("digits") == {"READY": 1, "LOADING": 0, "UNLOADING": 0, "UNAVAILABLE": 0}
    assert states("broken") == {"READY": 0, "LOADING": 0, "UNLOADING": 0, "UNAVAILABLE": 1}
    assert states("put away") == states("never") == {}

    metrics.change(index=(IndexEntry("digits", "2", VersionState.UNLOADING),))
    assert states("digits")["UNLOADING"] == 1


def test_the_gateway_and_its_processes_are_told_as_the_main_process_sees_them(metrics):
    assert metrics.value("gateway_ready") == 1
    assert metrics.value("gateway_phase", phase="serving") == 1
    assert metrics.value("gateway_phase", phase="draining") == 0
    assert metrics.value("gateway_start_time_seconds") == 1_700_000_000.5
    assert (
        metrics.value("gateway_process_up", process="0"),
        metrics.value("gateway_process_up", process="1"),
    ) == (1, 0)
    assert metrics.value("gateway_process_restarts_total", process="1") == 3
    assert metrics.value("gateway_build_info") == 1
    assert [
        metrics.value("gateway_spans_exported_total", exporter=name) for name in ("otlp", "console")
    ] == [11, 10]
    assert [
        metrics.value("gateway_spans_dropped_total", exporter=name, reason="queue_full")
        for name in ("otlp", "console")
    ] == [2, 0]


def test_what_has_not_changed_is_the_same_portion(metrics):
    count(metrics, 0)
    before = metrics.source.collect()

    assert all(a is b for a, b in zip(before, metrics.source.collect(), strict=True))

    count(metrics, 0)
    after = metrics.source.collect()
    assert sum(a is not b for a, b in zip(before, after, strict=True)) == 1
    assert all(
        a[0] is b[0]
        for old, new in zip(before, after, strict=True)
        for a, b in zip(old.samples, new.samples, strict=True)
    )


def test_triton_s_names_bear_the_numbers_of_model_statistics(metrics):
    for slot in (0, 1):
        count(metrics, slot)
        metrics.say(slot, gauges(100 + slot))

    def value(name, **labels):
        return metrics.value(
            f"nv_inference_{name}", NamesOf.TRITON, model="digits", version="2", **labels
        )

    assert value("request_success") == 4
    assert (
        value("request_failure", reason="REJECTED"),
        value("request_failure", reason="OTHER"),
    ) == (2, 0)
    assert (value("count"), value("exec_count")) == (12, 2)
    assert value("request_duration_us") == 608_000
    assert (
        value("compute_input_duration_us"),
        value("compute_infer_duration_us"),
        value("compute_output_duration_us"),
    ) == (8, 12_000, 20)
    assert value("pending_request_count") == 10
    assert all(name.startswith("nv_") for name, _ in metrics.samples(NamesOf.TRITON))
    assert "# TYPE nv_inference_request_success counter" in metrics.text(NamesOf.TRITON)
    assert (
        metrics.samples(NamesOf.ALL).keys()
        == metrics.samples(NamesOf.TRITON).keys() | metrics.samples().keys()
    )


def test_it_may_be_read_by_several_while_it_is_told(metrics):
    done = threading.Event()
    failures = []

    def read():
        try:
            while not done.is_set():
                metrics.samples()
        except Exception as error:  # noqa: BLE001  # told to the test
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for turn in range(60):
        count(metrics, 0)
        metrics.say(turn % 2, gauges(100 + turn % 2))
        metrics.change(
            rows={ROW: ("digits", 2), **({OTHER_ROW: ("penguins", 1)} if turn % 3 else {})}
        )
    done.set()
    for reader in readers:
        reader.join()

    assert failures == []
    assert metrics.value("gateway_batches_total", model="digits") == 60
