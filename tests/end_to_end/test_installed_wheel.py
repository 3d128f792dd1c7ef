"""The wheel in an environment with nothing else, away from the checkout: it serves and answers."""

import os
import shutil
import subprocess

import pytest

from tests.support.checkout import ROOT
from tests.support.running import RunningGateway

ENVIRONMENT = ROOT / ".tools" / "installed"
GATEWAY = str(ENVIRONMENT / "bin" / "gateway")
CLEAN = {"PYTHONPATH": "", "PYTHONSAFEPATH": "1"}


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A folder with copies of the models and nothing of the checkout."""
    if not ENVIRONMENT.exists():
        assert os.environ.get("CI") != "true", "bash .ci/run wheel"
        pytest.skip("the wheel is not installed: bash .ci/run wheel")
    folder = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(ROOT / "models", folder / "models")
    return folder


@pytest.fixture(scope="module")
def gateway(elsewhere):
    """A gateway of the installed wheel."""
    log = elsewhere / "log"
    running = RunningGateway(
        elsewhere / "models", log, env=CLEAN, program=(GATEWAY,), folder=elsewhere
    )
    with running:
        yield running


def call(folder, *words):
    done = subprocess.run(
        [GATEWAY, *words],
        cwd=folder,
        env={**os.environ, **CLEAN},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_package_is_the_installed_one(elsewhere):
    where = [str(ENVIRONMENT / "bin" / "python"), "-c", "import gateway; print(gateway.__file__)"]
    done = subprocess.run(
        where,
        cwd=elsewhere,
        env={**os.environ, **CLEAN},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(str(ENVIRONMENT))


def test_an_installed_wheel_answers_with_numbers_and_strings(gateway, elsewhere):
    rows = ("--input", "models/penguins/samples.csv", "--address", gateway.address)
    assert "penguins version 1 answered" in call(elsewhere, "infer", "penguins", *rows)


def test_an_installed_wheel_has_the_files_that_it_ships(elsewhere):
    assert call(elsewhere, "dashboards", "--out", "written")
    assert any((elsewhere / "written").iterdir())


def test_an_installed_wheel_checks_models(elsewhere):
    assert "digits" in call(elsewhere, "check", "models", "--cache-dir", str(elsewhere / "cache"))


def test_an_installed_wheel_stops_when_it_is_told_to(elsewhere, tmp_path):
    running = RunningGateway(
        elsewhere / "models",
        tmp_path / "log",
        "--drain-delay=0s",
        env=CLEAN,
        program=(GATEWAY,),
        folder=elsewhere,
    )
    with running:
        assert running.stop() == 0
