"""`gateway breakers` against a server that answers in place of a gateway."""

import concurrent.futures
import math
import shlex

import grpc
import pytest

from gateway.cli.commands.breakers import EXAMPLES
from gateway.protocol.generated import gateway_control_pb2 as pb
from gateway.protocol.generated import gateway_control_pb2_grpc, inference_pb2, inference_pb2_grpc

CLOSED = {"state": pb.CLOSED, "window_batches": 10, "window_failures": 1}
OPEN = {
    "state": pb.OPEN, "consecutive_failures": 5, "window_batches": 20, "window_failures": 12,
    "retry_in_s": 3.25, "opened": 2, "last_error": "no memory " * 20,
}  # fmt: skip
LISTED = pb.ListBreakersResponse(
    breakers=[
        pb.Breaker(
            model="digits",
            version="2",
            mode=pb.AUTOMATIC,
            processes=[
                pb.ProcessBreaker(process=0, **CLOSED),
                pb.ProcessBreaker(process=1, **OPEN),
                pb.ProcessBreaker(process=3, **CLOSED),
            ],
        ),
        pb.Breaker(
            model="digits",
            version="2",
            instance="worker 1",
            mode=pb.FORCE_OPEN,
            processes=[pb.ProcessBreaker(process=0, state=pb.OPEN, retry_in_s=math.inf)],
        ),
        pb.Breaker(model="penguins", version="1", mode=pb.FORCE_CLOSED),
    ],
    silent_processes=[2],
)


class ServedBreakers(gateway_control_pb2_grpc.GatewayControlServicer):
    """Answers with the breakers that a test sets, and keeps what it was asked."""

    def __init__(self):
        self.listed = LISTED
        self.asked = []
        self.metadata = {}
        self.refusal = None
        self.set_refusal = None

    def ListBreakers(self, request, context):  # noqa: N802  # the protocol's name
        self.asked.append(request)
        self.refuse(context)
        return self.listed

    def SetBreaker(self, request, context):  # noqa: N802
        self.asked.append(request)
        self.metadata = dict(context.invocation_metadata())
        if self.set_refusal:
            context.abort(*self.set_refusal)
        self.refuse(context)
        name = pb.BreakerName(
            model=request.model, version=request.version or "1", instance=request.instance
        )
        return pb.SetBreakerResponse(breakers=[name])

    def refuse(self, context):
        if self.refusal:
            context.abort(*self.refusal)


class ServedIndex(inference_pb2_grpc.GRPCInferenceServiceServicer):
    def RepositoryIndex(self, request, context):  # noqa: N802
        return inference_pb2.RepositoryIndexResponse(
            models=[inference_pb2.RepositoryIndexResponse.ModelIndex(name="digits")]
        )


@pytest.fixture
def asked_server():
    """A server of both services; `address` is its gRPC address."""
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
    served = ServedBreakers()
    gateway_control_pb2_grpc.add_GatewayControlServicer_to_server(served, server)
    inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(ServedIndex(), server)
    served.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield served
    server.stop(0)


@pytest.fixture
def breakers(gateway, asked_server):
    return lambda *arguments: gateway("breakers", "--address", asked_server.address, *arguments)


def test_a_row_tells_of_all_processes_in_which_a_breaker_stands_alike(breakers):
    done = breakers()
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].split()[:4] == ["model", "version", "instance", "set"]
    rows = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines[1:-1]]
    assert rows[0] == [
        "digits",
        "2",
        "-",
        "automatic",
        "0, 3",
        "closed",
        "0 failed",
        "1 of 10 failed",
        "-",
        "0",
    ]
    assert rows[1][:-1] == [
        "digits",
        "2",
        "-",
        "automatic",
        "1",
        "open",
        "5 failed",
        "12 of 20 failed",
        "in 3.2 s",
        "2",
    ]
    assert (len(rows[1][-1]), rows[1][-1][-3:]) == (100, "...")
    assert rows[2] == [
        "digits",
        "2",
        "worker 1",
        "forced open",
        "0",
        "open",
        "0 failed",
        "0 of 0 failed",
        "never",
        "0",
    ]
    assert rows[3][:5] == ["penguins", "1", "-", "forced closed", "none"]
    assert lines[-1] == "process 2: no answer"


def test_a_long_name_is_cut_where_the_screen_is_too_narrow_and_whole_where_nobody_looks(
    breakers, gateway, asked_server
):
    name = "a_name_of_" + "many_" * 38
    asked_server.listed = pb.ListBreakersResponse(
        breakers=[pb.Breaker(model=name, version="1", mode=pb.AUTOMATIC)]
    )
    assert f"{name}  1        -" in breakers().out
    cut = gateway("breakers", "--address", asked_server.address, env={"COLUMNS": "120"})
    assert f"\n{name[:39]}…  1        -" in cut.out


def test_an_open_breaker_whose_time_is_over_waits_for_the_next_request(breakers, asked_server):
    waiting = pb.ProcessBreaker(process=0, state=pb.OPEN, opened=1)
    asked_server.listed = pb.ListBreakersResponse(
        breakers=[pb.Breaker(model="digits", version="2", mode=pb.AUTOMATIC, processes=[waiting])]
    )
    assert "open   0 failed  0 of 0 failed  next request  1" in breakers().out


