"""The configuration in effect, and where each value came from."""

import pytest

from gateway.cli.commands.serve import read_settings
from gateway.cli.options.written_options import written_options
from gateway.cli.reports.configuration_report import configuration_text

FILE = """\
models: models
model_control: explicit
load_model: ["1", off, digits]
host: "on"
http_port: off
access_log: "0.01"
max_message_size: 16MiB
drain_delay: 1s
trace_ratio: 0.25
trust_loopback: false
processes: 3
trace_url: http://h:16686/trace/{trace_id}
"""


@pytest.fixture
def config(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "gateway.yaml").write_text(FILE.replace(", off", ', "off"'))
    return tmp_path / "gateway.yaml"


def shown(arguments, environ=()):
    return configuration_text(written_options(arguments), read_settings(arguments), dict(environ))


def value_and_source(text, key):
    (line,) = [line for line in text.splitlines() if line.removeprefix("# ").startswith(f"{key}:")]
    value, _, source = line.partition("  # ")
    return value.strip(), source


def test_a_value_comes_with_where_it_was_written(config):
    text = shown({"config": str(config), "port": 9001, "drain_delay": "7s"})
    assert value_and_source(text, "port") == ("port: 9001", "the command line")
    assert value_and_source(text, "drain_delay") == ("drain_delay: 7s", "the command line")
    assert value_and_source(text, "max_message_size") == ("max_message_size: 16MiB", str(config))
    assert value_and_source(text, "models") == (f"models: {config.parent}/models", str(config))
    assert value_and_source(text, "grace") == ("grace: 20s", "default")
    assert value_and_source(text, "name") == ("# name:", "default: as its folder")
    assert "# serving processes: 3 (as --processes says)" in text


def test_what_is_shown_can_be_read_again_and_means_the_same(config, tmp_path):
    arguments = {"config": str(config), "port": 9001}
    again = tmp_path / "again.yaml"
    again.write_text(shown(arguments))
    assert read_settings({"config": str(again)}) == read_settings(arguments)


def test_a_configuration_of_defaults_can_be_read_again(config, tmp_path):
    arguments = {"models": str(config.parent / "models")}
    again = tmp_path / "again.yaml"
    again.write_text(shown(arguments))
    assert read_settings({"config": str(again)}) == read_settings(arguments)


def test_the_environment_is_named_and_its_values_are_not_shown(config):
    text = shown({"config": str(config)}, {"OTEL_EXPORTER_OTLP_HEADERS": "key=SECRET", "X": "y"})
    assert text.endswith(
        "# variables of OpenTelemetry in the environment: OTEL_EXPORTER_OTLP_HEADERS"
    )
    assert "SECRET" not in text


def test_the_command_prints_it_and_serves_nothing(gateway, config):
    done = gateway("serve", "--config", config, "--port", "1", "--show-config")
    assert (done.status, done.err) == (0, "")
    assert value_and_source(done.out, "port") == ("port: 1", "the command line")
    wrong = gateway("serve", "--config", config, "--port", "8002", "--http-port", "8002",
                    "--show-config")  # fmt: skip
    assert wrong.status == 2


def test_a_path_by_itself_is_shown_as_the_models_and_several_stand_below(gateway):
    one = gateway("serve", "--show-config", "models/digits")
    value, source = value_and_source(one.out, "models")
    assert value.endswith("/models/digits")
    assert source == "the command line"
    several = gateway("serve", "--show-config", "models", "red=models/digits").out
    (line,) = [line for line in several.splitlines() if line.startswith("# models are in:")]
    assert line.endswith("/models/digits")
    assert line.count("/models") == 2
