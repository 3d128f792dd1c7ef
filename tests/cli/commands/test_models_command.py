"""`gateway models`, `reload`, `load` and `unload` against a real gateway, and another server."""

import concurrent.futures
import hashlib
import json
import shutil

import grpc
import pytest

from gateway.cli.commands import load, models, reload, unload
from gateway.protocol.generated import inference_pb2, inference_pb2_grpc
from tests.support.graphs import scale
from tests.support.running import RunningGateway


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A gateway of two processes that serves version 1 of `wine`."""
    folder = tmp_path_factory.mktemp("models")
    scale(folder / "repository", "wine", 1)
    with RunningGateway(folder / "repository", folder / "log", "--processes", "2") as gateway:
        gateway.repository = folder / "repository"
        gateway.wait_text("(gateway is serving)")
        yield gateway


@pytest.fixture
def ask(gateway, running):
    return lambda *words: gateway(*words, env={"GATEWAY_ADDRESS": running.address})


def standing(ask):
    """State and reason of each version, as `gateway models --json` tells them."""
    done = ask("models", "--json")
    assert done.status == 0, done.err
    return {
        f"{each['model']}/{each['version']}": (each["state"], each["reason"])
        for each in json.loads(done.out)["models"]
    }


def test_a_version_is_shown_with_its_state_its_processes_and_the_digest_of_its_file(ask, running):
    done = ask("models")
    head, row = done.out.splitlines()
    assert head.split() == [
        "model", "version", "state", "since", "processes", "digest", "reason"
    ]  # fmt: skip
    file = running.repository / "wine" / "1" / "model.onnx"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    model, version, state, _, _, processes, shown, reason = row.split()
    assert (model, version, state, processes, reason) == ("wine", "1", "READY", "2", "-")
    assert shown == digest[:12]
    (told,) = json.loads(ask("models", "wine", "--json").out)["models"]
    assert told["digest"] == digest


def test_a_reload_makes_a_new_version_live_and_says_so_here_and_in_the_log(ask, running):
    assert ask("reload").out == "nothing has changed\n"
    scale(running.repository, "wine", 2, 3.0)
    done = ask("reload")
    assert done.status == 0, done.err
    assert [line.split()[:3] for line in done.out.splitlines()][-1] == ["wine", "2", "READY"]
    running.wait_text(r"(wine: version 2 is live in 2 processes, version 1 drained \(0\.\d\d s\))")
    assert standing(ask)["wine/2"] == ("READY", "")
    shutil.rmtree(running.repository / "wine" / "2")
    ask("reload")
    assert standing(ask)["wine/1"] == ("READY", "")


def test_what_a_reload_refuses_is_told_with_a_status_and_leaves_live_what_was(ask, running):
    bad = running.repository / "wine" / "3" / "model.onnx"
    bad.parent.mkdir()
    bad.write_bytes(b"no model")
    done = ask("reload")
    assert done.status == 1
    assert done.faults[0].startswith("wine version 3: model.onnx is ")
    assert standing(ask)["wine/1"][0] == "READY"
    running.wait_text(r"(wine: version 3 is refused, version 1 stays live: model\.onnx is )")
    shutil.rmtree(bad.parent)
    assert ask("reload").status == 0


def test_a_version_with_another_interface_is_refused_unless_the_model_allows_it(ask, running):
    scale(running.repository, "wine", 5, width=5)
    change = "input 'x' was FP32 [-1,4] and is FP32 [-1,5]; output 'y' was FP32 [-1,4]"
    for words in (["reload"], ["load", "wine"]):
        done = ask(*words)
        assert done.status == 1
        assert f"its interface is not that of version 1: {change}" in done.faults[0]
        assert "`allow_interface_change: true` in model.yaml lets it pass" in done.faults[0]
        assert standing(ask)["wine/1"][0] == "READY"
    running.wait_text(r"(wine: version 5 is refused, version 1 stays live: its interface)")
    (running.repository / "wine" / "model.yaml").write_text("allow_interface_change: true")
    assert ask("reload").status == 0
    assert standing(ask)["wine/5"] == ("READY", "")
    shutil.rmtree(running.repository / "wine" / "5")
    assert ask("reload").status == 0
    (running.repository / "wine" / "model.yaml").unlink()
    assert ask("reload").status == 0
    assert standing(ask)["wine/1"] == ("READY", "")


def test_a_repository_that_has_gone_is_told_and_what_is_live_stays(ask, running):
    away = running.repository.with_name("away")
    running.repository.rename(away)
    running.repository.mkdir()
    try:
        done = ask("reload")
    finally:
        running.repository.rmdir()
        away.rename(running.repository)
    assert done.status == 1
    assert done.faults[0] == (
        "INTERNAL: failed to reload, the model repository is not available: it holds no model any "
        "more; live versions stay served"
    )
    assert standing(ask)["wine/1"] == ("READY", "")


def test_an_address_of_the_environment_that_is_none_is_a_fault_of_the_variable(gateway):
    done = gateway("models", env={"GATEWAY_ADDRESS": "here"})
    assert (done.status, done.faults) == (
        2,
        ["$GATEWAY_ADDRESS: expected HOST:PORT, such as 127.0.0.1:8001, got 'here'"],
    )


def test_forcing_a_breaker_open_without_a_fallback_warns_that_nobody_answers(ask):
    done = ask("breakers", "wine:1", "--force-open")
    assert done.status == 0
    assert "warning: nobody answers requests for 'wine' version 1" in done.err
    assert "it has no fallback" in done.err
    told = ask("breakers", "wine:1", "--automatic", "--json")
    assert json.loads(told.out) == {
        "breakers": [{"model": "wine", "version": "1", "instance": ""}],
        "warnings": [],
    }


def test_a_model_is_unloaded_and_loaded_by_its_name(ask, gateway, running):
    assert ask("unload", "wine").out == "wine: unloaded\n"
    assert standing(ask)["wine/1"] == ("UNAVAILABLE", "unloaded")
    asked = ask("infer", "wine")
    assert (asked.status, asked.faults[-1]) == (
        6,
        "somebody unloaded it: `gateway load wine` brings it back",
    )
    assert ask("load", "wine").out == "wine: version 1 is live in 2 processes\n"
    told = json.loads(ask("load", "wine", "--json").out)["models"]
    assert [each["state"] for each in told if each["version"] == "1"] == ["READY"]


def test_a_model_that_is_not_there_is_told_with_those_that_are(ask):
    done = ask("models", "win")
    assert (done.status, done.faults[0]) == (
        5,
        "NOT_FOUND: there is no model 'win' (models: wine)",
    )
    assert ask("load", "win").status == 5


def test_changes_want_the_admin_token_where_callers_are_not_trusted(gateway, tmp_path):
    scale(tmp_path / "repository", "wine", 1)
    (tmp_path / "token").write_text("secret")
    options = ["--processes", "1", "--no-trust-loopback", "--admin-token-file"]
    with RunningGateway(
        tmp_path / "repository", tmp_path / "log", *options, str(tmp_path / "token")
    ) as running:
        without = gateway("reload", "--address", running.address)
        assert (without.status, without.faults[-1]) == (
            4,
            "here that token is given with --token-file FILE",
        )
        for words in (["reload"], ["unload", "wine"], ["load", "wine"]):
            with_token = [*words, "--address", running.address, "--token-file", tmp_path / "token"]
            assert gateway(*with_token).status == 0
        by_variable = {"GATEWAY_TOKEN_FILE": str(tmp_path / "token")}
        assert gateway("reload", "--address", running.address, env=by_variable).status == 0
        assert gateway("models", "--address", running.address).status == 0


class Repository(inference_pb2_grpc.GRPCInferenceServiceServicer):
    """Another server of the protocol, with the model repository extension."""

    def RepositoryIndex(self, request, context):  # noqa: N802  # the protocol's name
        index = inference_pb2.RepositoryIndexResponse()
        index.models.add(name="bert", version="4", state="READY")
        index.models.add(name="gpt", version="1", state="UNAVAILABLE", reason="no memory")
        return index

    def RepositoryModelLoad(self, request, context):  # noqa: N802
        return inference_pb2.RepositoryModelLoadResponse()


@pytest.fixture
def elsewhere(gateway):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Repository(), server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield lambda *words: gateway(*words, "--address", address)
    server.stop(0)


def test_another_server_is_asked_for_its_index_and_told_to_load(elsewhere):
    rows = [line.split() for line in elsewhere("models").out.splitlines()[1:]]
    assert rows == [
        ["bert", "4", "READY", "-", "-", "-", "-"],
        ["gpt", "1", "UNAVAILABLE", "-", "-", "-", "no", "memory"],
    ]
    assert elsewhere("load", "bert").out == "bert: version 4 is live\n"
    missing = elsewhere("models", "bart")
    assert (missing.status, missing.faults) == (
        5,
        ["there is no model 'bart' (models: bert, gpt); did you mean bert?"],
    )


def test_a_reload_is_a_gateways_own_and_another_server_is_told_apart(elsewhere):
    done = elsewhere("reload")
    assert done.status == 1
    assert "does not have this call: a gateway has them all" in done.faults[1]


@pytest.mark.parametrize("command", [models, reload, load, unload])
def test_the_examples_of_the_help_are_taken(command, ask):
    for line in command.EXAMPLES.splitlines()[1:]:
        words = line.replace("digits", "wine").replace("--address 127.0.0.1:8001", "").split()
        assert ask(*words[1:]).status == 0
    assert ask("load", "wine").status == 0
