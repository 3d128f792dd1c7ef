"""A real Prometheus that scrapes gateways, for tests that query it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Self

import pytest
import yaml

from tests.support.callers import until
from tests.support.running import free_port

INTERVAL = "500ms"


class Prometheus:
    """Scrapes `/metrics` of these HTTP ports every half second.

    It also evaluates the rules that ship with the gateway.
    """

    def __init__(self, folder: Path, ports: Sequence[int], path: str = "/metrics") -> None:
        self._port = free_port()
        self._folder = folder
        rules = folder / "rules.yaml"
        rules.write_bytes(
            (files("gateway.telemetry") / "dashboards" / "prometheus_rules.yaml").read_bytes()
        )
        (folder / "prometheus.yml").write_text(
            yaml.safe_dump(
                {
                    "global": {
                        "scrape_interval": INTERVAL,
                        "scrape_timeout": INTERVAL,
                        "evaluation_interval": "1s",
                    },
                    "rule_files": [str(rules)],
                    "scrape_configs": [
                        {
                            "job_name": "gateway",
                            "metrics_path": path,
                            "static_configs": [
                                {"targets": [f"127.0.0.1:{port}" for port in ports]}
                            ],
                        }
                    ],
                }
            )
        )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        program = shutil.which("prometheus")
        if program is None:
            text = "prometheus is not installed: apt-get install prometheus"
            assert os.environ.get("CI") != "true", text
            pytest.skip(text)
        command = [
            program, f"--config.file={self._folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port}", "--log.level=warn",
        ]  # fmt: skip
        with (self._folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until(lambda: self._get("/-/ready"))
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(20)
        print((self._folder / "prometheus.log").read_text())

    def values(self, query: str) -> dict[tuple[tuple[str, str], ...], float]:
        """The current values of the query, by their labels."""
        answer = json.loads(self._get(f"/api/v1/query?{urllib.parse.urlencode({'query': query})}"))
        assert answer["status"] == "success", answer
        return {
            tuple(sorted(each["metric"].items())): float(each["value"][1])
            for each in answer["data"]["result"]
        }

    def value(self, query: str) -> float:
        """The one current value of the query; -1 where there is none."""
        found = list(self.values(query).values())
        assert len(found) <= 1, found
        return found[0] if found else -1.0

    def history(self, query: str) -> list[float]:
        """All samples of the last ten minutes of the one series that the query names."""
        answer = json.loads(
            self._get(f"/api/v1/query?{urllib.parse.urlencode({'query': f'{query}[10m]'})}")
        )
        (series,) = answer["data"]["result"]
        return [float(value) for _, value in series["values"]]

    def targets(self) -> list[tuple[str, str]]:
        """Health and last error of each target."""
        return [
            (each["health"], each["lastError"])
            for each in json.loads(self._get("/api/v1/targets"))["data"]["activeTargets"]
        ]

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=10) as response:
            body: bytes = response.read()
            return body
