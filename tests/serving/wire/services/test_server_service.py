"""ServerLive, ServerReady, ServerMetadata and ModelReady."""

import grpc
import pytest

from gateway.ipc.repository_index import IndexEntry, VersionState
from gateway.protocol.generated import inference_pb2 as pb
from tests.support.service_parts import two_versions


def is_ready(served, model, version=""):
    return served.stub.ModelReady(
        pb.ModelReadyRequest(name=model, version=version), timeout=10
    ).ready


def test_a_server_is_live_before_it_is_ready(served):
    assert served.stub.ServerLive(pb.ServerLiveRequest()).live
    assert not served.stub.ServerReady(pb.ServerReadyRequest()).ready


def test_a_server_is_ready_when_the_control_side_says_so(served):
    served.publish(ready=False)
    assert not served.stub.ServerReady(pb.ServerReadyRequest()).ready
    served.publish(ready=True)
    assert served.stub.ServerReady(pb.ServerReadyRequest()).ready


def test_a_draining_server_is_live_but_neither_it_nor_its_models_are_ready(served):
    served.start_up(*two_versions())
    served.do(served.state.drain)
    assert served.stub.ServerLive(pb.ServerLiveRequest()).live
    assert not served.stub.ServerReady(pb.ServerReadyRequest()).ready
    assert not is_ready(served, "m")
    served.publish(ready=True)
    assert not served.stub.ServerReady(pb.ServerReadyRequest()).ready


def test_a_model_is_ready_while_it_is_live_even_if_the_server_waits_for_others(served):
    served.make_live(*two_versions())
    served.publish(
        IndexEntry("broken", "1", VersionState.UNAVAILABLE, "no such operator"), ready=False
    )
    asked = [
        ("m", ""),
        ("m", "1"),
        ("m", "2"),
        ("m", "002"),
        ("single", ""),
        ("m", "3"),
        ("single", "1"),
        ("broken", ""),
        ("nobody", ""),
        ("", ""),
    ]
    assert [is_ready(served, *each) for each in asked] == [True] * 5 + [False] * 5
    served.make_live(retire=[("m", 2)])
    assert (is_ready(served, "m"), is_ready(served, "m", "2")) == (True, False)


@pytest.mark.parametrize("version", ["latest", "-1", "1.0", "99999999999999999999"])
def test_a_version_that_is_no_number_is_invalid(served, refused, version):
    served.start_up(*two_versions())
    code, text = refused(served.stub.ModelReady, pb.ModelReadyRequest(name="m", version=version))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text.endswith("version should be an integral value > 0")


def test_metadata_names_the_server_and_the_extensions_that_are_there(served):
    metadata = served.stub.ServerMetadata(pb.ServerMetadataRequest())
    assert (metadata.name, metadata.version) == ("onnx-gateway", "1.2.3")
    always = {
        "classification", "model_repository", "schedule_policy", "model_configuration",
        "binary_tensor_data", "parameters", "statistics"
    }  # fmt: skip
    assert set(metadata.extensions) == always
    served.publish()
    assert set(served.stub.ServerMetadata(pb.ServerMetadataRequest()).extensions) == always | {
        "trace",
        "logging",
    }
    served.publish(trace={})
    assert set(served.stub.ServerMetadata(pb.ServerMetadataRequest()).extensions) == always | {
        "logging"
    }
