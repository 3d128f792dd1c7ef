"""Settings from a file and from the command line."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gateway.config
from gateway.cli.command_errors import CommandError
from gateway.cli.commands.serve import add_arguments, merge, read_settings
from gateway.cli.options.compose import compose
from gateway.cli.options.declared import declared_options
from gateway.cli.options.parse import option_name, read_config_file, read_options
from gateway.cli.parser import Parser
from gateway.config.control import ModelControlMode
from gateway.config.quantities import parse_bytes, parse_duration_s

ROOT = Path(__file__).resolve().parent
EXAMPLES = {
    "models": "m", "name": "n", "host": "h", "port": 1, "http_port": 2, "processes": 3,
    "transport": "aio", "io_mode": "polling", "worker_threads": 4, "tls_cert": "c", "tls_key": "k",
    "tls_client_ca": "r", "admin_token_file": "a", "trust_loopback": False,
    "model_control": "explicit", "load_model": ["x", "y"], "poll_interval": "5s",
    "strict_readiness": True, "exit_on_error": True, "drain_delay": "1s", "grace": "2s",
    "cache_dir": "d", "max_message_size": "1MiB", "max_concurrent_calls": 5,
    "max_connection_age": "1m", "max_connection_age_grace": "3s", "response_compression": "gzip",
    "default_max_batch_size": 6, "max_queue_requests": 7, "max_queue_size": "2MiB",
    "log_level": "debug", "log_format": "json", "access_log": "0.01", "max_in_flight": 8,
    "max_in_flight_bytes": "3MiB", "otlp_endpoint": "http://h:4317", "otlp_protocol": "grpc",
    "traces_exporter": "console", "trace_ratio": 0.25,
    "trace_url": "http://h:16686/trace/{trace_id}", "metrics_exporter": "otlp",
    "metrics_names": "all",
}  # fmt: skip


def parse(*words):
    parser = Parser(prog="gateway serve")
    add_arguments(parser)
    return vars(parser.parse_args(list(map(str, words))))


def settings(tmp_path, *words, file=None):
    if file is not None:
        (tmp_path / "gateway.yaml").write_text(file)
        words = (*words, "--config", tmp_path / "gateway.yaml")
    return read_settings(parse(*words))


def faults(tmp_path, *words, file=None):
    with pytest.raises(CommandError) as caught:
        settings(tmp_path, *words, file=file)
    assert caught.value.status == 2
    return caught.value.faults


def test_every_key_of_the_file_is_an_option_and_every_option_a_key():
    given = set(parse()) - {"config", "paths", "show_config"}
    assert given == set(declared_options()) == set(EXAMPLES)


def test_the_file_and_the_command_line_mean_the_same(tmp_path):
    words = []
    for key, value in EXAMPLES.items():
        if isinstance(value, bool):
            words.append(option_name(key).replace("--", "--" if value else "--no-", 1))
        else:
            words += [
                word
                for item in (value if isinstance(value, list) else [value])
                for word in (option_name(key), str(item))
            ]
    said = read_options({key: value for key, value in parse(*words).items() if key in EXAMPLES})
    lines = [
        f"{key}: {value!r}" if isinstance(value, str) else f"{key}: {value}"
        for key, value in EXAMPLES.items()
    ]
    (tmp_path / "file.yaml").write_text("\n".join(lines))
    from_file = read_config_file(tmp_path / "file.yaml")
    for key, option in declared_options().items():
        expected = str(tmp_path / said[key]) if option.is_path else said[key]
        assert from_file[key] == expected
        assert expected is not None


@given(st.sets(st.sampled_from(sorted(EXAMPLES))), st.sets(st.sampled_from(sorted(EXAMPLES))))
def test_the_command_line_wins_and_what_it_leaves_out_comes_from_the_file(first, second):
    one = {key: ("first", key) for key in first}
    two = {key: ("second", key) for key in second}
    merged = merge(one, two)
    for key in declared_options():
        assert merged.get(key) == one.get(key, two.get(key))


def test_what_nobody_says_is_the_default_of_its_part(tmp_path):
    made = settings(tmp_path, "--models", tmp_path)
    assert (made.control.listen.host, made.control.listen.port, made.control.listen.http_port) == (
        "127.0.0.1",
        8001,
        8002,
    )
    assert made.control.model_control.mode is ModelControlMode.OPEN
    assert (
        made.control.stop.drain_delay_s,
        made.control.stop.grace_s,
        made.control.model_control.poll_interval_s,
    ) == (5.0, 20.0, 15.0)
    assert made.serving.limits.max_message_bytes == 64 << 20
    assert made.serving.worker_threads >= 4
    assert made.processes_reason


def test_the_defaults_that_the_help_names_are_those_that_hold(tmp_path):
    """Durations, sizes and numbers of the help text, given as options, change nothing."""
    words = []
    for option in declared_options().values():
        value = option.option.value
        default = option.default_text
        if option.is_number and default.isdigit():
            words += [option_name(option.key), default]
        elif value in ("DURATION", "SIZE"):
            (parse_duration_s if value == "DURATION" else parse_bytes)(default)
            words += [option_name(option.key), default]
        elif value in ("MODE", "LEVEL", "HOW", "HOST", "PORT") or option.key in (
            "transport",
            "processes",
        ):
            words += [option_name(option.key), default]
    assert len(words) >= 30
    assert settings(tmp_path, "--models", tmp_path, *words) == settings(
        tmp_path, "--models", tmp_path
    )


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A certificate and its key, and the key of another."""
    folder = tmp_path_factory.mktemp("pair")
    for line in (
        "req -x509 -newkey rsa:2048 -nodes -keyout k -out c -days 2 -subj /CN=localhost",
        "genrsa -out other 2048",
    ):
        subprocess.run(["openssl", *line.split()], cwd=folder, check=True, capture_output=True)
    return folder


