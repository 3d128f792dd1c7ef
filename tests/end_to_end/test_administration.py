"""Which callers may change the server."""

from __future__ import annotations

import socket
from pathlib import Path

import grpc
import pytest

from gateway.protocol.generated import inference_pb2 as pb
from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.support import graphs
from tests.support.callers import factor_of, multiply

TOKEN = "correct-horse-battery-staple"
BEARER = (("authorization", f"Bearer {TOKEN}"),)


def own_address() -> str:
    """An address of this machine that is not loopback; empty where it has none.

    Finding it sends nothing.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return ""
        address = probe.getsockname()[0]
    return "" if address.startswith("127.") else address


def changes(stub: GRPCInferenceServiceStub):
    """Every call that changes the server."""
    setting = pb.LogSettingsRequest()
    setting.settings["log_verbose_level"].uint32_param = 0
    return [
        lambda **with_: stub.RepositoryModelUnload(
            pb.RepositoryModelUnloadRequest(model_name="scale"), timeout=20, **with_
        ),
        lambda **with_: stub.RepositoryModelLoad(
            pb.RepositoryModelLoadRequest(model_name="scale"), timeout=20, **with_
        ),
        lambda **with_: stub.LogSettings(setting, timeout=20, **with_),
    ]


def refused_with(change, **with_) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as refused:
        change(**with_)
    assert TOKEN not in refused.value.details()
    return refused.value.code()


def assert_nothing_changed(stub: GRPCInferenceServiceStub) -> None:
    assert factor_of(stub.ModelInfer(multiply("scale", 1.0), timeout=10), 1.0) == 2.0


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    return file


@pytest.fixture(autouse=True)
def served(models: Path) -> None:
    graphs.scale(models, "scale", factor=2.0)


def test_without_a_token_only_callers_on_this_machine_change_the_server(gateway, connect):
    address = own_address()
    if not address:
        pytest.skip("this machine has no address but loopback")
    with gateway("--processes", "2", "--http-port", "off", "--host", "0.0.0.0") as running:
        local = GRPCInferenceServiceStub(connect(running))
        for change in changes(local):
            assert change() is not None
        running.address = f"{address}:{running.port}"
        distant = GRPCInferenceServiceStub(connect(running))
        assert [refused_with(change) for change in changes(distant)] == [
            grpc.StatusCode.PERMISSION_DENIED
        ] * 3
        assert [refused_with(change, metadata=BEARER) for change in changes(distant)] == [
            grpc.StatusCode.PERMISSION_DENIED
        ] * 3
        assert_nothing_changed(distant)


def test_a_token_makes_up_for_where_the_caller_is(gateway, connect, token_file):
    options = (
        "--processes",
        "2",
        "--http-port",
        "off",
        "--no-trust-loopback",
        "--log-level",
        "debug",
        "--drain-delay",
        "0s",
    )
    with gateway(*options, "--admin-token-file", str(token_file)) as running:
        stub = GRPCInferenceServiceStub(connect(running))
        for metadata in (
            (),
            (("authorization", "Bearer wrong"),),
            (("authorization", f"Basic {TOKEN}"),),
            (("authorization", TOKEN),),
        ):
            assert [refused_with(change, metadata=metadata) for change in changes(stub)] == [
                grpc.StatusCode.UNAUTHENTICATED
            ] * 3
        assert_nothing_changed(stub)
        for change in changes(stub):
            assert change(metadata=BEARER) is not None
        assert_nothing_changed(stub)
        for pid in (running.process.pid, *running.serving_pids()):
            assert (
                TOKEN.encode()
                not in Path(f"/proc/{pid}/cmdline").read_bytes()
                + Path(f"/proc/{pid}/environ").read_bytes()
            )
        assert running.stop() == 0
        assert TOKEN not in running.text()


def test_a_caller_behind_a_proxy_on_this_machine_is_not_local(gateway, connect):
    with gateway("--processes", "1", "--http-port", "off") as running:
        stub = GRPCInferenceServiceStub(connect(running))
        forwarded = (("x-forwarded-for", "203.0.113.9"),)
        assert [refused_with(change, metadata=forwarded) for change in changes(stub)] == [
            grpc.StatusCode.PERMISSION_DENIED
        ] * 3
        assert_nothing_changed(stub)


def test_files_in_a_load_are_refused(gateway, models, connect):
    before = sorted(models.rglob("*"))
    with gateway("--processes", "1", "--http-port", "off") as running:
        stub = GRPCInferenceServiceStub(connect(running))
        load = pb.RepositoryModelLoadRequest(model_name="scale")
        load.parameters["config"].string_param = "{}"
        load.parameters["file:1/model.onnx"].bytes_param = b"whatever"
        assert (
            refused_with(lambda: stub.RepositoryModelLoad(load, timeout=20))
            is grpc.StatusCode.UNIMPLEMENTED
        )
        assert_nothing_changed(stub)
    assert sorted(models.rglob("*")) == before


@pytest.mark.parametrize(
    "content", [None, "", "two words\n"], ids=["missing", "empty", "with a space"]
)
def test_an_unusable_token_file_is_a_clear_error(gateway, tmp_path, content):
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    refused = gateway("--admin-token-file", str(file)).start()

    assert refused.process.wait(20) == 2
    assert "--admin-token-file" in refused.text()
    assert str(file) in refused.text()
    assert "Traceback" not in refused.text()
