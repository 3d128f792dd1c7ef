"""The exporters that traces and metrics go to, by our option or OpenTelemetry's variable."""

import pytest

from gateway.config.exporter_names import exporter_names


def traces(option="", variable=None, *, default=False):
    seen = {} if variable is None else {"OTEL_TRACES_EXPORTER": variable}
    return exporter_names("traces", option, seen, default=default)


def metrics(option):
    return exporter_names("metrics", option, {}, default=False)


def test_our_option_wins_over_the_variable_and_that_over_the_default():
    assert traces() == ()
    assert traces(default=True) == ("otlp",)
    assert traces(variable="none", default=True) == ()
    assert traces("console", "otlp", default=True) == ("console",)


def test_exporters_of_installed_packages_and_prometheus_are_known():
    assert traces(variable="otlp_proto_http,console") == ("otlp_proto_http", "console")
    assert metrics("prometheus") == ("prometheus",)


def test_one_that_no_package_has_is_named():
    with pytest.raises(
        ValueError, match=r"^--traces-exporter: expected otlp, console, none or .*, got 'zipkin'"
    ):
        traces("otlp,zipkin")
    with pytest.raises(
        ValueError,
        match=r"^--metrics-exporter: expected otlp, console, prometheus, none or .*, got 'banana'",
    ):
        metrics("banana")


@pytest.mark.parametrize("text", ["otlp,,x", "none,otlp", "otlp console", ","])
def test_what_is_no_list_of_names_is_refused(text):
    with pytest.raises(ValueError, match=r"^OTEL_TRACES_EXPORTER must be names of exporters"):
        traces(variable=text)