def test_settings_reach_the_part_that_owns_them(tmp_path, pair):
    (tmp_path / "m").mkdir()
    for name, source in {"c": "c", "k": "k", "r": "c"}.items():
        shutil.copy(pair / source, tmp_path / name)
    (tmp_path / "a").write_text(" token\n")
    file = "\n".join(
        f"{key}: {value!r}" if isinstance(value, str) else f"{key}: {value}"
        for key, value in EXAMPLES.items()
    )
    made = settings(tmp_path, file=file)
    control = made.control
    serving = made.serving
    assert (
        made.source.paths[0].path,
        made.source.name,
        serving.run.io_mode,
        Path(made.source.cache_dir),
    ) == (
        tmp_path / "m",
        "n",
        "polling",
        tmp_path / "d",
    )
    assert (
        made.defaults.default_max_batch_size,
        made.defaults.max_queue_requests,
        made.defaults.max_queue_bytes,
    ) == (
        6,
        7,
        2 << 20,
    )
    assert (
        control.listen.host,
        control.listen.port,
        control.listen.http_port,
        control.processes,
        made.processes_reason,
    ) == ("h", 1, 2, 3, "as --processes says")
    models = control.model_control
    assert (models.mode, models.load_models, models.poll_interval_s) == (
        ModelControlMode.EXPLICIT,
        ("x", "y"),
        5.0,
    )
    assert (
        models.strict_readiness,
        models.exit_on_error,
        control.stop.drain_delay_s,
        control.stop.grace_s,
    ) == (True, True, 1.0, 2.0)
    assert (
        serving.tls_certificate,
        serving.tls_key,
        serving.tls_client_ca,
        serving.admin_token,
    ) == (
        (pair / "c").read_bytes(),
        (pair / "k").read_bytes(),
        (pair / "c").read_bytes(),
        "token",
    )
    assert (
        serving.run.transport,
        serving.worker_threads,
        serving.trust_loopback,
        serving.logs.log_level,
    ) == ("aio", 4, False, "debug")
    assert (
        serving.limits.max_message_bytes,
        serving.limits.max_concurrent_calls,
        serving.limits.response_compression,
    ) == (1 << 20, 5, "gzip")
    limits = serving.limits
    assert (limits.max_connection_age_s, limits.max_connection_age_grace_s) == (60.0, 3.0)
    assert (serving.max_in_flight_per_process, serving.max_in_flight_bytes_per_process) == (
        3,
        1 << 20,
    )
    assert "PRIVATE" not in repr(made)
    assert "token" not in repr(serving)


