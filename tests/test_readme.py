"""The commands, options and names in the READMEs exist."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
READMES = sorted(
    [
        ROOT / "README.md",
        *(
            file
            for folder in ("gateway", "load_tests", "models", "protos", "tests")
            for file in (ROOT / folder).rglob("README.md")
        ),
    ]
)
COMMANDS = (
    "serve",
    "check",
    "explain",
    "infer",
    "breakers",
    "models",
    "reload",
    "load",
    "unload",
    "health",
)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")


def name(file):
    return str(file.relative_to(ROOT))


def code(file):
    """The text of all code blocks and code spans, one command or word each."""
    text = file.read_text()
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^    (\S.*)$", text, re.MULTILINE)
    spans = re.findall(
        r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    )
    lines = [
        line.split("   # ")[0]
        for block in blocks
        for line in block.replace("\\\n", " ").splitlines()
    ]
    return [*lines, *indented, *spans]


@cache
def options(*program):
    done = subprocess.run(
        [sys.executable, "-m", *program, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(OPTION.findall(done.stdout))


def test_there_are_readmes_to_look_at():
    assert {
        "README.md",
        "gateway/control/models/README.md",
        "load_tests/README.md",
        "models/README.md",
    } <= set(map(name, READMES))


@pytest.mark.parametrize("file", READMES, ids=name)
def test_links_lead_to_files(file):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", file.read_text())
    assert [link for link in links if not (file.parent / link).exists()] == []


@pytest.mark.parametrize("file", READMES, ids=name)
def test_make_targets_exist(file):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {found for text in code(file) for found in re.findall(r"^make ([a-z]+)", text)}
    assert named <= targets


@pytest.mark.parametrize("file", READMES, ids=name)
def test_options_of_gateway_commands_exist(file):
    for text in code(file):
        for command, line in re.findall(r"\bgateway ([a-z]+) ?(.*)", text):
            if command in COMMANDS:
                assert set(OPTION.findall(line)) <= options("gateway", command), text


def test_options_that_a_readme_names_by_themselves_are_the_servers():
    ours = [file for file in READMES if file.parent == ROOT or ROOT / "gateway" in file.parents]
    alone = {
        option
        for file in ours
        for text in code(file)
        if text.startswith("--")
        for option in OPTION.findall(text)
    }
    assert len(alone) > 10
    commands = options("gateway", "breakers") | options("gateway", "infer")
    assert alone - commands <= options("gateway", "serve")


@pytest.mark.parametrize("file", READMES, ids=name)
def test_programs_of_the_load_tests_and_their_options_exist(file):
    for text in code(file):
        for module, line in re.findall(r"-m (load_tests\.\w+)([^`']*)", text):
            if module != "load_tests.tools":  # this command takes none and has no help
                assert set(OPTION.findall(line)) <= options(module), text


def test_every_make_target_tells_what_it_does():
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[
        1
    ].split()
    assert re.findall(r"^  make (\w+) +\S", done.stdout, re.MULTILINE) == targets


def texts_of_the_code():
    """All literal texts of the gateway but docstrings, with a mark where a value is put in."""
    found = []
    for file in (ROOT / "gateway").rglob("*.py"):
        nodes = list(ast.walk(ast.parse(file.read_text())))
        docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        for node in nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append("" if id(node) in docstrings else node.value)
            elif isinstance(node, ast.JoinedStr):
                parts = (getattr(part, "value", "") for part in node.values)
                found.append("\0".join(part if isinstance(part, str) else "" for part in parts))
    return "\n".join(found)


def fixed_parts(text):
    """The parts of a quoted text that are the same for every model, number and reason."""
    values = (
        r"\.\.\.|(?:model )?'m'|NaN|HOST:PORT|\b[\d.]+\b|[()\[\]:;,]|SIGSEGV|model.onnx|"
        r"the gateway|any number of|worker|version \d|'x-tenant'|'y'|in parts"
    )
    parts = [part.strip(" .") for part in re.split(values, text.replace("\n", " "))]
    return [part for part in parts if len(part.split()) > 2]


def test_texts_that_the_page_on_failures_quotes_are_texts_of_the_code():
    page = (ROOT / "gateway/serving/policies/README.md").read_text()
    quoted = [
        each
        for each in re.findall(r"`([^`]+)`", page)
        if " " in each and not each.startswith(("gateway ", "gateway\n"))
    ]
    parts = {part for each in quoted for part in fixed_parts(each)}
    assert len(parts) > 20
    code_texts = re.sub(r"%[sdr]|%\.\d+f", "\0", texts_of_the_code())
    assert sorted(part for part in parts if part not in code_texts) == []
