"""The commands and programs of the READMEs work as they are written, but for the addresses."""

import os
import re
import shlex
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.checkout import ROOT
from tests.support.running import RunningGateway, free_port

READMES = [ROOT / "README.md", *sorted((ROOT / "gateway").rglob("README.md"))]
GHZ = ROOT / ".tools" / "bin" / "ghz"
RUN_ELSEWHERE = {
    "make test": "the tests themselves",
    ".tools/bin/jaeger &": "tests/end_to_end/test_tracing.py",
}


ASKED = "infer|breakers|health|models|reload|load|unload"
OFFLINE = "check|explain|top|dashboards|reference|convert"


def blocks(language):
    """The code blocks of a language in all READMEs, with the file that each stands in."""
    pattern = rf"^```{language}\n(.*?)^```"
    return [
        (file, block)
        for file in READMES
        for block in re.findall(pattern, file.read_text(), re.MULTILINE | re.DOTALL)
    ]


def commands():
    """Every command of the `sh` blocks; a quoted text may span lines, a comment is none of it."""
    found = []
    for _, block in blocks("sh"):
        for line in re.findall(r"(?:[^\n']|'[^']*')+", block):
            text = re.sub(r"\s+#.*", "", line) if "'" not in line else line
            found.append(text.strip())
    return list(dict.fromkeys(found))


def kind(pattern):
    return [command for command in commands() if re.match(pattern, command)]


OF_THE_WALKTHROUGH = [
    command for command in commands() if re.search(r"\bwine\b|train\.py", command)
]
SERVE = [each for each in kind(r"\.venv/bin/gateway serve ") if each not in OF_THE_WALKTHROUGH]
MAKE_SERVE = kind(r"make serve")
ASK = [
    each
    for each in kind(rf"(\.venv/bin/gateway ({ASKED}|{OFFLINE})|curl) ?")
    if each not in OF_THE_WALKTHROUGH
]
CALLS_OF_GHZ = kind(r"\.tools/bin/ghz")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, cache):
    folder = tmp_path_factory.mktemp("readme")
    log = folder / "gateway.log"
    with RunningGateway(ROOT / "models", log, cache=cache) as running:
        yield running


def adapted(command, grpc, http):
    """The command for this interpreter and these addresses."""
    to_grpc = re.sub(rf"\bgateway ({ASKED})\b", rf"gateway \1 --address {grpc}", command)
    to_both = re.sub(r"\bgateway top", rf"gateway top --address {http}", to_grpc)
    here = to_both.replace("127.0.0.1:8001", grpc).replace("127.0.0.1:8002", http)
    return here.replace(".venv/bin/gateway", f"{shlex.quote(sys.executable)} -m gateway")


def run(command, gateway, folder=ROOT):
    """Runs a line of a README in a shell and returns what it printed."""
    line = adapted(command, gateway.address, f"127.0.0.1:{gateway.http_port}")
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(gateway.log.parent),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
    }
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_command_of_a_readme_is_run_by_a_test():
    if not (ROOT / "gateway").is_dir():
        pytest.skip("an installed gateway is tried, beside the tests alone")
    of_tests = {*SERVE, *MAKE_SERVE, *ASK, *CALLS_OF_GHZ, *OF_THE_WALKTHROUGH, *RUN_ELSEWHERE}
    assert set(commands()) - of_tests == set()
    assert set(RUN_ELSEWHERE) <= set(commands())


@pytest.mark.parametrize("command", ASK, ids=range(len(ASK)))
def test_commands_run(gateway, command, tmp_path):
    if "--out dashboards" in command:
        command = command.replace("--out dashboards", f"--out {tmp_path}/dashboards")
    command = command.replace(" converted.onnx", f" {tmp_path}/converted.onnx")
    command = command.replace("--out penguins.npz", f"--out {tmp_path}/penguins.npz")
    assert run(command, gateway).strip()


@pytest.mark.parametrize("command", SERVE, ids=range(len(SERVE)))
def test_the_gateway_starts_as_it_is_told_to(command, tmp_path):
    words = shlex.split(command)[2:]
    models = ROOT / words[words.index("--models") + 1]
    with RunningGateway(models, tmp_path / "log", *words) as running:  # the last port named counts
        running.wait_text(r"(gateway is serving)")


@pytest.mark.parametrize("command", MAKE_SERVE, ids=range(len(MAKE_SERVE)))
def test_make_serves_the_models(command, tmp_path):
    if not (ROOT / ".venv" / "ready").exists():
        pytest.skip("the checkout has no .venv of its own: make setup")
    given = re.search(r'ARGS="(.*)"', command)
    options = f"--port {free_port()} --http-port {free_port()} {given[1] if given else ''}"
    # runs as typed, also where `make test` runs this
    outside_of_make = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    with (tmp_path / "log").open("w+") as log:
        made = subprocess.Popen(
            ["make", "--no-print-directory", "-o", ".venv/ready", "serve", f"ARGS={options}"],
            cwd=ROOT,
            env=outside_of_make,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        try:
            first = made.stdout.readline()
        finally:
            os.killpg(made.pid, signal.SIGINT)  # make passes no signal on
            made.wait(40)
        assert first.startswith("gateway is serving"), first + (tmp_path / "log").read_text()


@pytest.mark.parametrize("command", CALLS_OF_GHZ, ids=range(len(CALLS_OF_GHZ)))
def test_ghz_is_answered_every_time(gateway, command):
    if not GHZ.exists():
        assert os.environ.get("CI") != "true", "make tools"
        pytest.skip("ghz is not installed: make tools")
    assert "[OK]   1000 responses" in run(command, gateway)


@pytest.mark.skipif(find_spec("tritonclient") is None, reason="pip install 'tritonclient[grpc]'")
def test_the_python_client_prints_what_the_readme_says(gateway):
    ((_, program),) = (each for each in blocks("python") if "client.infer(" in each[1])
    run_it = [sys.executable, "-c", program.replace("127.0.0.1:8001", gateway.address)]
    done = subprocess.run(run_it, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    printed = re.findall(r"^print.*  # (.*)$", program, re.MULTILINE)
    assert done.stdout.splitlines() == printed, done.stderr


@pytest.mark.skipif(find_spec("skl2onnx") is None, reason="pip install skl2onnx scikit-learn")
def test_a_trained_model_is_served_by_the_commands_that_the_readme_shows(tmp_path):
    ((_, program),) = (each for each in blocks("python") if "skl2onnx" in each[1])
    (tmp_path / "train.py").write_text(program)
    train, serve, infer = OF_THE_WALKTHROUGH
    subprocess.run([sys.executable, train.split()[1]], cwd=tmp_path, timeout=60, check=True)
    models = tmp_path / Path(shlex.split(serve)[-1])
    with RunningGateway(models, tmp_path / "log") as running:
        answer = run(infer, running, tmp_path)
        assert answer.startswith("wine version 1 answered")
        assert all(f"class_{number} " in answer for number in range(3))