@given(st.integers(0, 1 << 40), st.integers(1, 64))
def test_the_shares_of_the_processes_are_the_least_equal_ones_that_come_to_the_limit(
    limit, processes
):
    said = {
        "models": str(ROOT),
        "processes": processes,
        "max_in_flight": limit,
        "max_in_flight_bytes": limit,
    }
    serving = compose(said).serving
    assert serving.max_in_flight_per_process == serving.max_in_flight_bytes_per_process
    assert limit <= serving.max_in_flight_per_process * processes < limit + processes


def test_relative_paths_in_the_file_start_at_its_folder_and_those_typed_where_they_are_typed(
    tmp_path, monkeypatch
):
    (tmp_path / "etc" / "models").mkdir(parents=True)
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "etc" / "gateway.yaml").write_text("models: models\n")

    def served(*words):
        return [path.path for path in read_settings(parse(*words)).source.paths]

    assert served("--config", "etc/gateway.yaml") == [tmp_path / "etc" / "models"]
    assert served("--config", "etc/gateway.yaml", "--models", "models") == [tmp_path / "models"]
    assert served("--config", "etc/gateway.yaml", "models") == [tmp_path / "models"]


@pytest.mark.parametrize(
    ("said", "port"), [("off", None), ("'off'", None), ("0", 0), ("9002", 9002)]
)
def test_no_http_is_said_by_off_although_yaml_reads_that_as_false(tmp_path, said, port):
    in_file = settings(tmp_path, "--models", tmp_path, file=f"http_port: {said}\n")
    assert in_file.control.listen.http_port == port
    typed = settings(tmp_path, "--models", tmp_path, "--http-port", said.strip("'"))
    assert typed.control.listen.http_port == port


def test_processes_are_chosen_by_the_machine_unless_a_number_is_said(tmp_path):
    assert settings(tmp_path, "--models", tmp_path, "--processes", "auto") == settings(
        tmp_path, "--models", tmp_path
    )
    assert settings(tmp_path, "--models", tmp_path, "--processes", "7").control.processes == 7
    assert (
        settings(tmp_path, "--models", tmp_path, file="processes: auto").processes_reason
        != "as --processes says"
    )


