"""RepositoryIndex, RepositoryModelLoad and RepositoryModelUnload."""

import grpc
import pytest

from gateway.core.errors import InvalidRequest, ModelFailed, Unavailable
from gateway.ipc.repository_index import IndexEntry, VersionState
from gateway.protocol.generated import inference_pb2 as pb
from tests.support.service_parts import two_versions

INDEX = (
    IndexEntry("m", "1", VersionState.READY),
    IndexEntry("m", "2", VersionState.LOADING, "being inspected"),
    IndexEntry("broken", "1", VersionState.UNAVAILABLE, "no such operator"),
    IndexEntry("never"),
)


def index(served, **request):
    response = served.stub.RepositoryIndex(pb.RepositoryIndexRequest(**request), timeout=10)
    return [(each.name, each.version, each.state, each.reason) for each in response.models]


def load(served, **request):
    return served.stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(**request), timeout=10)


def unload(served, **request):
    return served.stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(**request), timeout=10)


def text(value):
    return pb.ModelRepositoryParameter(string_param=value)


def test_the_index_is_what_was_published_last(served):
    served.publish(*INDEX)
    assert index(served) == [
        ("m", "1", "READY", ""), ("m", "2", "LOADING", "being inspected"),
        ("broken", "1", "UNAVAILABLE", "no such operator"), ("never", "", "", "")
    ]  # fmt: skip
    served.publish(INDEX[0])
    assert index(served) == [("m", "1", "READY", "")]


def test_the_index_of_what_is_ready_leaves_the_rest_out(served):
    served.publish(*INDEX)
    assert index(served, ready=True) == [("m", "1", "READY", "")]


def test_before_the_first_publication_the_index_is_unavailable(served, refused):
    code, text = refused(served.stub.RepositoryIndex, pb.RepositoryIndexRequest())
    assert code is grpc.StatusCode.UNAVAILABLE
    assert text == "the server is starting and does not know its models yet: ask again in a moment"


def test_repositories_have_no_names(served, refused):
    served.publish()
    request = pb.RepositoryIndexRequest(repository_name="models")
    code, text = refused(served.stub.RepositoryIndex, request)
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert text.startswith("'repository_name' specification is not supported")


def test_a_load_asks_the_control_side_and_answers_with_both_families_fields(served):
    answer = load(served, model_name="m")
    assert served.control.asked == [("load", "m", {})]
    assert answer == pb.RepositoryModelLoadResponse(model_name="m", isLoaded=True)


def test_an_unload_asks_the_control_side_and_answers_with_both_families_fields(served):
    answer = unload(
        served,
        model_name="m",
        parameters={"unload_dependents": pb.ModelRepositoryParameter(bool_param=True)},
    )
    assert served.control.asked == [("unload", "m", {"unload_dependents": True})]
    assert answer == pb.RepositoryModelUnloadResponse(model_name="m", isUnloaded=True)


def test_kserves_client_puts_the_models_name_into_field_one(served):
    class KserveRequest:
        def SerializeToString(self):  # noqa: N802  # what a stub calls
            return b"\x0a\x05fraud"

    for verb, asked in (("Load", "load"), ("Unload", "unload")):
        send = served.channel.unary_unary(
            f"/inference.GRPCInferenceService/RepositoryModel{verb}",
            request_serializer=KserveRequest.SerializeToString,
        )
        # model_name = 1, isLoaded or isUnloaded = 2
        assert send(KserveRequest(), timeout=10) == b"\x0a\x05fraud\x10\x01"
        assert served.control.asked.pop() == (asked, "fraud", {})


def test_a_configuration_for_the_load_is_passed_on_as_text(served):
    load(served, model_name="m", parameters={"config": text('{"max_batch_size": 4}')})
    assert served.control.asked == [("load", "m", {"config": '{"max_batch_size": 4}'})]


@pytest.mark.parametrize(
    ("request_fields", "code", "beginning"),
    [
        ({}, "INVALID_ARGUMENT", "'model_name' is empty"),
        (
            {"repository_name": "r", "model_name": "m"},
            "UNIMPLEMENTED",
            "'repository_name' specification is not supported",
        ),
        (
            {
                "model_name": "m",
                "parameters": {
                    "file:1/model.onnx": pb.ModelRepositoryParameter(bytes_param=b"onnx")
                },
            },
            "UNIMPLEMENTED",
            "load parameter 'file:1/model.onnx' is refused: models come from the repository only",
        ),
        (
            {
                "model_name": "m",
                "parameters": {"config": pb.ModelRepositoryParameter(bytes_param=b"{}")},
            },
            "INVALID_ARGUMENT",
            "invalid value type for load parameter 'config', expected string_param.",
        ),
        (
            {"model_name": "m", "parameters": {"Config": text("{}")}},
            "INVALID_ARGUMENT",
            "unrecognized load parameter 'Config'. There is 'config'.",
        ),
    ],
)
def test_loads_that_are_refused_are_not_asked(served, refused, request_fields, code, beginning):
    got = refused(served.stub.RepositoryModelLoad, pb.RepositoryModelLoadRequest(**request_fields))
    assert (got[0].name, got[1][: len(beginning)]) == (code, beginning)
    assert served.control.asked == []


@pytest.mark.parametrize(
    ("parameters", "beginning"),
    [
        (
            {"unload_dependents": text("yes")},
            "invalid value type for 'unload_dependents' parameter, expected bool_param.",
        ),
        (
            {"force": pb.ModelRepositoryParameter(bool_param=True)},
            "unrecognized unload parameter 'force'. There is 'unload_dependents'.",
        ),
    ],
)
def test_unloads_that_are_refused_are_not_asked(served, refused, parameters, beginning):
    request = pb.RepositoryModelUnloadRequest(model_name="m", parameters=parameters)
    assert refused(served.stub.RepositoryModelUnload, request) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        beginning,
    )
    assert served.control.asked == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ModelFailed("failed to load 'm': no such operator"), grpc.StatusCode.INTERNAL),
        (InvalidRequest("failed to load 'm', no such file"), grpc.StatusCode.INVALID_ARGUMENT),
        (Unavailable("the server is stopping"), grpc.StatusCode.UNAVAILABLE),
    ],
)
def test_what_the_control_side_refuses_the_caller_is_told(served, refused, error, code):
    served.control.answer = error
    assert refused(
        served.stub.RepositoryModelLoad, pb.RepositoryModelLoadRequest(model_name="m")
    ) == (code, str(error))


def test_index_and_metadata_are_open_while_changes_are_not(served, refused):
    served.start_up(*two_versions())
    elsewhere = [("x-forwarded-for", "203.0.113.7")]
    assert served.stub.RepositoryIndex(
        pb.RepositoryIndexRequest(), metadata=elsewhere, timeout=10
    ).models
    for verb in ("Load", "Unload"):
        method = getattr(served.stub, f"RepositoryModel{verb}")
        request = getattr(pb, f"RepositoryModel{verb}Request")(model_name="m")
        assert refused(method, request, metadata=elsewhere)[0] is grpc.StatusCode.PERMISSION_DENIED
    assert served.control.asked == []
