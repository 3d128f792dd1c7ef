"""A real gateway whose exports fail.

No secret is logged, and what is lost is counted, shown and logged.
"""

from __future__ import annotations

import json
import re
import socket
import urllib.request
from contextlib import ExitStack

import grpc
import pytest

from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.support import graphs
from tests.support.callers import multiply, until
from tests.support.running import RunningGateway

DEAD = "http://127.0.0.1:1"
QUICK = ("--processes", "1", "--drain-delay", "0s")


@pytest.fixture
def gateway(tmp_path, cache):
    """Makes a gateway of one model."""
    graphs.scale(tmp_path / "models", "scale", factor=2.0)

    def make(*options, **environment):
        return RunningGateway(
            tmp_path / "models",
            tmp_path / "log",
            *QUICK,
            *options,
            cache=cache,
            env=environment,
        )

    return make


def infer(running, requests):
    with running.channel() as channel:
        stub = GRPCInferenceServiceStub(channel)
        for call in [stub.ModelInfer.future(multiply("scale", 1.0)) for _ in range(requests)]:
            call.result(20)


@pytest.mark.parametrize("log_format", ["human", "json"])
def test_headers_that_cannot_be_read_are_not_quoted_by_any_process(gateway, log_format):
    headers = "Authorization:Bearer-MARKEDSECRET,authorization=Bearer MARKEDSECRET;x,k:MARK;x"
    with gateway(
        "--otlp-endpoint",
        DEAD,
        "--log-format",
        log_format,
        "--log-level",
        "debug",
        OTEL_EXPORTER_OTLP_HEADERS=headers,
    ) as running:
        infer(running, 1)
        running.wait_text(r"(Header format invalid)")
        running.stop()
    assert "MARK" not in running.text()


def test_a_password_in_the_endpoint_is_refused_at_the_start_and_not_quoted(gateway):
    running = gateway("--otlp-endpoint", "http://u:MARKEDSECRET@127.0.0.1:1").start()
    assert running.process.wait(20) == 2
    assert (
        "--otlp-endpoint: a user name or password must not stand in an endpoint" in running.text()
    )
    assert "MARK" not in running.text()


def test_what_no_exporter_could_use_is_one_line_at_the_start(gateway):
    running = gateway("--traces-exporter", "zipkin", "--otlp-endpoint", DEAD).start()
    assert running.process.wait(20) == 2
    assert (
        "--traces-exporter: expected otlp, console, none or an exporter of an installed package"
        in running.text()
    )
    running = gateway(
        "--otlp-endpoint", DEAD, OTEL_EXPORTER_OTLP_CERTIFICATE="/nonexistent"
    ).start()
    assert running.process.wait(20) == 2
    assert (
        "OTEL_EXPORTER_OTLP_CERTIFICATE must be a file that can be read, not "
        "'/nonexistent': No such file or directory"
    ) in running.text()
    assert "Traceback" not in running.text()


def dropped(running):
    with urllib.request.urlopen(f"http://127.0.0.1:{running.http_port}/metrics") as reply:
        found = re.findall(
            r'gateway_spans_dropped_total\{exporter="(\w+)",reason="(\w+)"\} (\d+)',
            reply.read().decode(),
        )
    return {(exporter, reason): int(count) for exporter, reason, count in found if int(count)}


def notices(running):
    with urllib.request.urlopen(f"http://127.0.0.1:{running.http_port}/v2/gateway/state") as reply:
        return [notice["text"] for notice in json.load(reply)["notices"]]


def test_an_exporter_that_cannot_be_made_is_counted_and_on_the_page(gateway):
    named = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://127.0.0.1:1",
        "OTEL_PYTHON_EXPORTER_OTLP_GRPC_CREDENTIAL_PROVIDER": "nobody",
    }
    with gateway(**named) as running:
        infer(running, 5)
        assert until(lambda: dropped(running).get(("otlp", "no_exporter"), 0) >= 5)
        assert until(
            lambda: any(
                "not exported by otlp within the last minute (no exporter)" in text
                for text in notices(running)
            )
        )


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
@pytest.mark.parametrize("hangs", [True, False])
def test_what_a_collector_does_not_take_is_counted_and_told_on_the_page_and_at_the_end(
    gateway, protocol, hangs
):
    with ExitStack() as stack:
        endpoint = DEAD
        if hangs:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            endpoint = f"http://127.0.0.1:{listening.getsockname()[1]}"
        running = gateway(
            "--otlp-endpoint", endpoint, "--otlp-protocol", protocol, OTEL_EXPORTER_OTLP_TIMEOUT="1"
        )
        with running:
            infer(running, 5)
            assert until(lambda: dropped(running).get(("otlp", "export_failed"), 0) >= 5)
            assert until(
                lambda: any(
                    "not exported by otlp within the last minute (export failed)" in text
                    for text in notices(running)
                )
            )
        running = gateway(
            "--otlp-endpoint",
            endpoint,
            "--otlp-protocol",
            protocol,
            OTEL_EXPORTER_OTLP_TIMEOUT="100",
        )
        with running:
            infer(running, 5)
            assert running.stop() == 0
        assert (
            int(
                running.wait_text(
                    r"(\d+) spans are lost: the gateway stopped before otlp had accepted them"
                )
            )
            >= 15
        )


def failed_request(running):
    with urllib.request.urlopen(f"http://127.0.0.1:{running.http_port}/v2/gateway/state") as reply:
        return next(
            (
                request
                for request in json.load(reply)["requests"]
                if request["status"] == "NOT_FOUND"
            ),
            None,
        )


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (
            {"OTEL_SDK_DISABLED": "true"},
            (
                "INFO.*OTEL_SDK_DISABLED is true: traces and metrics are not "
                "exported, whatever else is named"
            ),
        ),
        (
            {"OTEL_TRACES_EXPORTER": "none"},
            "INFO.*traces are not exported: the page has no links to them, in spite of --trace-url",
        ),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, ""),
    ],
)
def test_the_page_links_to_traces_where_there_are_some_and_the_log_says_where_there_are_none(
    gateway, environment, said
):
    with gateway(
        "--trace-url",
        "http://jaeger.test/{trace_id}",
        OTEL_EXPORTER_OTLP_ENDPOINT=DEAD,
        **environment,
    ) as running:
        with running.channel() as channel, pytest.raises(grpc.RpcError):
            GRPCInferenceServiceStub(channel).ModelInfer(multiply("nobody", 1.0), timeout=10)
        assert until(lambda: failed_request(running))
        request = failed_request(running)
        assert request["trace_url"] == ("" if said else f"http://jaeger.test/{request['trace_id']}")
        assert (
            len(re.findall(said, running.text())) == 1
            if said
            else "not exported" not in running.text()
        )
