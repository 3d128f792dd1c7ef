"""OpenTelemetry's variables and our own words over them."""

import subprocess
import sys

import pytest

from gateway.observe.otel_environment import GRPC, HTTP, OtelOptions, apply
from gateway.observe.sampling import SamplingPlan

COLLECTOR = "http://collector:4317"


def options(environ, **own):
    return apply(environ, **own)[0]


def test_nothing_said_means_nothing_exported():
    assert apply({"PATH": "/bin", "OTEL_TRACES_EXPORTER": "  "}) == (OtelOptions(), {})


@pytest.mark.parametrize(
    ("environ", "own"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR}, {}),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": COLLECTOR}, {}),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, {}),
        ({}, {"otlp_endpoint": COLLECTOR}),
        ({}, {"traces_exporter": "otlp"}),
        ({"OTEL_TRACES_EXPORTER": "none"}, {"traces_exporter": "otlp"}),
    ],
)
def test_an_exporter_or_an_endpoint_turns_traces_on(environ, own):
    found = options(environ, **own)
    assert found.trace_exporters == ("otlp",)
    assert found.sampling == SamplingPlan(traces=True)
    assert found.metric_exporters == ()


@pytest.mark.parametrize(
    ("environ", "own"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR, "OTEL_TRACES_EXPORTER": "none"}, {}),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR, "OTEL_SDK_DISABLED": "TRUE"}, {}),
        ({"OTEL_SDK_DISABLED": "true"}, {"otlp_endpoint": COLLECTOR, "traces_exporter": "otlp"}),
        ({}, {"otlp_endpoint": COLLECTOR, "traces_exporter": "none"}),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR, "OTEL_TRACES_SAMPLER": "always_off"}, {}),
    ],
)
def test_it_can_be_turned_off(environ, own):
    assert not options(environ, **own).sampling.traces


def test_what_our_configuration_names_takes_the_place_of_the_more_special_variables():
    environ = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://old:4318/v1/traces", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": HTTP}
    found, changes = apply(environ, otlp_endpoint=COLLECTOR, otlp_protocol=GRPC)
    assert found.trace_protocol == GRPC
    assert changes["OTEL_EXPORTER_OTLP_ENDPOINT"] == COLLECTOR
    assert changes["OTEL_EXPORTER_OTLP_PROTOCOL"] == GRPC
    assert {name for name, value in changes.items() if value is None} == {
        f"OTEL_EXPORTER_OTLP_{signal}_{what}" for signal in ("TRACES", "METRICS") for what in ("ENDPOINT", "PROTOCOL")
    }


def test_the_protocol_is_that_of_the_port_where_none_is_named():
    assert options({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:4318"}).trace_protocol == HTTP
    assert options({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:4318", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}).trace_protocol == GRPC
    assert options({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://h"}).trace_protocol == GRPC


@pytest.mark.parametrize(
    ("sampler", "argument", "plan"),
    [
        ("always_on", "", SamplingPlan(traces=True, parent_based=False)),
        ("traceidratio", "0.25", SamplingPlan(traces=True, parent_based=False, ratio=0.25)),
        ("parentbased_always_on", "", SamplingPlan(traces=True)),
        ("parentbased_always_off", "0.7", SamplingPlan(traces=True, ratio=0)),
        ("parentbased_traceidratio", "0.25", SamplingPlan(traces=True, ratio=0.25)),
    ],
)
def test_the_standard_samplers_are_known(sampler, argument, plan):
    environ = {"OTEL_TRACES_EXPORTER": "console", "OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument}
    assert options(environ).sampling == plan
    assert options(environ, trace_ratio=0.5).sampling == SamplingPlan(traces=True, ratio=0.5)


def test_metrics_go_out_only_where_they_are_named():
    assert options({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": COLLECTOR}).metric_exporters == ("otlp",)
    assert options({"OTEL_METRICS_EXPORTER": "otlp, console"}).metric_exporters == ("otlp", "console")
    assert options({"OTEL_METRICS_EXPORTER": "otlp"}, metrics_exporter="none").metric_exporters == ()


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("OTEL_SDK_DISABLED", "maybe", "one of true, false"),
        ("OTEL_TRACES_EXPORTER", "otlp,,x", "names of exporters"),
        ("OTEL_TRACES_EXPORTER", "none,otlp", "names of exporters"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "grpc or http/protobuf"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:port", "http://HOST:PORT"),
        ("OTEL_TRACES_SAMPLER", "xray", "one of always_on, always_off, traceidratio, parentbased_always_on"),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "-1", "a whole number from 0"),
    ],
)
def test_a_bad_value_is_named_with_what_was_expected(variable, value, expected):
    with pytest.raises(ValueError, match=f"^{variable} must be .*") as caught:
        apply({variable: value})
    assert expected in str(caught.value)
    assert repr(value) in str(caught.value)


def test_a_bad_ratio_or_option_is_named():
    with pytest.raises(ValueError, match="OTEL_TRACES_SAMPLER_ARG must be a number from 0 to 1, not '2'"):
        apply({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"})
    with pytest.raises(ValueError, match=r"otlp_endpoint must be .* not 'collector:4317'"):
        apply({}, otlp_endpoint="collector:4317")
    with pytest.raises(ValueError, match=r"otlp_protocol must be .* not 'udp'"):
        apply({}, otlp_protocol="udp")


def test_nothing_heavy_is_imported_to_read_them():
    program = "import sys, gateway.observe.otel_environment; print([m for m in ('opentelemetry', 'numpy', 'grpc', 'logging') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == "[]"
