"""The telemetry process is killed while callers go on."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support import graphs
from tests.support.callers import Callers, over, until
from tests.support.connections import connect_to_each

DEATHS = 2


@pytest.fixture
def served(gateway, models):
    graphs.scale(models, "scale", factor=2.0)
    with gateway("--processes", "2") as running:
        yield running


def answered_by_now(served):
    """The text of /metrics; None where nothing answers."""
    with (
        contextlib.suppress(urllib.error.URLError, ConnectionError),
        urllib.request.urlopen(f"http://127.0.0.1:{served.http_port}/metrics") as reply,
    ):
        families = text_string_to_metric_families(reply.read().decode())
        of = {"model": "scale", "status": "OK"}
        return sum(
            s.value
            for family in families
            for s in family.samples
            if s.name == "gateway_requests_total" and of.items() <= s.labels.items()
        )


def test_no_call_fails_another_takes_its_place_and_no_count_is_lost(served, connect):
    channels = [
        channel for those in connect_to_each(served, connect, each=1).values() for channel in those
    ]
    serving = set(served.serving_pids())
    with Callers(over(channels), "scale", count=len(channels)) as callers:
        for death in range(DEATHS):
            callers.go_on()
            until(lambda: len(served.telemetry_pids()) == 1 and answered_by_now(served) is not None)
            before = answered_by_now(served)
            (victim,) = served.telemetry_pids()
            os.kill(victim, signal.SIGKILL)
            callers.go_on()
            until(
                lambda victim=victim, before=before: (
                    victim not in served.telemetry_pids()
                    and (answered_by_now(served) or 0) > before
                )
            )
            served.wait_text(
                rf"(telemetry process died with SIGKILL \(pid {victim}\); serving goes on)"
            )
            assert served.text().count("died with SIGKILL") == death + 1

    assert callers.failures == []
    assert set(served.serving_pids()) == serving
    until(lambda: answered_by_now(served) == len(callers.answered()))


def test_its_successor_knows_the_models_and_callers_of_processes_that_went_on(
    gateway, models, connect
):
    graphs.scale(models, "scale", factor=2.0)
    with (
        gateway("--processes", "1", "--access-log", "full") as running,
        Callers(over([connect(running)]), "scale", count=1) as callers,
    ):
        callers.go_on()
        (victim,) = running.telemetry_pids()
        os.kill(victim, signal.SIGKILL)
        until(
            lambda: victim not in running.telemetry_pids() and answered_by_now(running) is not None
        )
        before = len(running.text())
        callers.go_on()
        until(
            lambda: re.search(
                r"status=OK model=scale version=1 .*client=127\.0\.0\.1:", running.text()[before:]
            )
        )
    lines = [
        line
        for line in running.text()[before:].splitlines()
        if "gateway.access" in line and "status=OK" in line
    ]
    assert all(" model=scale " in line for line in lines)
