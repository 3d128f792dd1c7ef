"""OpenTelemetry's variables, and the gateway's own options beside them."""

import re
import subprocess
import sys

import pytest

from gateway.config.opentelemetry import OtelOptions, apply
from gateway.config.otlp_variables import GRPC, HTTP
from gateway.records.sampling import SamplingPlan

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


def test_what_the_disabled_sdk_takes_away_is_known():
    disabled = {"OTEL_SDK_DISABLED": "true"}
    assert options({**disabled, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": COLLECTOR}).disabled
    assert options(disabled, otlp_endpoint=COLLECTOR).disabled
    assert not options({**disabled, "OTEL_TRACES_EXPORTER": "none"}).disabled
    assert not options({"OTEL_SDK_DISABLED": "false"}, otlp_endpoint=COLLECTOR).disabled


def test_what_our_configuration_names_takes_the_place_of_the_more_special_variables():
    environ = {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://old:4318/v1/traces",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": HTTP,
    }
    found, changes = apply(environ, otlp_endpoint=COLLECTOR, otlp_protocol=GRPC)
    assert found.trace_protocol == GRPC
    assert changes["OTEL_EXPORTER_OTLP_ENDPOINT"] == COLLECTOR
    assert changes["OTEL_EXPORTER_OTLP_PROTOCOL"] == GRPC
    assert {name for name, value in changes.items() if value is None} == {
        f"OTEL_EXPORTER_OTLP_{signal}_{what}"
        for signal in ("TRACES", "METRICS")
        for what in ("ENDPOINT", "PROTOCOL")
    }


def test_the_protocol_is_that_of_the_port_where_none_is_named():
    assert options({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:4318"}).trace_protocol == HTTP
    assert (
        options(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:4318", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
        ).trace_protocol
        == GRPC
    )
    assert options({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://h"}).trace_protocol == GRPC


def test_our_own_ratio_wins_over_the_sampler():
    environ = {"OTEL_TRACES_EXPORTER": "console", "OTEL_TRACES_SAMPLER": "always_off"}
    assert options(environ).sampling == SamplingPlan(parent_based=False, ratio=0)
    assert options(environ, trace_ratio=0.5).sampling == SamplingPlan(traces=True, ratio=0.5)


def test_metrics_go_out_only_where_they_are_named():
    assert options({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": COLLECTOR}).metric_exporters == ("otlp",)
    assert options({"OTEL_METRICS_EXPORTER": "otlp, console"}).metric_exporters == (
        "otlp",
        "console",
    )
    assert (
        options({"OTEL_METRICS_EXPORTER": "otlp"}, metrics_exporter="none").metric_exporters == ()
    )


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("OTEL_SDK_DISABLED", "maybe", "one of true, false"),
        ("OTEL_TRACES_EXPORTER", "otlp,,x", "names of exporters"),
        ("OTEL_TRACES_EXPORTER", "none,otlp", "names of exporters"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "grpc or http/protobuf"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:port", "http://HOST[:PORT]"),
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "garbage",
            "http://HOST[:PORT], https://HOST[:PORT] or, over gRPC, HOST:PORT",
        ),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "h:0", "HOST:PORT"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:99999", "http://HOST[:PORT]"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:4317?x=y", "http://HOST[:PORT]"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://h:4317", "http://HOST[:PORT]"),
        (
            "OTEL_TRACES_SAMPLER",
            "xray",
            "one of always_on, always_off, traceidratio, parentbased_always_on",
        ),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "-1", "a whole number from 0"),
    ],
)
def test_a_bad_value_is_named_with_what_was_expected(variable, value, expected):
    with pytest.raises(ValueError, match=f"^{variable} must be .*") as caught:
        apply({variable: value})
    assert expected in str(caught.value)
    assert repr(value) in str(caught.value)


OTLP = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_METRICS_EXPORTER": "otlp"}


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "abc", "seconds, more than 0"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0", "seconds, more than 0"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "inf", "seconds, more than 0"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "-1", "milliseconds, more than 0"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "1s", "milliseconds, more than 0"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "none or gzip over grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "deflate", "none or gzip over grpc"),
        (
            "OTEL_TRACES_EXPORTER",
            "zipkin",
            (
                "otlp, console, none or an exporter of an installed package "
                "(otlp_proto_grpc, otlp_proto_http)"
            ),
        ),
        (
            "OTEL_METRICS_EXPORTER",
            "banana",
            "otlp, console, prometheus, none or an exporter of an installed package",
        ),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nonexistent", "a file that can be read"),
        ("OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY", "/", "a file that can be read"),
    ],
)
def test_what_no_exporter_could_use_is_told_at_the_start(variable, value, expected):
    with pytest.raises(
        ValueError, match=f"^{variable} must be {re.escape(expected)}.*, not {value!r}"
    ):
        apply({**OTLP, variable: value})


def test_what_no_exporter_reads_is_nobody_s_fault(tmp_path):
    (tmp_path / "ca.pem").touch()
    environ = {
        "OTEL_EXPORTER_OTLP_TIMEOUT": "abc", "OTEL_EXPORTER_OTLP_COMPRESSION": "zstd",
        "OTEL_METRIC_EXPORT_INTERVAL": "x", "OTEL_EXPORTER_OTLP_CERTIFICATE": "/no",
    }  # fmt: skip
    assert options(environ) == OtelOptions()
    assert options({**environ, "OTEL_TRACES_EXPORTER": "console"}).trace_exporters == ("console",)
    own = {"TIMEOUT": "0.5", "COMPRESSION": "gzip", "CERTIFICATE": str(tmp_path / "ca.pem")}
    traces = {f"OTEL_EXPORTER_OTLP_TRACES_{what}": value for what, value in own.items()}
    assert options({**environ, **traces, "OTEL_TRACES_EXPORTER": "otlp"}).trace_exporters == (
        "otlp",
    )


def test_an_endpoint_without_a_scheme_is_for_grpc():
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "h:4318"}
    assert options({**environ, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}).trace_protocol == GRPC
    with pytest.raises(
        ValueError,
        match=r"^OTEL_EXPORTER_OTLP_ENDPOINT must be http://HOST\[:PORT\] or https.*, not 'h:4318'",
    ):
        apply(environ)


@pytest.mark.parametrize(
    ("said", "traces", "metrics"),
    [
        ({"": "none"}, None, None),
        ({"": "gzip", "TRACES_": "none"}, None, "gzip"),
        ({"": "none", "METRICS_": "gzip"}, None, "gzip"),
        ({"TRACES_": "NONE", "METRICS_": "none"}, None, None),
    ],
)
def test_no_compression_is_a_variable_that_is_not_there(said, traces, metrics):
    environ = {f"OTEL_EXPORTER_OTLP_{signal}COMPRESSION": word for signal, word in said.items()}
    _, changes = apply({**OTLP, **environ})
    left = {name: value for name, value in (environ | changes).items() if value}
    assert (
        left.get(
            "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", left.get("OTEL_EXPORTER_OTLP_COMPRESSION")
        )
        == traces
    )
    assert (
        left.get(
            "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", left.get("OTEL_EXPORTER_OTLP_COMPRESSION")
        )
        == metrics
    )


@pytest.mark.parametrize(
    ("own", "text"),
    [
        (
            {"otlp_endpoint": "collector:4317"},
            (
                "--otlp-endpoint: expected http://HOST[:PORT] or https://HOST[:PORT], with a path "
                "or without, got 'collector:4317'"
            ),
        ),
        (
            {"otlp_endpoint": "notaurl"},
            (
                "--otlp-endpoint: expected http://HOST[:PORT] or https://HOST[:PORT], with a "
                "path or without, got 'notaurl'"
            ),
        ),
        (
            {"otlp_endpoint": "http://127.0.0.1:99999"},
            (
                "--otlp-endpoint: expected http://HOST[:PORT] or https://HOST[:PORT], with a path "
                "or without, got 'http://127.0.0.1:99999'"
            ),
        ),
        ({"otlp_protocol": "udp"}, "--otlp-protocol: expected grpc or http/protobuf, got 'udp'"),
        (
            {"traces_exporter": "otlp,"},
            (
                "--traces-exporter: expected names of exporters with commas "
                "between, or none, got 'otlp,'"
            ),
        ),
    ],
)
def test_a_wrong_option_is_named_as_the_command_line_does(own, text):
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        apply({}, **own)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://h",
        "https://h:1/base/v1",
        "HTTP://h.example:4317/",
        "http://[::1]:4317",
        "h:4317",
        "10.0.0.1:4317",
        "[::1]:4317",
        "my_host:65535",
    ],
)
def test_every_form_of_an_endpoint_is_taken_from_the_environment(endpoint):
    assert options({"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}).trace_exporters == ("otlp",)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://u:PWSECRET@127.0.0.1:4317",
        "u:PWSECRET@h:4317",
        "https://PWSECRET@h",
        "http://u:PW/SECRET@h",
        "http://u:PWSECRET%40h",
    ],
)
@pytest.mark.parametrize(
    "variable",
    [
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        "",
    ],
)
def test_a_password_in_an_endpoint_is_refused_and_not_quoted(endpoint, variable):
    with pytest.raises(
        ValueError,
        match=f"^{variable or '--otlp-endpoint'}: a user name or password must not "
        "stand.*OTEL_EXPORTER_OTLP_HEADERS",
    ) as caught:
        apply({variable: endpoint} if variable else {}, otlp_endpoint="" if variable else endpoint)
    assert "SECRET" not in str(caught.value)


def test_blanks_around_a_value_and_empty_values_do_not_reach_the_exporters():
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f" {COLLECTOR} ",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "",
        "OTEL_EXPORTER_OTLP_HEADERS": " a=b",
    }
    found, changes = apply(environ)
    assert found.trace_exporters == ("otlp",)
    assert changes == {"OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR, "OTEL_EXPORTER_OTLP_TIMEOUT": None}


def test_nothing_heavy_is_imported_to_read_them():
    program = (
        "import sys, gateway.config.opentelemetry; print([m for m in ('opentelemetry', 'numpy', "
        "'grpc', 'logging') if m in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )
