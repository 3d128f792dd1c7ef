"""The Dockerfile, as far as it can be seen without building it."""

import fnmatch
import re
import shlex

import pytest

from gateway.cli.command_line import COMMANDS
from tests.support.checkout import ROOT

DOCKERFILE = ROOT / "Dockerfile"
if not DOCKERFILE.exists():
    pytest.skip("an installed gateway is tried, beside the tests alone", allow_module_level=True)
LINES = [
    line
    for line in DOCKERFILE.read_text().replace("\\\n", " ").splitlines()
    if line and not line.startswith("#")
]
SENT = [
    line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
]


def instructions(name):
    return [line.split(None, 1)[1] for line in LINES if line.startswith(f"{name} ")]


def copied():
    """What is taken from the checkout."""
    return [
        source
        for words in map(shlex.split, instructions("COPY"))
        if not words[0].startswith("--from")
        for source in words[:-1]
    ]


def test_what_is_copied_exists_and_is_sent_to_the_builder():
    assert len(copied()) > 4
    assert [each for each in copied() if not (ROOT / each).exists()] == []
    assert [each for each in copied() if not any(fnmatch.fnmatch(each, s) for s in SENT)] == []


def test_nothing_is_sent_that_is_not_copied():
    assert set(SENT) == set(copied())


def test_what_the_package_is_built_of_is_there():
    project = (ROOT / "pyproject.toml").read_text()
    named = re.findall(r'^(?:readme = |license-files = \[)"([^"]+)"', project, re.MULTILINE)
    assert {*named, "pyproject.toml", "gateway"} <= set(copied())


def test_every_package_from_outside_has_its_hash():
    installs = [
        each for line in instructions("RUN") for each in line.split("&&") if "pip i" in each
    ]
    assert len(installs) == 3
    assert all("--require-hashes" in each or "--no-index" in each for each in installs)


def test_the_last_stage_does_not_run_as_root():
    (user,) = instructions("USER")
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)
    assert LINES.index(f"USER {user}") > max(
        number for number, line in enumerate(LINES) if line.startswith(("RUN ", "FROM "))
    )


def test_the_probe_is_the_gateways_own_command():
    (probe,) = instructions("HEALTHCHECK")
    program, command = re.findall(r'"([^"]+)"', probe)
    assert (program, command in COMMANDS) == ("gateway", True)


def test_the_command_can_be_replaced_and_serves_to_everybody_if_it_is_not():
    (entry,) = instructions("ENTRYPOINT")
    (command,) = instructions("CMD")
    assert entry == '["gateway"]'
    assert re.findall(r'"([^"]+)"', command) == [
        "serve",
        "--models",
        "/models",
        "--host",
        "0.0.0.0",
    ]
