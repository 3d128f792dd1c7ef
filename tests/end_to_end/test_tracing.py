"""A real Jaeger shows what went through real gateways.

Each request has one trace, whether the caller or the gateway began it, with links to its batch and
back.
"""

from __future__ import annotations

import os
from contextlib import contextmanager

import grpc
import numpy as np
import pytest

from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.support import graphs
from tests.support.callers import multiply
from tests.support.jaeger import running_jaeger
from tests.support.running import RunningGateway

METHOD = "inference.GRPCInferenceService/ModelInfer"
QUICK = ("--http-port", "off", "--drain-delay", "0s")


@pytest.fixture(scope="module")
def jaeger(tmp_path_factory):
    with running_jaeger(tmp_path_factory.mktemp("jaeger")) as running:
        yield running


@pytest.fixture
def serve(models, tmp_path, cache, request):
    """Starts gateways that export their traces to an endpoint.

    The name of their service is made of the test's and the gateway's.
    """

    @contextmanager
    def start(endpoint, *options, name="one", processes=1, models=models):
        service = f"{request.node.name}-{name}"
        common = ("--processes", str(processes), "--otlp-endpoint", endpoint, *QUICK)
        with RunningGateway(
            models,
            tmp_path / f"{name}.log",
            *common,
            *options,
            cache=cache,
            env={"OTEL_SERVICE_NAME": service},
        ) as running:
            running.service = service
            yield running

    return start


@pytest.fixture
def caller(jaeger):
    """Makes a call inside a span of the caller's own, which is exported to Jaeger as well.

    It returns the trace's id.
    """
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.propagate import inject
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.trace import SpanKind

    provider = TracerProvider(resource=Resource({"service.name": "caller"}))
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(jaeger.grpc, insecure=True)))
    tracer = provider.get_tracer("caller")

    def call(stub, message):
        with tracer.start_as_current_span("ask", kind=SpanKind.CLIENT) as span:
            metadata = {}
            inject(metadata)
            try:
                stub.ModelInfer(message, metadata=tuple(metadata.items()), timeout=20)
            except grpc.RpcError as error:
                span.set_attribute("answer", error.code().name)
            return f"{span.get_span_context().trace_id:032x}"

    yield call
    provider.shutdown()


def one(spans, name, service=None):
    (found,) = [span for span in spans if span.name == name and service in {None, span.service}]
    return found


def sample(models, name):
    """Writes a reference sample, so that inspection tries rows that the model accepts."""
    np.savez(models / name / "reference.npz", x=np.arange(32, dtype="f4").reshape(8, 4))


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_call_is_one_trace_of_client_and_server_with_its_batch_one_link_away(
    jaeger, serve, models, connect, caller, protocol
):
    graphs.scale(models, "scale")
    with serve(
        getattr(jaeger, protocol),
        "--otlp-protocol",
        {"grpc": "grpc", "http": "http/protobuf"}[protocol],
    ) as running:
        trace_id = caller(GRPCInferenceServiceStub(connect(running)), multiply("scale", 3.0))
        spans = jaeger.trace(trace_id, 4)
        client, server, queue, run = (
            one(spans, name) for name in ("ask", METHOD, "queue", "batch")
        )
        assert len(spans) == 4
        assert (client.service, server.service) == ("caller", running.service)
        assert (server.parents, queue.parents, run.parents) == (
            [client.span_id],
            [server.span_id],
            [server.span_id],
        )
        assert client.duration_us >= server.duration_us >= queue.duration_us
        assert abs(queue.start_us - server.start_us) <= 1
        assert abs(queue.start_us + queue.duration_us - run.start_us) <= 2
        assert client.start_us <= server.start_us
        assert server.tags["rpc.response.status_code"] == "OK"
        assert (server.tags["gateway.model.name"], server.tags["gateway.model.version"]) == (
            "scale",
            1,
        )
        assert server.tags["client.address"] == "127.0.0.1"
        assert server.tags["server.port"] == running.port
        ((batch_trace, batch_span),) = run.links
        (batch,) = jaeger.trace(batch_trace)
        assert (batch.name, batch.span_id) == ("batch scale", batch_span)
        assert (batch_trace, batch_span) == (
            server.tags["gateway.batch.trace_id"],
            server.tags["gateway.batch.span_id"],
        )
        assert batch.links == [(trace_id, server.span_id)]


def test_a_hop_over_two_gateways_is_one_trace(jaeger, serve, models, tmp_path, connect, caller):
    graphs.scale(models, "scale")
    front = tmp_path / "front"
    graphs.scale(front, "scale")
    with serve(jaeger.grpc, name="back") as behind:
        (front / "scale" / "model.yaml").write_text(
            f"local: false\nremotes: ['{behind.address}']\n"
        )
        with serve(jaeger.grpc, name="front", models=front) as before:
            trace_id = caller(GRPCInferenceServiceStub(connect(before)), multiply("scale", 3.0))
            spans = jaeger.trace(trace_id, 8)
    asked, there = (
        one([span for span in spans if span.tags["span.kind"] == "server"], METHOD, of.service)
        for of in (before, behind)
    )
    (call,) = [
        span
        for span in spans
        if span.tags["span.kind"] == "client" and span.service == before.service
    ]
    assert asked.parents == [one(spans, "ask").span_id]
    assert call.parents == [asked.span_id]
    assert there.parents == [call.span_id]
    assert call.tags["gateway.instance"] == behind.address
    assert asked.duration_us >= call.duration_us >= there.duration_us


