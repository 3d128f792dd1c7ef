"""The live page of a real gateway under load, in a real browser, and `gateway top` beside it.

Both show it when a process is killed.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request

import grpc
import pytest

from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.support.callers import multiply, until
from tests.support.chromium import Browser
from tests.support.graphs import scale
from tests.support.otlp_receiver import grpc_receiver

pytestmark = pytest.mark.timeout(240)
PAUSE_S = 0.002


@contextlib.contextmanager
def callers(running, count=4):
    """Callers of two models call as long as this is entered.

    Every twentieth call is of a model that is not there.
    """
    leaving = threading.Event()

    def call_on(caller):
        with running.channel(**{"grpc.use_local_subchannel_pool": 1}) as channel:
            stub = GRPCInferenceServiceStub(channel)
            number = caller
            while not leaving.wait(PAUSE_S):
                number += 1
                with contextlib.suppress(grpc.RpcError):
                    stub.ModelInfer(
                        multiply(
                            "nobody" if number % 20 == 0 else ("double", "triple")[caller % 2], 1.0
                        ),
                        timeout=10,
                    )

    threads = [threading.Thread(target=call_on, args=(caller,)) for caller in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        leaving.set()
        for thread in threads:
            thread.join()


def state(running):
    with urllib.request.urlopen(
        f"http://127.0.0.1:{running.http_port}/v2/gateway/state", timeout=5
    ) as answer:
        return json.load(answer)


def busy(running):
    found = state(running)
    return found if all(version["calls_per_s"] > 10 for version in found["versions"]) else None


@pytest.fixture
def running(gateway, models):
    scale(models, "double", factor=2.0)
    scale(models, "triple", factor=3.0)
    with grpc_receiver() as (_, endpoint):
        traced = ("--otlp-endpoint", endpoint, "--trace-url", "http://jaeger.test/trace/{trace_id}")
        made = gateway("--processes", "2", "--drain-delay", "0s", *traced)
        made.start().wait_ready()
        yield made


def test_the_json_and_top_tell_what_callers_do(running):
    with callers(running):
        told = until(lambda: busy(running))
        command = [
            sys.executable,
            "-m",
            "gateway",
            "top",
            "--once",
            "--address",
            f"127.0.0.1:{running.http_port}",
        ]
        printed = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=60
        ).stdout
    assert [
        (version["model"], version["state"], version["breaker"]) for version in told["versions"]
    ] == [
        ("double", "READY", "closed"),
        ("triple", "READY", "closed"),
    ]
    assert (
        told["total"]["latency_p50_ms"]
        <= told["total"]["latency_p90_ms"]
        <= told["total"]["latency_p99_ms"]
    )
    assert told["total"]["rows_per_batch"] >= 1
    assert told["total"]["errors_per_s_by_reason"]["model_not_found"] > 0
    assert {request["reason"] for request in told["requests"] if request["kind"] == "failed"} == {
        "model_not_found"
    }
    assert all(
        request["model"] == "nobody" for request in told["requests"] if request["kind"] == "failed"
    )
    assert {process["process"]: process["speaks"] for process in told["processes"]} == {
        0: True,
        1: True,
    }
    assert "double" in printed
    assert "model not found" in printed


def test_the_page_moves_under_load_and_tells_of_a_killed_process(running, tmp_path):
    async def look():
        profile = tmp_path / "profile"
        profile.mkdir()
        async with Browser(profile) as browser:
            await browser.open(f"http://127.0.0.1:{running.http_port}/")
            calls = "document.querySelector('.chart dd').textContent"
            first = await browser.until(f"/^[1-9]/.test({calls}) && {calls}")
            await browser.until(f"{calls} !== {first!r}")
            await browser.until(
                "document.querySelectorAll('#versions tr').length === 2 && "
                "document.querySelectorAll('canvas').length === 4"
            )
            await browser.until("document.querySelector('#requests a') !== null")
            assert (await browser.value("document.querySelector('#requests a').href")).startswith(
                "http://jaeger.test/trace/"
            )
            await browser.screenshot(tmp_path / "page.png")
            os.kill(running.serving_pids()[1], signal.SIGKILL)
            await browser.until(
                "document.getElementById('events').innerText.includes('restarting')", 60
            )
            await browser.until(
                "[...document.querySelectorAll('#processes tr')].some((row) => "
                "row.cells[6].textContent === '1')",
                60,
            )
            assert browser.faults == []
            await asyncio.to_thread(running.stop)
            await browser.until(
                "document.getElementById('connection').innerText.includes('No connection since')"
            )

    with callers(running):
        asyncio.run(look())
