"""Which callers may change the server."""

import logging
import socket

import grpc
import pytest

from gateway.core.errors import NotPermitted, Unauthenticated
from gateway.protocol.generated import inference_pb2 as pb
from gateway.serving.wire.security.authorization import (
    Authorization,
    AuthorizationOptions,
    is_loopback,
    read_token,
)
from tests.support.service_parts import PuppetCall, Served

TOKEN = "s3cret-T0ken"
FAR = "ipv4:203.0.113.7:4711"
BEARER = ("authorization", f"Bearer {TOKEN}")


@pytest.mark.parametrize(
    ("peer", "loopback"),
    [
        ("ipv4:127.0.0.1:51230", True),
        ("ipv4:127.8.9.10:1", True),
        ("ipv6:%5B::1%5D:1234", True),
        ("ipv6:[::1]:1234", True),
        ("ipv6:%5B::ffff:127.0.0.1%5D:1234", True),
        ("unix:", True),
        ("unix:/run/gateway.sock", True),
        ("unix-abstract:gateway", True),
        ("ipv4:10.0.0.1:51230", False),
        ("ipv4:128.0.0.1:127", False),
        ("ipv6:%5B2001:db8::1%5D:1234", False),
        ("ipv6:%5Bfe80::1%25eth0%5D:1234", False),
        ("ipv6:%5B::ffff:10.0.0.1%5D:1234", False),
        ("ipv4:127.0.0.1.example.org:1", False),
        ("vsock:2:1", False),
        ("localhost:1", False),
        ("", False),
    ],
)
def test_loopback_is_told_by_the_address(peer, loopback):
    assert is_loopback(peer) is loopback


def test_grpc_itself_names_a_caller_over_ipv6_in_a_form_that_is_understood():
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6 loopback")
    seen = []

    class Peers(grpc.GenericRpcHandler):
        def service(self, details):
            return grpc.unary_unary_rpc_method_handler(
                lambda _, context: seen.append(context.peer()) or b""
            )

    from concurrent.futures import ThreadPoolExecutor

    server = grpc.server(ThreadPoolExecutor(1), handlers=[Peers()])
    port = server.add_insecure_port("[::1]:0")
    server.start()
    with grpc.insecure_channel(f"[::1]:{port}") as channel:
        channel.unary_unary("/any/Any")(b"", timeout=10)
    server.stop(None).wait()
    assert is_loopback(seen[0]), seen


def test_callers_on_the_machine_need_no_token():
    Authorization(AuthorizationOptions()).require(PuppetCall())
    Authorization(AuthorizationOptions(token=TOKEN)).require(
        PuppetCall(metadata=[("authorization", "Basic abc")])
    )


def test_others_may_not_where_there_is_no_token():
    with pytest.raises(
        NotPermitted,
        match=r"only callers on the server's own machine may change it.*--admin-token-file",
    ):
        Authorization(AuthorizationOptions()).require(PuppetCall(FAR, [BEARER]))


@pytest.mark.parametrize(
    "header",
    [
        "x-forwarded-for",
        "forwarded",
        "x-real-ip",
        "via",
        "x-forwarded-client-cert",
        "x-envoy-external-address",
    ],
)
def test_a_caller_that_a_proxy_on_this_machine_speaks_for_is_no_local_caller(header):
    forwarded = (header, "203.0.113.7")
    with pytest.raises(NotPermitted):
        Authorization(AuthorizationOptions()).require(PuppetCall(metadata=[forwarded]))
    Authorization(AuthorizationOptions(token=TOKEN)).require(
        PuppetCall(metadata=[forwarded, BEARER])
    )


def test_loopback_can_be_trusted_no_more_than_others():
    authorization = Authorization(AuthorizationOptions(token=TOKEN, trust_loopback=False))
    with pytest.raises(Unauthenticated):
        authorization.require(PuppetCall())
    authorization.require(PuppetCall(metadata=[BEARER]))


@pytest.mark.parametrize(
    "value",
    [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER   {TOKEN} ", f"Bearer {TOKEN}".encode()],
)
def test_a_bearer_of_the_token_may_from_anywhere(value):
    Authorization(AuthorizationOptions(token=TOKEN)).require(
        PuppetCall(FAR, [("user-agent", "x"), ("authorization", value)])
    )


@pytest.mark.parametrize(
    ("metadata", "beginning"),
    [
        ([], "changing the server takes a token"),
        ([("authorization", f"Basic {TOKEN}")], "changing the server takes a token"),
        ([("authorization", TOKEN)], "changing the server takes a token"),
        ([("x-authorization", f"Bearer {TOKEN}")], "changing the server takes a token"),
        ([("authorization", "Bearer ")], "changing the server takes a token"),
        (
            [("authorization", "Bearer wrong")],
            "the token in the metadata 'authorization' is not the server's",
        ),
        (
            [("authorization", f"Bearer {TOKEN}x")],
            "the token in the metadata 'authorization' is not the server's",
        ),
        (
            [("authorization", f"Bearer {TOKEN[:-1]}")],
            "the token in the metadata 'authorization' is not the server's",
        ),
        (
            [("authorization", "Bearer \u00e9")],
            "the token in the metadata 'authorization' is not the server's",
        ),
    ],
)
def test_whoever_has_no_or_another_token_is_told_what_to_send(metadata, beginning):
    with pytest.raises(Unauthenticated) as caught:
        Authorization(AuthorizationOptions(token=TOKEN)).require(PuppetCall(FAR, metadata))
    assert str(caught.value).startswith(beginning)
    assert "authorization: Bearer TOKEN" in str(caught.value)


def test_the_token_is_in_no_text():
    options = AuthorizationOptions(token=TOKEN)
    assert TOKEN not in repr(options) + repr(Authorization(options))
    assert (
        repr(Authorization(options))
        == "<Authorization of loopback callers and bearers of the token>"
    )
    assert (
        repr(Authorization(AuthorizationOptions(trust_loopback=False)))
        == "<Authorization of nobody>"
    )


def test_the_token_of_a_file_is_its_content_without_the_white_space_around(tmp_path):
    file = tmp_path / "token"
    file.write_text(f"\n  {TOKEN} \r\n")
    assert read_token(file) == TOKEN


@pytest.mark.parametrize("content", ["", " \n", "two tokens", "a\nb", "t\u00f6ken", "a\x00b"])
def test_a_file_without_one_token_is_refused(tmp_path, content):
    file = tmp_path / "token"
    file.write_text(content)
    with pytest.raises(ValueError, match="must hold one token"):
        read_token(file)


def test_over_the_wire_a_missing_token_is_unauthenticated_and_nothing_of_it_is_logged(
    caplog, refused
):
    load = pb.RepositoryModelLoadRequest(model_name="m")
    with (
        caplog.at_level(logging.DEBUG),
        Served(AuthorizationOptions(token=TOKEN, trust_loopback=False)) as served,
    ):
        assert refused(served.stub.RepositoryModelLoad, load)[0] is grpc.StatusCode.UNAUTHENTICATED
        wrong = [("authorization", "Bearer sesame")]
        assert (
            refused(served.stub.RepositoryModelLoad, load, metadata=wrong)[0]
            is grpc.StatusCode.UNAUTHENTICATED
        )
        assert served.control.asked == []
        served.stub.RepositoryModelLoad(load, metadata=[BEARER], timeout=10)
        assert served.control.asked == [("load", "m", {})]
    assert "asks to load 'm'" in caplog.text
    assert TOKEN not in caplog.text
    assert "sesame" not in caplog.text
