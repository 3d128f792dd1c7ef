"""Jaeger, as `make tools` builds it, on ports of its own, and the answers of its query API.

It keeps all spans in memory.
"""

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import ExitStack, contextmanager

import pytest

from tests.support.checkout import ROOT

JAEGER = ROOT / ".tools" / "bin" / "jaeger"

# The built-in configuration of Jaeger on 127.0.0.1 alone, without its other receivers, and without
# batching, so that a span is found at once.
_CONFIGURATION = """
service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces: {{receivers: [otlp], exporters: [jaeger_storage_exporter]}}
  telemetry: {{metrics: {{level: none}}, logs: {{level: warn}}}}
extensions:
  jaeger_query:
    storage: {{traces: memory}}
    http: {{endpoint: "127.0.0.1:{query}"}}
    grpc: {{endpoint: "127.0.0.1:{query_grpc}"}}
  jaeger_storage:
    backends:
      memory: {{memory: {{max_traces: 100000}}}}
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: "127.0.0.1:{grpc}"}}
      http: {{endpoint: "127.0.0.1:{http}"}}
exporters:
  jaeger_storage_exporter: {{trace_storage: memory}}
"""


class Jaeger:
    def __init__(self, ports):
        self.grpc, self.http = (f"http://127.0.0.1:{ports[name]}" for name in ("grpc", "http"))
        """Endpoints for spans over OTLP."""
        self._query = f"http://127.0.0.1:{ports['query']}/api"

    def trace(self, trace_id, spans=1, timeout_s=20):
        """The spans of the trace with this id (hexadecimal), as soon as there are so many."""
        return self._wait_for(
            lambda: self._trace(trace_id), lambda found: len(found) >= spans, timeout_s
        )

    def traces(self, service, count=1, timeout_s=20, **search):
        """Traces of a service, each a list of `Span`, as soon as there are so many.

        `search` has parameters of Jaeger's query, such as operation.
        """
        query = urllib.parse.urlencode(
            {"service": service, "limit": 100_000, "lookback": "1h", **search}
        )
        found = self._wait_for(
            lambda: self._get(f"/traces?{query}"), lambda found: len(found) >= count, timeout_s
        )
        return [_spans(trace) for trace in found]

    def _trace(self, trace_id):
        try:
            return [span for trace in self._get(f"/traces/{trace_id}") for span in _spans(trace)]
        except urllib.error.HTTPError as error:
            if error.code == 404:  # the trace has not come yet
                return []
            raise

    def _get(self, path):
        with urllib.request.urlopen(self._query + path, timeout=10) as answer:
            return json.load(answer)["data"] or []

    @staticmethod
    def _wait_for(ask, enough, timeout_s):
        until = time.monotonic() + timeout_s
        while not enough(found := ask()):
            assert time.monotonic() < until, f"not there after {timeout_s} s; found {found}"
            time.sleep(0.05)
        return found

    def answers(self):
        """Whether its query API answers."""
        try:
            self._get("/services")
        except OSError:
            return False
        return True


class Span:
    """One span as Jaeger shows it."""

    def __init__(self, data, service):
        self.trace_id = data["traceID"]
        self.span_id = data["spanID"]
        self.name = data["operationName"]
        self.service = service
        self.start_us = data["startTime"]
        self.duration_us = data["duration"]
        self.tags = {tag["key"]: tag["value"] for tag in data["tags"]}
        self.events = [
            {field["key"]: field["value"] for field in log["fields"]} for log in data["logs"]
        ]
        self.parents = [one["spanID"] for one in data["references"] if one["refType"] == "CHILD_OF"]
        self.links = [
            (one["traceID"], one["spanID"])
            for one in data["references"]
            if one["refType"] == "FOLLOWS_FROM"
        ]

    def __repr__(self):
        return f"<Span {self.service}: {self.name}>"


def _spans(trace):
    return [
        Span(span, trace["processes"][span["processID"]]["serviceName"]) for span in trace["spans"]
    ]


def _free_ports(*names):
    with ExitStack() as stack:
        sockets = {name: stack.enter_context(socket.socket()) for name in names}
        for one in sockets.values():
            one.bind(("127.0.0.1", 0))
        return {name: one.getsockname()[1] for name, one in sockets.items()}


@contextmanager
def running_jaeger(folder):
    """Starts Jaeger; without it the test is skipped, and in CI it fails."""
    if not JAEGER.exists():
        text = "Jaeger is not installed: make tools"
        if os.environ.get("CI") == "true":
            pytest.fail(text)
        pytest.skip(text)
    ports = _free_ports("query", "query_grpc", "grpc", "http")
    configuration = folder / "jaeger.yaml"
    log = folder / "jaeger.log"
    configuration.write_text(_CONFIGURATION.format(**ports))
    with (
        log.open("w") as out,
        subprocess.Popen([JAEGER, "--config", configuration], stdout=out, stderr=out) as process,
    ):
        try:
            jaeger = Jaeger(ports)
            until = time.monotonic() + 30
            while not jaeger.answers():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.05)
            yield jaeger
        finally:
            process.kill()  # after SIGTERM it waits ten seconds for those who send it spans
