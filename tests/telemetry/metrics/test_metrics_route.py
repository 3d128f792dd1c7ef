"""GET /metrics as a scraper sees it."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from gateway.telemetry.metrics.collect import NamesOf
from gateway.telemetry.metrics.metrics_route import metrics_route
from tests.support.metrics_parts import Metrics, parsed

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


@pytest.fixture
def get():
    metrics = Metrics()

    def ask(path="/metrics", accept="", default=NamesOf.GATEWAY):
        async def run():
            app = web.Application()
            app.add_routes([metrics_route(metrics.source, default)])
            async with (
                TestClient(TestServer(app)) as client,
                client.get(path, headers={"Accept": accept}) as response,
            ):
                return response.status, response.headers["Content-Type"], await response.text()

        return asyncio.run(run())

    yield ask
    metrics.close()


def test_a_browser_gets_plain_text(get):
    status, content_type, text = get()

    assert (status, content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert parsed(text)["gateway_ready", frozenset()] == 1


def test_prometheus_gets_openmetrics(get):
    status, content_type, text = get(accept=PROMETHEUS)

    assert status == 200
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")
    assert {family.name for family in text_string_to_metric_families(text)} >= {
        "gateway_requests",
        "gateway_request_duration_seconds",
    }


def test_triton_s_names_are_there_for_the_asking_and_by_configuration(get):
    assert "nv_inference_count" not in get()[2]
    assert get("/metrics?names=triton")[2].startswith("# HELP nv_")
    assert get(default=NamesOf.TRITON)[2] == get("/metrics?names=triton")[2]
    assert get("/metrics?names=gateway", default=NamesOf.TRITON)[2].startswith("# HELP gateway_")


def test_names_that_do_not_exist_are_the_caller_s_fault(get):
    assert get("/metrics?names=tf")[::2] == (
        400,
        "names: there is no 'tf' (gateway, triton, all)\n",
    )
