"""`gateway health`, as the probe of a container runs it."""

import concurrent.futures

import grpc
import pytest

from gateway.cli.commands.health import EXAMPLES
from gateway.protocol.generated import health_pb2


@pytest.mark.parametrize("service", [(), ("digits",), ("digits/2",)])
def test_what_serves_is_healthy(gateway, served, service):
    done = gateway("health", *service, "--address", served.address)
    assert (done.status, done.out, done.err) == (0, "SERVING\n", "")


def test_a_name_that_is_unknown_fails_and_says_which_are_known(gateway, served):
    done = gateway("health", "nobody", "--address", served.address)
    assert (done.status, done.out) == (5, "")
    (fault,) = done.faults
    assert fault == (
        "NOT_FOUND: unknown service 'nobody': known are '', "
        "'inference.GRPCInferenceService', MODEL and MODEL/VERSION"
    )


def test_nobody_at_the_address_fails_and_says_what_to_do(gateway):
    done = gateway("health", "--address", "127.0.0.1:1", "--timeout", "2s")
    assert done.status == 3
    assert any("nothing answers at 127.0.0.1:1" in fault for fault in done.faults)


@pytest.fixture
def answering():
    """Starts servers that answer a Check with this status, or that have no health service."""
    started = []

    def start(status):
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
        check = grpc.unary_unary_rpc_method_handler(
            lambda _request, _context: health_pb2.HealthCheckResponse(status=status),
            request_deserializer=health_pb2.HealthCheckRequest.FromString,
            response_serializer=health_pb2.HealthCheckResponse.SerializeToString,
        )
        if status is not None:
            handler = grpc.method_handlers_generic_handler(
                "grpc.health.v1.Health", {"Check": check}
            )
            server.add_generic_rpc_handlers((handler,))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        started.append(server)
        return f"127.0.0.1:{port}"

    yield start
    for server in started:
        server.stop(0)


def test_a_server_that_drains_fails_the_probe(gateway, answering):
    address = answering("NOT_SERVING")
    done = gateway("health", "--address", address)
    assert (done.status, done.out, done.faults) == (1, "", [f"{address} is NOT_SERVING"])


def test_a_server_without_health_is_named(gateway, answering):
    address = answering(None)
    done = gateway("health", "--address", address)
    assert done.status == 1
    assert f"{address} is a gRPC server without the health service" in done.faults


@pytest.mark.parametrize("example", EXAMPLES.splitlines()[1:])
def test_the_examples_run(gateway, served, example):
    words = example.split()[1:]
    if "--address" in words:
        del words[words.index("--address") :][:2]
    assert gateway(*words, "--address", served.address).status == 0
