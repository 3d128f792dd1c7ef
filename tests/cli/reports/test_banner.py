"""What a gateway prints when it has started."""

import dataclasses
import os
from pathlib import Path

from gateway.cli.reports.banner import Programs, banner
from gateway.config.control import ModelPath, SourceOptions
from gateway.config.serving_options import ServingSettings
from gateway.config.settings import Settings
from gateway.control.processes.main_process import Started
from gateway.ipc.repository_index import IndexEntry, VersionState

NOWHERE = SourceOptions(paths=(ModelPath(Path("/nowhere")),))
READY = VersionState.READY
UNAVAILABLE = VersionState.UNAVAILABLE


def text(
    *index,
    models=Path("/nowhere"),
    http="127.0.0.1:8002",
    serving=None,
    reason="one for each of 2 cores",
    transport="completion-queue",
):
    settings = Settings(
        source=SourceOptions(paths=(ModelPath(models),)),
        serving=serving or ServingSettings(),
        processes_reason=reason,
    )
    started = Started("127.0.0.1:8001", http, 2, index, 1.234, transport)
    return banner(settings, started, "polling (the faster one)")


def test_it_says_where_and_how_it_serves():
    lines = text(IndexEntry("a", "1", READY)).splitlines()
    assert lines[0] == "gateway is serving /nowhere (started in 1.23 s)"
    assert [line.split(None, 1) for line in lines[1:7]] == [
        ["gRPC", "127.0.0.1:8001"],
        ["page", "http://127.0.0.1:8002/"],
        ["pid", str(os.getpid())],
        ["processes", "2 (one for each of 2 cores)"],
        ["transport", "completion-queue"],
        ["I/O", "polling (the faster one)"],
    ]


def test_the_transport_that_serves_is_named_not_the_one_asked_for():
    assert "  transport  aio\n" in text(IndexEntry("a", "1", READY), transport="aio")


def test_without_http_nothing_is_said_of_it():
    assert "page" not in text(IndexEntry("a", "1", READY), http="")


def test_live_models_come_with_their_versions_and_failed_ones_with_the_reason():
    out = text(
        IndexEntry("digits", "1", READY),
        IndexEntry("digits", "3", READY),
        IndexEntry("wine", "1", READY),
        IndexEntry("bad", "2", UNAVAILABLE, "it is corrupt"),
        IndexEntry("worse", "", UNAVAILABLE, "no version folder"),
        IndexEntry("idle", "", None),
    )
    assert "live:\n  digits  versions 1, 3\n  wine    version 1\n" in out
    assert "not served:\n  bad version 2: it is corrupt\n  worse: no version folder\n" in out
    assert "idle" not in out


def test_a_long_name_is_cut_in_the_list_where_it_does_not_fit_and_whole_in_the_call():
    settings = Settings(source=NOWHERE, serving=ServingSettings(), processes_reason="")
    name = "a_name_of_" + "many_" * 38
    started = Started(
        "127.0.0.1:8001",
        "",
        1,
        (IndexEntry(name, "1", READY), IndexEntry("wine", "1", READY)),
        1.0,
        "aio",
    )
    narrow = banner(settings, started, "polling", room=80)
    assert f"live:\n  {name[:39]}…  version 1\n  wine{' ' * 36}  version 1\n" in narrow
    assert f"infer {name} " in narrow
    assert f"  {name}  version 1\n" in banner(settings, started, "polling", room=300)
    assert f"  {name}  version 1\n" in banner(settings, started, "polling")


def test_nothing_live_is_said_and_nothing_is_there_to_try():
    out = text(IndexEntry("bad", "2", UNAVAILABLE, "it is corrupt"))
    assert "no model is live" in out
    assert "try it" not in out


def test_a_thousand_models_do_not_fill_the_screen():
    out = text(
        *(IndexEntry(f"m{i:04}", "1", READY) for i in range(1000)),
        *(IndexEntry(f"bad{i}", "1", UNAVAILABLE, "no") for i in range(30)),
    )
    assert "  ... and 980 more models" in out
    assert "  ... and 10 more failures" in out
    assert len(out.splitlines()) < 60


def test_two_calls_to_paste_send_real_rows_of_two_models(tmp_path):
    for model, file in (("a model", "samples.json"), ("b", "samples.csv"), ("c", "samples.csv")):
        (tmp_path / model).mkdir()
        (tmp_path / model / file).touch()
    models = [IndexEntry(name, "1", READY) for name in ("0", "a model", "b", "c")]
    out = text(*models, models=tmp_path)
    assert out.endswith(
        "try it:\n"
        f"  gateway infer 'a model' --input '{tmp_path}/a model/samples.json' --rows 3\n"
        f"  gateway infer b --input {tmp_path}/b/samples.csv --rows 3"
    )


def test_of_one_model_with_samples_the_second_call_asks_for_json(tmp_path):
    (tmp_path / "samples.csv").touch()
    out = text(IndexEntry("a", "1", READY), models=tmp_path)
    assert f"  gateway infer a --input {tmp_path}/samples.csv --rows 3\n" in out
    assert out.endswith(f"--input {tmp_path}/samples.csv --rows 1 --output-format json")


def test_without_samples_the_call_says_what_its_file_is_and_the_other_shows_what_is_live():
    out = text(IndexEntry("a", "1", READY))
    assert out.endswith(
        "  gateway infer a --input rows.csv   # a CSV or JSON file of your rows\n  gateway models"
    )


def test_another_address_than_clients_ask_by_themselves_is_named(monkeypatch):
    monkeypatch.setenv("GATEWAY_ADDRESS", "127.0.0.1:9001")
    assert text(IndexEntry("a", "1", READY)).endswith("gateway models --address 127.0.0.1:8001")
    monkeypatch.setenv("GATEWAY_ADDRESS", "127.0.0.1:8001")
    assert text(IndexEntry("a", "1", READY)).endswith("gateway models")


def test_under_tls_the_calls_say_what_they_need_and_no_secret_is_shown():
    serving = ServingSettings(
        tls_certificate=b"CERT", tls_key=b"SECRET", tls_client_ca=b"ROOTS", admin_token="SECRET"
    )
    out = text(IndexEntry("a", "1", READY), serving=serving)
    assert "127.0.0.1:8001 (TLS)" in out
    assert "--tls-ca ca.pem --tls-cert client.pem --tls-key client.key" in out
    assert "SECRET" not in out
    plain = text(
        IndexEntry("a", "1", READY), serving=dataclasses.replace(serving, tls_client_ca=b"")
    )
    assert "--tls-ca ca.pem" in plain
    assert "client.pem" not in plain


def test_programs_are_named_as_they_were_started(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "elsewhere"))
    here = Programs.of(str(tmp_path / ".venv/bin/gateway"), str(tmp_path / ".venv/bin/python"))
    assert here == Programs((".venv/bin/gateway",))
    assert Programs.of(".venv/bin/gateway", "/usr/bin/python3") == Programs((".venv/bin/gateway",))
    assert Programs.of("/x/gateway/__main__.py", "/usr/bin/python3").gateway == (
        "/usr/bin/python3",
        "-m",
        "gateway",
    )


def test_a_program_on_the_path_needs_no_path(tmp_path, monkeypatch):
    program = tmp_path / "gateway"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Programs.of(str(program), "/usr/bin/python3").gateway == ("gateway",)
