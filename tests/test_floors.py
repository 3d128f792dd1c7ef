"""The layers of the gateway: which may import which, and what the main process never loads."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINT = (
    "import sys; from importlinter.cli import lint_imports_command; sys.argv = ['lint-imports', "
    "'--no-cache']; lint_imports_command()"
)


FLOORS = "Imports go down the floors and never across processes"


def lint_imports(folder):
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", LINT],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_imports_go_down_the_floors():
    status, text = lint_imports(ROOT)
    assert status == 0, text


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("house")
    shutil.copytree(
        ROOT / "gateway", folder / "gateway", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("core/errors.py", "import gateway.protocol.codec", FLOORS),
        ("serving/batching/queue.py", "import gateway.control.lifecycle.fleet", FLOORS),
        ("control/lifecycle/fleet.py", "import gateway.telemetry.http", FLOORS),
        ("telemetry/http.py", "import gateway.serving.wire.status", FLOORS),
        ("ipc/serving_link.py", "import gateway.config.settings", FLOORS),
        ("assembly/predictor_stack.py", "import gateway.cli.command_errors", FLOORS),
        ("attic/__init__.py", "", FLOORS),
        ("serving/routing/catalogue.py", "import grpc", "One library, one room: grpc"),
        (
            "control/inspection/examine.py",
            "import onnxruntime",
            "One library, one room: onnxruntime",
        ),
        ("serving/batching/queue.py", "import pybreaker", "One library, one room: pybreaker"),
        ("control/lifecycle/fleet.py", "import aiohttp", "One library, one room: aiohttp"),
        (
            "records/counters.py",
            "import prometheus_client",
            "One library, one room: prometheus_client",
        ),
        (
            "assembly/telemetry_exporters.py",
            "import opentelemetry",
            "One library, one room: opentelemetry",
        ),
    ],
)
def test_an_import_that_goes_up_is_found(copy, file, line, contract):
    path = copy / "gateway" / file
    path.parent.mkdir(exist_ok=True)
    before = path.read_text() if path.exists() else None
    path.write_text(f"{before or ''}\n{line}\n")
    try:
        status, text = lint_imports(copy)
    finally:
        if before is None:
            shutil.rmtree(path.parent)
        else:
            path.write_text(before)
    assert status == 1
    broken = {found.partition(" BROKEN")[0] for found in text.splitlines() if " BROKEN" in found}
    assert contract in broken, text


def modules_after(*imports):
    """What is loaded in a new Python after these imports, without the standard library."""
    script = (
        f"import sys, {', '.join(imports)}; print(*{{m.partition('.')[0] for m in sys.modules}})"
    )
    out = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return set(out.split()) - set(sys.stdlib_module_names)


def test_serving_processes_start_before_anything_slow_is_imported():
    assert not modules_after("gateway.cli.commands.serve", "gateway.assembly.control_process") & {
        "google",
        "aiohttp",
        "grpc",
        "numpy",
        "onnxruntime",
    }


def test_the_main_process_reads_repositories_and_answers_probes_without_grpc_and_onnxruntime():
    modules = modules_after(
        "gateway.assembly.control_process",
        "gateway.control.processes.main_process",
        "gateway.control.models.sources.folder_source",
        "gateway.telemetry.http",
    )
    assert "aiohttp" in modules
    assert not modules & {"grpc", "numpy", "ml_dtypes", "onnxruntime"}