def test_what_is_asked_for_is_what_is_named(breakers, asked_server):
    assert "automatic" not in breakers("digits:2", "--instance", "worker 1").out
    assert "worker 1" in breakers("odd:name").out
    breakers("odd:name:7")
    assert [(request.model, request.version) for request in asked_server.asked] == [
        ("digits", "2"),
        ("odd:name", ""),
        ("odd:name", "7"),
    ]


def test_where_there_are_none_it_says_so(breakers, asked_server):
    asked_server.listed = pb.ListBreakersResponse()
    assert breakers().out == "there are no breakers\n"


THREADS = pb.Breaker(
    model="digits",
    version="2",
    mode=pb.AUTOMATIC,
    processes=[pb.ProcessBreaker(process=0, **CLOSED)],
)


@pytest.mark.parametrize(
    ("listed", "says"),
    [
        (LISTED, "no instance is called 'worker 7' (instances: worker 1)"),
        (
            pb.ListBreakersResponse(breakers=[THREADS]),
            (
                "threads of the serving processes run it, with the version's own "
                "breaker; leave out --instance"
            ),
        ),
        (
            pb.ListBreakersResponse(silent_processes=[0, 1]),
            "which instances there are is not known: process 0, 1 did not answer within a second",
        ),
        (pb.ListBreakersResponse(), "there are no breakers: no process serves it at present"),
    ],
)
def test_an_instance_that_is_not_there_is_told_with_why(breakers, asked_server, listed, says):
    asked_server.listed = listed
    done = breakers("digits", "--instance", "worker 7")
    assert (done.status, done.out.splitlines()[0].endswith(says)) == (0, True), done.out


def test_setting_an_instance_that_is_not_there_says_why_there_is_none(breakers, asked_server):
    asked_server.set_refusal = (
        grpc.StatusCode.NOT_FOUND,
        "model 'digits' has no instance 'worker 7' with a breaker of its own (instances: none)",
    )
    asked_server.listed = pb.ListBreakersResponse(silent_processes=[0])
    refused, why = breakers("digits", "--instance", "worker 7", "--force-open").faults
    assert refused.startswith("NOT_FOUND: model 'digits' has no instance 'worker 7'")
    assert why == "which instances there are is not known: process 0 did not answer within a second"
    asked_server.listed = LISTED
    assert len(breakers("digits", "--instance", "worker 7", "--force-open").faults) == 1, (
        "the gateway names those that there are"
    )


@pytest.mark.parametrize(
    ("option", "mode", "words"),
    [
        ("--force-open", pb.FORCE_OPEN, "forced open"),
        ("--force-close", pb.FORCE_CLOSED, "forced closed"),
        ("--automatic", pb.AUTOMATIC, "automatic"),
    ],
)
def test_setting_says_what_was_set(breakers, asked_server, option, mode, words):
    done = breakers("digits:2", option, "--instance", "worker 1")
    assert (done.status, done.out, done.err) == (
        0,
        f"digits version 2 on worker 1: {words} in every process\n",
        "",
    )
    assert asked_server.asked == [
        pb.SetBreakerRequest(model="digits", version="2", instance="worker 1", mode=mode)
    ]
    assert "authorization" not in asked_server.metadata


def test_the_token_is_read_from_a_file_and_sent(breakers, asked_server, tmp_path):
    (tmp_path / "token").write_text("secret\n")
    assert breakers("digits", "--automatic", "--token-file", tmp_path / "token").status == 0
    assert asked_server.metadata["authorization"] == "Bearer secret"


def test_all_faults_of_the_arguments_are_told_together(gateway, tmp_path):
    (tmp_path / "empty").touch()
    done = gateway(
        "breakers",
        "--force-open",
        "--address",
        "here",
        "--timeout",
        "5",
        "--token-file",
        tmp_path / "empty",
    )
    assert done.status == 2
    assert [fault.partition(":")[0] for fault in done.faults] == [
        "name the MODEL, or MODEL", "--token-file", "--address", "--timeout"
    ]  # fmt: skip
    assert gateway("breakers", "m", "--token-file", "nowhere").faults == [
        "--token-file: nowhere cannot be read: No such file or directory"
    ]
    assert "not allowed with" in gateway("breakers", "m", "--force-open", "--automatic").faults[0]


def test_what_the_gateway_refuses_is_told_with_what_to_do(breakers, asked_server):
    asked_server.refusal = (grpc.StatusCode.NOT_FOUND, "there is no model 'digit'")
    assert breakers("digit").faults == [
        "NOT_FOUND: there is no model 'digit'",
        "the server has digits; did you mean digits?",
    ]
    asked_server.refusal = (grpc.StatusCode.UNAUTHENTICATED, "changing the server takes a token")
    done = breakers("digits", "--force-open")
    assert (done.status, done.faults[1]) == (4, "here that token is given with --token-file FILE")


def test_a_server_that_is_no_gateway_is_told_apart(gateway):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        done = gateway("breakers", "--address", address)
    finally:
        server.stop(0)
    assert (done.status, done.faults[1]) == (
        1,
        f"{address} is a gRPC server, but no gateway that has breakers",
    )


@pytest.mark.parametrize("line", EXAMPLES.splitlines()[1:])
def test_the_examples_of_the_breakers_help_are_taken(gateway, asked_server, line):
    words = shlex.split(line.replace("--address 127.0.0.1:8001", ""))[1:]
    done = gateway(*words, "--address", asked_server.address)
    assert done.status == 0, done.err