def test_a_flag_of_the_file_can_be_taken_back_on_the_command_line(tmp_path):
    file = "strict_readiness: true\n"
    assert settings(
        tmp_path, "--models", tmp_path, file=file
    ).control.model_control.strict_readiness
    assert not settings(
        tmp_path, "--models", tmp_path, "--no-strict-readiness", file=file
    ).control.model_control.strict_readiness


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            ["--grace", "5"],
            (
                "--grace: expected a duration with its unit, such as 500us, 200ms, 5s or "
                "2m, got the bare number '5'"
            ),
        ),
        (
            ["--grace", "5y"],
            "--grace: unknown unit 'y' in the duration '5y': one of ns, us, ms, s, m (minutes), h",
        ),
        (
            ["--max-message-size", "64"],
            (
                "--max-message-size: expected a size with its unit, such as 64MiB, 1GB or "
                "512B, got the bare number '64'"
            ),
        ),
        (
            ["--max-message-size", "2GiB"],
            "--max-message-size: must be below 2GiB, which is as much as gRPC can send, got 2GiB",
        ),
        (["--max-message-size", "0B"], "--max-message-size: must be more than 0B"),
        (["--max-queue-size", "0B"], "--max-queue-size: must be more than 0B"),
        (["--port", "65536"], "--port: expected int <= 65535 (65536)"),
        (["--port", "grpc"], "--port: expected int, got str ('grpc')"),
        (["--port", "-1"], "--port: expected int >= 0 (-1)"),
        (
            ["--http-port", "no"],
            "--http-port: expected a port of 0 to 65535 (0: a free one), or off, got 'no'",
        ),
        (
            ["--http-port", "8001"],
            (
                "--port and --http-port are both 8001: choose another one for "
                "either (--http-port off: no HTTP)"
            ),
        ),
        (["--processes", "0"], "--processes: expected a number of 1 to 64, or auto, got '0'"),
        (["--processes", "65"], "--processes: expected a number of 1 to 64, or auto, got '65'"),
        (
            ["--transport", "completion-que"],
            "--transport: unknown value 'completion-que'; did you mean 'completion-queue'?",
        ),
        (["--worker-threads", "0"], "--worker-threads: expected int >= 1 (0)"),
        (["--max-connection-age", "1000h"], "--max-connection-age: at most 480h, got 1000h"),
        (["--poll-interval", "0s"], "the poll interval must be more than 0: 0s"),
        (
            ["--load-model", "x"],
            (
                "--load-model is for --model-control explicit, not open: the "
                "other modes load all models"
            ),
        ),
        (
            ["--tls-key", "nowhere.pem"],
            "--tls-key is given without --tls-cert: TLS takes --tls-cert and --tls-key",
        ),
        (
            ["--tls-cert", "nowhere.pem"],
            "--tls-cert: nowhere.pem cannot be read: No such file or directory",
        ),
        (["--tls-cert", "nowhere.pem"], "--tls-cert is given without --tls-key: TLS takes both"),
        (
            ["--admin-token-file", "nowhere"],
            "--admin-token-file: nowhere cannot be read: No such file or directory",
        ),
        (
            ["--config", "nowhere.yaml"],
            "--config: nowhere.yaml cannot be read: No such file or directory",
        ),
    ],
)
def test_a_wrong_value_is_refused_with_what_was_expected(tmp_path, words, text):
    assert text in faults(tmp_path, "--models", tmp_path, *words)


EXPECTED_URL = (
    "expected http:// or https://, a host, and {trace_id} in the id's place, such as "
    "http://HOST:16686/trace/{trace_id}, got "
)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)//{trace_id}",
        "{trace_id}",
        "http://",
        "https:///{trace_id}",
        "http://{trace_id}",
        "http://h:1/trace/",
        "h/{trace_id}",
        "http://h/{trace_id} x",
        " http://h/{trace_id}",
        "data:text/html,http://h/{trace_id}",
        "0",
    ],
)
def test_a_link_that_is_no_web_address_is_refused_where_it_stands(tmp_path, url):
    assert faults(tmp_path, "--models", tmp_path, "--trace-url", url) == (
        f"--trace-url: {EXPECTED_URL}{url!r}",
    )
    found = faults(tmp_path, "--models", tmp_path, file=f"trace_url: {json.dumps(url)}\n")
    assert found == (f"{tmp_path}/gateway.yaml: trace_url: {EXPECTED_URL}{url!r}",)


@pytest.mark.parametrize(
    "url", ["http://h/{trace_id}", "https://u@[::1]:1/ui?id={trace_id}#{trace_id}", ""]
)
def test_a_link_that_is_a_web_address_reaches_the_page_as_plain_text(tmp_path, url):
    told = settings(tmp_path, "--models", tmp_path, "--trace-url", url).telemetry.options.trace_url
    assert (told, type(told)) == (url, str)


def test_tls_files_that_do_not_go_together_are_found_before_anything_starts(tmp_path, pair):
    (tmp_path / "text").write_text("hello")
    (tmp_path / "empty").touch()
    models = ["--models", tmp_path]
    cert = ["--tls-cert", pair / "c"]
    key = ["--tls-key", pair / "k"]
    assert settings(
        tmp_path, *models, *cert, *key, "--tls-client-ca", pair / "c"
    ).serving.tls_client_ca
    (fault,) = faults(tmp_path, *models, *cert, "--tls-key", pair / "other")
    assert fault.startswith(
        f"--tls-cert {pair}/c and --tls-key {pair}/other cannot be used together, "
        "PEM files without a password: "
    )
    assert "mismatch" in fault
    assert (
        "cannot be used together"
        in faults(tmp_path, *models, "--tls-cert", tmp_path / "text", *key)[0]
    )
    (fault,) = faults(tmp_path, *models, *cert, *key, "--tls-client-ca", tmp_path / "text")
    assert fault.startswith(f"--tls-client-ca: {tmp_path}/text does not hold PEM certificates")
    assert f"--tls-client-ca: {tmp_path}/empty is empty" in faults(
        tmp_path, *models, *cert, *key, "--tls-client-ca", tmp_path / "empty"
    )


