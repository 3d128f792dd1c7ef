"""The clients there are, each of one version."""

from __future__ import annotations

from load_tests.clients.client import Client, PythonClient
from load_tests.clients.commands import Ghz, Grpcurl, HealthProbe
from load_tests.clients.compiled import Go, Java, Node, Rust
from load_tests.clients.envoy import JsonTranscoder, Web

CLIENTS: tuple[Client, ...] = (
    PythonClient("tritonclient", "2.73.0", "tritonclient_grpc.py", extra="[grpc]", quick=True),
    PythonClient("nvidia-pytriton", "0.7.0", "pytriton_client.py", "tritonclient[grpc]==2.73.0"),
    PythonClient("tritony", "0.0.23", "tritony_client.py", "tritonclient[grpc,http]==2.73.0"),
    PythonClient("kserve", "0.21.0", "kserve_client.py"),
    Grpcurl("grpcurl", quick=True),
    HealthProbe("grpc-health-probe"),
    Ghz("ghz", quick=True),
    Go("grpc-go", "v1.85.0", "go"),
    Node("@grpc/grpc-js", "1.14.7", "node", quick=True),
    Java("grpc-java", "1.75.0", "java"),
    Rust("triton-client", "0.2.0", "rust"),
    JsonTranscoder("envoy-json-transcoder", "1.40.0", "web"),
    Web("@connectrpc/connect-node", "2.3.0", "web"),
)
