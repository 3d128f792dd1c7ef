"""What pyproject.toml declares is what the code imports."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = DECLARED["project"]
MODULES = {  # where the name of a module is not that of its distribution
    "google": "protobuf",
    "grpc": "grpcio",
    "yaml": "pyyaml",
    "sklearn": "scikit-learn",
    "importlinter": "import-linter",
    "prometheus_client": "prometheus-client",
}
# one name is shared by many distributions; the longest prefix that fits names the one that counts
SHARED_NAMES = {
    "opentelemetry": "opentelemetry-sdk",
    "opentelemetry.proto": "opentelemetry-exporter-otlp-proto-grpc",
    "opentelemetry.exporter": "opentelemetry-exporter-otlp-proto-grpc",
    "opentelemetry.exporter.otlp.proto.http": "opentelemetry-exporter-otlp-proto-http",
}


PROGRAMS = ROOT / "load_tests" / "clients" / "programs"
"""What runs in environments of its own, with packages that nothing else has."""


def distribution(module):
    shared = [name for name in SHARED_NAMES if f"{module}.".startswith(f"{name}.")]
    top = module.partition(".")[0]
    return (
        SHARED_NAMES[max(shared, key=len)]
        if shared
        else MODULES.get(top, top).lower().replace("_", "-")
    )


def names(requirements):
    return {
        re.match(r"[A-Za-z0-9_.-]+", requirement)[0].lower().replace("_", "-")
        for requirement in requirements
    }


def pins(lock):
    """The version that a lock file names for each distribution."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE))


RUNTIME = names(PROJECT["dependencies"])
OF_ONE_COMMAND = names(PROJECT["optional-dependencies"]["convert"])
TESTS = names(PROJECT["optional-dependencies"]["test"])
DEVELOPMENT = names(PROJECT["optional-dependencies"]["dev"])
BUILD = names(DECLARED["dependency-groups"]["build"])
LOCKS = ["requirements.lock", *(str(path.relative_to(ROOT)) for path in ROOT.glob(".ci/*.lock"))]


def imported(*folders):
    """The distributions that the Python files in these folders import, with a file for each."""
    files = [
        file
        for folder in folders
        for file in (ROOT / folder).rglob("*.py")
        if PROGRAMS not in file.parents
    ]
    # those import each other
    own = {
        "gateway",
        "load_tests",
        "tests",
        *(file.stem for file in (ROOT / "models").glob("*.py")),
    }
    found = {}
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                modules = [node.module]
            for module in modules:
                if module.partition(".")[0] not in own | sys.stdlib_module_names:
                    found.setdefault(distribution(module), file)
    return found


def test_the_package_imports_what_it_depends_on_and_nothing_else():
    assert set(imported("gateway")) == RUNTIME | OF_ONE_COMMAND


def test_what_one_command_needs_is_imported_in_its_room_alone():
    folder = ROOT / "gateway/onnx/conversion"
    assert set(imported("gateway/onnx/conversion")) & OF_ONE_COMMAND == OF_ONE_COMMAND
    for file in (ROOT / "gateway").rglob("*.py"):
        if folder not in file.parents:
            assert not re.search(r"^\s*(import onnx|from onnx)\b", file.read_text(), re.MULTILINE)


@pytest.mark.parametrize("folder", ["tests", "load_tests", "models", "protos"])
def test_what_is_beside_the_package_is_declared_in_an_extra(folder):
    elsewhere = ROOT / "load_tests/exports"  # some of it runs in an environment of its own
    undeclared = {
        name: file
        for name, file in imported(folder).items()
        if name not in RUNTIME | TESTS | DEVELOPMENT and file.parent != elsewhere
    }
    assert not undeclared


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        ("requirements.lock", RUNTIME),
        (".ci/build.lock", BUILD),
        (".ci/dev.lock", RUNTIME | TESTS | DEVELOPMENT | BUILD),
        (".ci/oldest.lock", RUNTIME | TESTS),
        (".ci/newest.lock", RUNTIME | TESTS),
    ],
)
def test_lock_files_pin_everything_that_is_declared(lock, wanted):
    assert wanted - {"onnx-gateway"} <= set(pins(lock))


def test_serving_needs_no_package_of_tests_and_development():
    assert set(pins("requirements.lock")) & (TESTS | DEVELOPMENT | BUILD) == set()


@pytest.mark.parametrize("lock", ["requirements.lock", ".ci/build.lock"])
def test_what_is_installed_first_has_the_version_that_stays(lock):
    assert pins(lock).items() <= pins(".ci/dev.lock").items()


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_a_hash(lock):
    entries = re.split(r"^(?=\S+==)", (ROOT / lock).read_text(), flags=re.MULTILINE)[1:]
    assert entries
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


def test_the_lower_bounds_are_what_ci_tests_with():
    lock = (ROOT / ".ci" / "oldest.lock").read_text()
    for requirement in PROJECT["dependencies"]:
        name, bound = re.match(r"([A-Za-z0-9_.-]+)>=([0-9.]+)", requirement).groups()
        pinned = re.search(rf"^{name.lower().replace('_', '-')}==([0-9.]+)", lock, re.MULTILINE)[1]
        assert f"{pinned}.0.0".startswith(f"{bound}."), requirement
