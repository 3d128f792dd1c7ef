"""What the README shows works as it is written, but for the address."""

import os
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec

import pytest
from running import ROOT, RunningGateway

README = (ROOT / "README.md").read_text()
PYTHON = re.search(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)[1]
SHELL = [line for block in re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL) for line in re.findall(r"(?:[^\n']|'[^']*')+", block)]
COMMANDS = [line for line in SHELL if re.match(r"\.venv/bin/gateway (infer|check|explain) ", line)]
GHZ = ROOT / ".tools" / "bin" / "ghz"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, cache):
    folder = tmp_path_factory.mktemp("readme")
    with RunningGateway(ROOT / "models", folder / "gateway.log", cache=cache) as running:
        yield running


def run(command, gateway):
    """A line of the README, in a shell, from the checkout."""
    python = shlex.quote(sys.executable)
    command = command.replace(".venv/bin/gateway infer", f".venv/bin/gateway infer --address {gateway.address}")
    command = command.replace(".venv/bin/gateway", f"{python} -m gateway").replace("127.0.0.1:8001", gateway.address)
    environment = {**os.environ, "XDG_CACHE_HOME": str(gateway.log.parent)}
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("command", COMMANDS, ids=range(len(COMMANDS)))
def test_commands_run(gateway, command):
    assert run(command, gateway).strip()


def test_ghz_is_answered_every_time(gateway):
    if not GHZ.exists():
        assert os.environ.get("CI") != "true", "make tools"
        pytest.skip("ghz is not installed: make tools")
    (command,) = (line for line in SHELL if line.startswith(".tools/bin/ghz"))
    assert "[OK]   1000 responses" in run(command, gateway)


@pytest.mark.skipif(find_spec("tritonclient") is None, reason="tritonclient is not installed")
def test_the_python_client_prints_what_the_readme_says(gateway):
    program = PYTHON.replace("127.0.0.1:8001", gateway.address)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == re.findall(r"^print.*  # (.*)$", PYTHON, re.MULTILINE), done.stderr
