"""TLS, from the files named on the command line to the client's check of them."""

from __future__ import annotations

import grpc
import pytest
import trustme

from gateway.protocol.generated import inference_pb2 as pb
from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.support import graphs
from tests.support.callers import factor_of, multiply


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def stranger() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(tmp_path, authority):
    """Options for the server's certificate and key."""
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "server.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "server.key")
    return ("--tls-cert", str(tmp_path / "server.pem"), "--tls-key", str(tmp_path / "server.key"))


@pytest.fixture
def serve(gateway, models, files, authority):
    """A gateway that has opened its port for TLS."""
    graphs.scale(models, "scale", factor=2.0)

    def start(*options: str):
        running = gateway("--processes", "2", "--http-port", "off", *files, *options).start()
        running.wait_text("(gateway is serving)")
        return running

    return start


def ask(running, authority: trustme.CA, client: trustme.LeafCert | None = None) -> float:
    """Makes a call with these roots, and with a client's certificate where there is one."""
    key, chain = (
        (client.private_key_pem.bytes(), client.cert_chain_pems[0].bytes())
        if client
        else (None, None)
    )
    credentials = grpc.ssl_channel_credentials(authority.cert_pem.bytes(), key, chain)
    with grpc.secure_channel(
        running.address, credentials, options=[("grpc.use_local_subchannel_pool", 1)]
    ) as channel:
        stub = GRPCInferenceServiceStub(channel)
        assert stub.ServerReady(pb.ServerReadyRequest(), timeout=10).ready
        return factor_of(stub.ModelInfer(multiply("scale", 1.0), timeout=10), 1.0)


def code_of(call) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as refused:
        call()
    return refused.value.code()


def test_clients_that_trust_the_certificate_are_served_and_nobody_in_plain_text(
    serve, authority, stranger
):
    running = serve()
    assert "(TLS)" in running.text()
    for _ in range(4):  # whichever process it meets
        assert ask(running, authority) == 2.0
    assert code_of(lambda: ask(running, stranger)) is grpc.StatusCode.UNAVAILABLE
    with running.channel() as plain:
        assert (
            code_of(
                lambda: GRPCInferenceServiceStub(plain).ServerLive(
                    pb.ServerLiveRequest(), timeout=5
                )
            )
            is grpc.StatusCode.UNAVAILABLE
        )
    assert ask(running, authority) == 2.0


def test_with_a_client_ca_only_clients_with_its_certificates_are_served(
    serve, tmp_path, authority, stranger
):
    authority.cert_pem.write_to_path(tmp_path / "clients.pem")
    running = serve("--tls-client-ca", str(tmp_path / "clients.pem"))
    for _ in range(4):
        assert ask(running, authority, authority.issue_cert("client.example")) == 2.0
    assert code_of(lambda: ask(running, authority)) is grpc.StatusCode.UNAVAILABLE
    assert (
        code_of(lambda: ask(running, authority, stranger.issue_cert("client.example")))
        is grpc.StatusCode.UNAVAILABLE
    )
    assert ask(running, authority, authority.issue_cert("client.example")) == 2.0


@pytest.mark.parametrize(
    "fault", ["no key", "a key of another certificate", "no certificate in the file"]
)
def test_unusable_files_end_the_start_with_a_clear_error(
    gateway, models, tmp_path, files, authority, fault
):
    graphs.scale(models, "scale")
    options = list(files)
    if fault == "no key":
        options = options[:2]
    elif fault == "a key of another certificate":
        authority.issue_cert("elsewhere.example").private_key_pem.write_to_path(
            tmp_path / "server.key"
        )
    else:
        (tmp_path / "server.pem").write_text("hello\n")

    refused = gateway("--processes", "2", "--http-port", "off", *options).start()

    assert refused.process.wait(30) != 0
    assert "--tls-cert" in refused.text()
    assert "Traceback" not in refused.text()
    assert "another takes its place" not in refused.text()
