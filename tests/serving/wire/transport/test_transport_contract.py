"""What each transport does with calls of one message each way."""

import json
import time

import grpc
import pytest

from gateway.core import errors
from tests.support.contract_client import unary
from tests.support.raw_client import RawClient, framed, parsed

TABLE = {
    errors.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    errors.ModelNotFound: grpc.StatusCode.NOT_FOUND,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.NotPermitted: grpc.StatusCode.PERMISSION_DENIED,
    errors.Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.QuotaExceeded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.DeadlineExpired: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.Unsupported: grpc.StatusCode.UNIMPLEMENTED,
    errors.ModelFailed: grpc.StatusCode.INTERNAL,
}


def failing(call, *arguments, **options):
    """The error this call ends with."""
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, timeout=10, **options)
    return caught.value


def fail(channel, kind, text="", **described):
    return failing(
        unary(channel, "Fail"), json.dumps({"kind": kind, "text": text, **described}).encode()
    )


@pytest.mark.parametrize("method", ["Hot", "Echo"])
@pytest.mark.parametrize(
    "message", [b"", b"x", bytes(range(256)) * (20 << 12)], ids=["empty", "short", "20 MiB"]
)
def test_an_answer_is_what_the_method_returned(channel, method, message):
    assert unary(channel, method)(message, timeout=30) == message


@pytest.mark.parametrize("method", ["Hot", "Echo"])
def test_each_of_a_thousand_calls_at_once_gets_its_own_answer(channel, method):
    messages = [b"%d" % number for number in range(1000)]
    calls = [unary(channel, method).future(message, timeout=30) for message in messages]
    assert [call.result() for call in calls] == messages


def test_the_method_sees_the_callers_metadata(channel):
    sent = (("name", "value"), ("name", "another"), ("octets-bin", b"\x00\xff\n"))
    described = json.loads(unary(channel, "Describe")(b"", metadata=sent, timeout=10))
    assert {("name", "value"), ("name", "another"), ("octets-bin", "00ff0a")} <= {
        tuple(pair) for pair in described["metadata"]
    }


def test_the_method_sees_who_calls(channel):
    assert json.loads(unary(channel, "Describe")(b"", timeout=10))["peer"].startswith(
        "ipv4:127.0.0.1:"
    )


def test_the_method_sees_the_deadline(channel):
    assert json.loads(unary(channel, "Describe")(b"", timeout=5))["remaining_s"] == pytest.approx(
        5, abs=0.25
    )


def test_a_call_without_a_deadline_has_none(channel):
    assert json.loads(unary(channel, "Describe")(b""))["remaining_s"] is None


@pytest.mark.parametrize("error", TABLE, ids=lambda error: error.__name__)
def test_an_error_of_the_gateway_has_its_status_and_its_text(channel, error):
    ended = fail(channel, error.__name__, "what was wrong")
    assert (ended.code(), ended.details()) == (TABLE[error], "what was wrong")


def test_the_table_of_statuses_knows_every_error():
    assert {error("").status for error in TABLE} == {code.value[0] for code in TABLE.values()}


@pytest.mark.parametrize("text", ["", "naïve 漢字 🙂", "100 % sure\nand\tmore\r\n", "\x00\x7f"])
def test_any_text_arrives_as_it_was(channel, text):
    assert fail(channel, "InvalidRequest", text).details() == text


@pytest.mark.parametrize("letter", ["x", "漢", "%"])
def test_a_text_that_is_too_long_for_a_status_arrives_as_its_beginning(channel, letter):
    ended = fail(channel, "InvalidRequest", letter * 100_000)
    assert ended.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert set(ended.details().removesuffix(" ...")) == {letter}
    assert len(ended.details()) > 400


def test_a_text_that_is_not_unicode_does_not_keep_the_status_back(channel):
    ended = fail(channel, "ModelNotFound", "no \udc80")
    assert (ended.code(), ended.details()) == (grpc.StatusCode.NOT_FOUND, "no ?")


def test_a_call_may_be_ended_with_any_status_and_with_trailing_metadata(channel):
    ended = fail(
        channel, "CallEnded", "told", code=9, trailers=[["why", "because"], ["octets-bin", "00ff"]]
    )
    assert (ended.code(), ended.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "told")
    assert dict(ended.trailing_metadata()) == {"why": "because", "octets-bin": b"\x00\xff"}


def test_an_unexpected_exception_tells_its_class_only_and_is_logged_once(server, channel):
    ended = fail(channel, "SomethingOfOurs", "a secret")
    assert (ended.code(), ended.details()) == (
        grpc.StatusCode.INTERNAL,
        "internal error: ValueError",
    )
    (logged,) = server.state()["log"]
    assert "This is a bug" in logged
    assert "ValueError: a secret" in logged
    server.expected_log = 1
    assert unary(channel, "Echo")(b"still there", timeout=10) == b"still there"


