"""Commands, their faults and their start."""

import json
import shlex
import subprocess
import sys

import pytest

from gateway.__main__ import main
from gateway.cli.command_line import COMMANDS

HEAVY = ("grpc", "numpy", "onnxruntime", "aiohttp", "google.protobuf")


def run_main(capsys, *words):
    status = main(list(words))
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (
            "serv",
            (
                "gateway: there is no command 'serv'; did you mean serve? "
                f"(commands: {', '.join(COMMANDS)})"
            ),
        ),
        ("serve --prot 8001", "gateway serve: unknown option --prot; did you mean --port?"),
        ("serve --prot=8001", "gateway serve: unknown option --prot=8001; did you mean --port?"),
        (
            "serve --max-message 1MiB",
            "gateway serve: unknown option --max-message; did you mean --max-message-size?",
        ),
        (
            "serve --port",
            "gateway serve: argument --port: expected one argument (see gateway serve --help)",
        ),
        (
            "check",
            "gateway check: the following arguments are required: PATH (see gateway check --help)",
        ),
        ("explain a --b", "gateway explain: unknown option --b"),
        ("infer m --adress x", "gateway infer: unknown option --adress; did you mean --address?"),
        ("--versoin", "gateway: unknown option --versoin; did you mean --version?"),
    ],
)
def test_what_is_misspelt_is_refused_in_one_line_that_helps(capsys, line, text):
    assert run_main(capsys, *line.split()) == (2, "", f"{text}\n")


def test_no_command_shows_the_help_and_is_no_success(capsys):
    status, out, err = run_main(capsys)
    assert (status, err) == (2, "")
    assert all(f"    {name} " in out for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_a_help_with_examples_that_its_parser_takes(capsys, name):
    with pytest.raises(SystemExit) as left:
        main([name, "--help"])
    assert left.value.code == 0
    out = capsys.readouterr().out
    lines = [
        line.split(" | ")[-1].split(" > ")[0]
        for line in out.partition("examples:\n")[2].splitlines()
    ]
    assert len(lines) >= 2
    for line in lines:
        words = shlex.split(line)
        assert words[:2] == ["gateway", name]
        known = {word.split("=")[0] for word in words if word.startswith("--")}
        assert known <= {word.strip(",[]") for word in out.partition("examples:")[0].split()}


def test_the_version_names_what_a_gateway_is_made_of(gateway):
    import grpc
    import onnxruntime

    from gateway import __version__

    lines = gateway("--version").out.splitlines()
    assert {
        f"gateway {__version__}",
        f"grpcio {grpc.__version__}",
        f"onnxruntime {onnxruntime.__version__}",
    } <= set(lines)
    assert f"python {sys.version.split()[0]}" in lines


def loaded(code):
    """Heavy modules that are imported after the code has run.

    The code ends early where it starts the first serving process.
    """
    probe = f"""
import contextlib, io, json, os, sys

def tell():
    print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]), flush=True)

def hook(event, arguments):
    if event == "os.posix_spawn" and "gateway.ipc.child_main" in arguments[1]:
        tell()
        os._exit(3)

sys.addaudithook(hook)
from gateway.__main__ import main
{code}
tell()
"""
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout), done.returncode


def test_nothing_heavy_is_imported_before_the_serving_processes_are_on_their_way(tmp_path):
    arguments = [
        "serve",
        "--models",
        str(tmp_path),
        "--port",
        "0",
        "--http-port",
        "0",
        "--processes",
        "2",
    ]
    assert loaded(f"main({arguments!r})") == ([], 3)


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["serve", "--help"]])
def test_help_and_version_import_nothing_heavy(words):
    code = (
        "with contextlib.redirect_stdout(io.StringIO()), "
        f"contextlib.suppress(SystemExit):\n    main({words!r})"
    )
    assert loaded(code) == ([], 0)


def test_an_io_mode_that_cannot_be_had_is_a_fault_of_the_command_line(gateway, tmp_path):
    done = gateway(
        "serve",
        "--models",
        tmp_path,
        "--io-mode",
        "polling",
        env={"GRPC_EXPERIMENTS": "event_engine_listener"},
    )
    assert done.status == 2
    assert done.faults == [
        "--io-mode polling contradicts GRPC_EXPERIMENTS=event_engine_listener: change one of them"
    ]


def test_a_reader_that_has_had_enough_is_no_fault(gateway):
    command = f"{shlex.quote(sys.executable)} -m gateway explain models | true"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False
    )
    # what has to be inspected takes long enough for a word of progress
    said = [line for line in done.stderr.splitlines() if not line.startswith("gateway: inspected")]
    assert (done.returncode, said) == (0, [])
