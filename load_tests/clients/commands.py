"""Clients that are commands, built with Go: grpcurl, grpc-health-probe and ghz."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from load_tests.clients.client import ANSWERED_WITHIN_S, CannotInstallError, Client, last_words
from load_tests.clients.task import UNKNOWN, Task
from load_tests.go_tools import provide
from load_tests.tools import GO_TOOLS

SERVICE = "inference.GRPCInferenceService"
NAME = json.dumps({"name": "digits"})
NO_SUCH_NAME = json.dumps({"name": UNKNOWN})


class Command(Client):
    """A program of `make tools`, taken from PATH or built."""

    def __init__(self, name: str, *, quick: bool = False) -> None:
        self._tool = GO_TOOLS[name]
        super().__init__(name, self._tool.version, quick=quick)

    def have(self) -> None:
        """Takes it from PATH, or builds it."""
        try:
            self.install()
        except SystemExit as error:  # the command that builds ends so
            raise CannotInstallError(str(error)) from None

    def install(self) -> None:
        """As `make tools` does."""
        provide(self._tool)

    def start(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Runs the program."""
        return subprocess.run(
            [self._tool.path, *words],
            capture_output=True,
            text=True,
            timeout=ANSWERED_WITHIN_S,
            check=False,
        )


class Grpcurl(Command):
    """Knows the services by reflection alone."""

    def run(self, task: Task, address: str) -> str:
        """Does what it can of the task."""
        requests = json.loads(task.text(address))["requests"]
        health = self._ask(address, "grpc.health.v1.Health/Check", "{}")
        return _lines(
            {"step": "metadata", **self._ask(address, f"{SERVICE}/ModelMetadata", NAME)},
            {"step": "config", **self._ask(address, f"{SERVICE}/ModelConfig", NAME)},
            {"step": "health", "ready": health.get("response") == {"status": "SERVING"}},
            *(
                {"step": step, **self._ask(address, f"{SERVICE}/ModelInfer", json.dumps(request))}
                for step, request in requests.items()
            ),
            {"step": "error", **self._ask(address, f"{SERVICE}/ModelMetadata", NO_SUCH_NAME)},
        )

    def _ask(self, address: str, method: str, request: str) -> dict[str, Any]:
        done = self.start("-plaintext", "-d", request, address, method)
        if done.returncode == 0:
            return {"response": json.loads(done.stdout)}
        code = re.search(r"Code: (\w+)", done.stderr)
        text = re.search(r"Message: (.*)", done.stderr)
        if code is None or text is None:
            return {"failed": last_words(done)}
        return {"code": code[1], "text": text[1]}


class HealthProbe(Command):
    """Asks for health and for nothing else."""

    def run(self, task: Task, address: str) -> str:
        """Does what it can of the task."""
        del task
        unknown = self.start("-addr", address, "-service", UNKNOWN)
        code = re.search(r"code = (\w+)", unknown.stderr)
        rest = [{"step": step, "none": "it asks for health alone"} for step in _OTHERS]
        return _lines(
            {"step": "health", "ready": self.start("-addr", address).returncode == 0},
            {"step": "error", "code": code[1] if code else "OK", "text": unknown.stderr},
            *rest,
        )


_OTHERS = ("metadata", "config", "numbers", "strings")


class Ghz(Command):
    """Calls many times, and tells statuses but no answers."""

    def run(self, task: Task, address: str) -> str:
        """Does what it can of the task."""
        requests = json.loads(task.text(address))["requests"]
        calls = {
            "metadata": (f"{SERVICE}.ModelMetadata", NAME),
            "config": (f"{SERVICE}.ModelConfig", NAME),
            "health": ("grpc.health.v1.Health.Check", "{}"),
            **{
                step: (f"{SERVICE}.ModelInfer", json.dumps(request))
                for step, request in requests.items()
            },
        }
        lines = [{"step": step, **self._ask(address, *call)} for step, call in calls.items()]
        error = self._ask(address, f"{SERVICE}.ModelMetadata", NO_SUCH_NAME)
        text = " ".join(error.get("errors", {}))
        (code,) = error.get("statuses", {"OK": 1})
        return _lines(*lines, {"step": "error", "code": code, "text": text})

    def _ask(self, address: str, method: str, request: str) -> dict[str, Any]:
        options = ("--insecure", "--call", method, "-n", "50", "-c", "5", "-O", "json")
        done = self.start(*options, "-d", request, address)
        if done.returncode:
            return {"failed": last_words(done)}
        report = json.loads(done.stdout)
        return {
            "statuses": report["statusCodeDistribution"],
            "errors": report["errorDistribution"],
        }


def _lines(*told: dict[str, Any]) -> str:
    return "\n".join(json.dumps(each) for each in told)