def test_an_answer_that_is_not_bytes_is_an_internal_error(server, channel):
    ended = failing(unary(channel, "Wrong"), b"")
    assert (ended.code(), ended.details()) == (
        grpc.StatusCode.INTERNAL,
        "internal error: TypeError",
    )
    server.expected_log = 1


def test_a_method_that_cancels_itself_ends_cancelled(channel):
    ended = fail(channel, "Cancelled")
    assert (ended.code(), ended.details()) == (grpc.StatusCode.CANCELLED, "the call was cancelled")


def test_an_unknown_method_is_unimplemented_and_named(channel):
    ended = failing(channel.unary_unary("/test.Contract/Nothing"), b"message")
    assert (ended.code(), ended.details()) == (
        grpc.StatusCode.UNIMPLEMENTED,
        "Method not found: /test.Contract/Nothing",
    )


def test_a_stream_of_an_unknown_method_is_told_before_it_sends(server):
    with RawClient(server) as client:
        assert client.ended(client.begin("/no.Service/Nothing"))["grpc-status"] == "12"


@pytest.mark.parametrize("method", ["Hot", "Echo"])
def test_a_call_that_ends_without_a_message_is_unimplemented(channel, method):
    ended = failing(channel.stream_unary(f"/test.Contract/{method}"), iter(()))
    assert ended.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "exactly one message" in ended.details()


LIMIT = 1 << 20


@pytest.fixture
def limited(start_server, connect):
    server = start_server(max_message_bytes=LIMIT)
    yield connect(server)
    assert server.is_idle()
    assert server.state()["log"] == []


@pytest.mark.parametrize("method", ["Hot", "Echo"])
def test_messages_up_to_the_limit_pass_and_longer_ones_are_refused_naming_it(limited, method):
    assert unary(limited, method)(bytes(LIMIT), timeout=10) == bytes(LIMIT)
    ended = failing(unary(limited, method), bytes(LIMIT + 1))
    assert ended.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert str(LIMIT) in ended.details()
    assert unary(limited, method)(b"still there", timeout=10) == b"still there"


def test_an_answer_over_the_limit_is_refused_naming_it(limited):
    assert len(unary(limited, "Sized")(b"%d" % LIMIT, timeout=10)) == LIMIT
    ended = failing(unary(limited, "Sized"), b"%d" % (LIMIT + 1))
    assert ended.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert str(LIMIT) in ended.details()


def test_a_message_that_is_over_the_limit_once_unpacked_is_refused(limited):
    ended = failing(unary(limited, "Echo"), bytes(100 * LIMIT), compression=grpc.Compression.Gzip)
    assert ended.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_requests_are_accepted(channel, compression):
    message = b"much alike " * 10_000
    assert unary(channel, "Echo")(message, compression=compression, timeout=10) == message


@pytest.mark.parametrize(("configured", "flag"), [("gzip", 1), ("none", 0)])
def test_answers_are_compressed_where_that_is_configured_and_the_caller_accepts_it(
    start_server, configured, flag
):
    server = start_server(response_compression=configured)
    with RawClient(server) as client:
        for accepted, expected in (("gzip", flag), ("identity", 0)):
            stream = client.begin("/test.Contract/Echo", ("grpc-accept-encoding", accepted))
            client.send(stream, framed(b"much alike " * 1000))
            assert client.ended(stream)["grpc-status"] == "0"
            ((compressed, message),) = parsed(client.bodies[stream])
            assert compressed == expected
            assert (len(message) < 1000) == bool(expected)


def test_callers_wait_on_their_own_side_for_more_calls_than_a_connection_may_have(
    start_server, connect
):
    server = start_server(max_concurrent_calls=8)
    channel = connect(server)
    calls = [unary(channel, "Slow").future(b"0.2", timeout=30) for _ in range(24)]
    server.wait_for("started", 8)
    assert server.seen("started") == 8
    began = time.monotonic()
    assert [call.result() for call in calls] == [b"0.2"] * 24
    assert time.monotonic() - began > 0.3


@pytest.mark.parametrize("method", ["Hot", "Echo"])
def test_callers_that_keep_to_the_limit_of_calls_are_never_refused(start_server, connect, method):
    channel = connect(start_server(max_concurrent_calls=8))
    calls = [unary(channel, method).future(b"x", timeout=30) for _ in range(1500)]
    assert [call.exception() for call in calls] == [None] * 1500