def test_an_error_and_a_fallback_are_visible_as_such(jaeger, serve, models, connect, caller):
    graphs.fragile(models, "fragile")
    sample(models, "fragile")
    (models / "fragile" / "model.yaml").write_text("breaker: off\n")
    graphs.fragile(models, "guarded")
    sample(models, "guarded")
    graphs.scale(models, "plain")
    (models / "guarded" / "model.yaml").write_text("breaker: off\nfallback: [{model: plain}]\n")
    with serve(jaeger.grpc) as running:
        stub = GRPCInferenceServiceStub(connect(running))
        failed, degraded, unknown = (
            caller(stub, multiply(model, 500.0)) for model in ("fragile", "guarded", "nobody")
        )
        server = one(jaeger.trace(failed, 2), METHOD)
        assert server.tags["error"] is True
        assert server.tags["error.type"] == server.tags["rpc.response.status_code"] == "INTERNAL"
        assert "running Gather node" in server.tags["otel.status_description"]
        assert server.tags["gateway.reason"] == "model_failed"

        server = one(jaeger.trace(degraded, 2), METHOD)
        assert "error" not in server.tags
        assert server.tags["gateway.degraded"] is True
        assert server.tags["gateway.served_by"]
        assert server.tags["gateway.fallback_reason"]
        assert [
            event["gateway.text"] for event in server.events if event["event"] == "gateway.fallback"
        ] == ["model plain"]

        server = one(jaeger.trace(unknown, 2), METHOD)
        assert "error" not in server.tags
        assert server.tags["rpc.response.status_code"] == "NOT_FOUND"
        assert (server.tags["gateway.model.name"], server.tags["gateway.reason"]) == (
            "nobody",
            "model_not_found",
        )


def test_1000_concurrent_calls_over_two_processes_are_1000_traces(jaeger, serve, models, connect):
    graphs.scale(models, "scale")
    with serve(jaeger.grpc, "--max-concurrent-calls", "1000", processes=2) as running:
        stubs = [GRPCInferenceServiceStub(connect(running)) for _ in range(8)]
        calls = [
            stubs[number % 8].ModelInfer.future(multiply("scale", float(number)), timeout=30)
            for number in range(1000)
        ]
        assert all(call.result().model_name == "scale" for call in calls)
        traces = jaeger.traces(running.service, 1000, operation=METHOD)
        assert len(traces) == len({trace[0].trace_id for trace in traces}) == 1000
        assert {tuple(sorted(span.name for span in trace)) for trace in traces} == {
            ("batch", METHOD, "queue")
        }
        assert running.stop() == 0  # the spans of the last moment go out before it ends
    batches = jaeger.traces(running.service, operation="batch scale")
    linked = [link for trace in batches for span in trace for link in span.links]
    assert sorted(linked) == sorted(
        (span.trace_id, span.span_id) for trace in traces for span in trace if span.name == METHOD
    )


def test_a_caller_decides_what_is_sampled_and_what_fails_is_kept_where_the_gateway_begins(
    jaeger, serve, models, connect
):
    graphs.fragile(models, "fragile")
    sample(models, "fragile")
    (models / "fragile" / "model.yaml").write_text("breaker: off\n")
    forbidden = os.urandom(16).hex()
    wanted = os.urandom(16).hex()
    with serve(jaeger.grpc, "--trace-ratio", "0.000001") as running:
        stub = GRPCInferenceServiceStub(connect(running))
        for trace_id, flag in ((forbidden, "00"), (wanted, "01")):
            for value in (1.0, 500.0):
                call = stub.ModelInfer.future(
                    multiply("fragile", value),
                    metadata=(("traceparent", f"00-{trace_id}-{'12' * 8}-{flag}"),),
                    timeout=20,
                )
                assert (call.exception() is None) == (value == 1.0)
        assert (
            stub.ModelInfer.future(multiply("fragile", 500.0), timeout=20).exception() is not None
        )
        assert running.stop() == 0  # and what it exports has come
    spans = [
        span
        for trace in jaeger.traces(running.service, 2, operation=METHOD)
        for span in trace
        if span.name == METHOD
    ]
    assert not [span for span in spans if span.trace_id == forbidden]
    assert sorted(
        span.tags["rpc.response.status_code"] for span in spans if span.trace_id == wanted
    ) == ["INTERNAL", "OK"]
    began = [span for span in spans if span.trace_id != wanted and "gateway.slow" not in span.tags]
    assert [(span.parents, span.tags["rpc.response.status_code"]) for span in began] == [
        ([], "INTERNAL")
    ]


def test_serving_goes_on_where_nobody_takes_the_spans(serve, models, connect):
    graphs.scale(models, "scale")
    with serve("http://127.0.0.1:9") as running:
        stub = GRPCInferenceServiceStub(connect(running))
        for number in range(50):
            stub.ModelInfer(multiply("scale", float(number)), timeout=5)