def test_models_must_be_named_and_be_there(tmp_path):
    assert "no models are named: give a model file or a folder" in faults(tmp_path)[0]
    assert faults(tmp_path, "--models", tmp_path / "no") == (f"{tmp_path}/no does not exist",)
    assert faults(tmp_path, "a=b", tmp_path) == ("b does not exist",)


def test_files_and_folders_may_be_named_together_each_with_a_name_before_it(tmp_path):
    (tmp_path / "wine.onnx").touch()
    made = settings(tmp_path, "--models", tmp_path, f"red={tmp_path}/wine.onnx")
    assert made.source.paths == ((tmp_path, ""), (tmp_path / "wine.onnx", "red"))


def test_one_name_is_not_given_to_several_paths(tmp_path):
    (fault,) = faults(tmp_path, tmp_path, tmp_path, "--name", "red")
    assert fault == "--name red: there are 2 paths; name each by itself, NAME=PATH"


def test_an_unknown_key_of_the_file_is_refused_with_the_nearest_one(tmp_path):
    found = faults(tmp_path, "--models", tmp_path, file="max_mesage_size: 1MiB\n")
    assert found == (
        f"{tmp_path}/gateway.yaml: unknown key 'max_mesage_size'; did you mean 'max_message_size'?",
    )


def test_all_faults_of_file_and_command_line_are_told_together(tmp_path):
    found = faults(
        tmp_path,
        "--models",
        tmp_path,
        "--grace",
        "5",
        "--port",
        "x",
        file="drain_delay: 5\nprot: 1\n",
    )
    assert len(found) == 4
    assert [fault.partition(":")[0] for fault in found] == [
        "--port",
        "--grace",
        f"{tmp_path}/gateway.yaml",
        f"{tmp_path}/gateway.yaml",
    ]
    found = faults(
        tmp_path,
        "--models",
        tmp_path / "no",
        "--load-model",
        "x",
        "--tls-key",
        "no",
        "--max-queue-size",
        "0B",
        "--poll-interval",
        "0s",
    )
    assert len(found) >= 5


@pytest.mark.parametrize("content", ["a: [", "- 1\n", "port: 1\nport: 2\n"])
def test_a_file_that_is_no_mapping_is_refused_by_name(tmp_path, content):
    assert all(
        fault.startswith(f"{tmp_path}/gateway.yaml: ")
        for fault in faults(tmp_path, "--models", tmp_path, file=content)
    )


def test_the_example_of_the_readme_is_a_file_that_can_be_read(tmp_path):
    readme = Path(gateway.config.__file__).parent / "README.md"
    (example,) = re.findall(r"```yaml\n(.*?)```", readme.read_text(), re.DOTALL)
    (tmp_path / "models").mkdir()
    made = settings(tmp_path, file=example)
    assert made.source.paths[0].path == tmp_path / "models"
    assert made.control.stop.drain_delay_s == 10.0


def test_an_empty_file_says_nothing(tmp_path):
    assert settings(tmp_path, "--models", tmp_path, file="# nothing yet\n") == settings(
        tmp_path, "--models", tmp_path
    )


@pytest.mark.parametrize("content", ["", "two words", "tökén"])
def test_an_admin_token_that_cannot_be_sent_is_refused(tmp_path, content):
    (tmp_path / "token").write_text(content)
    assert (
        "must hold one token"
        in faults(tmp_path, "--models", tmp_path, "--admin-token-file", tmp_path / "token")[0]
    )
