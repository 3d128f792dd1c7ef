"""ListModels and ReloadModels."""

import grpc

from gateway.core.errors import ModelFailed
from gateway.ipc.repository_index import IndexEntry, VersionReport, VersionState
from gateway.protocol.generated import gateway_control_pb2 as pb

ELSEWHERE = [("x-forwarded-for", "203.0.113.7")]
REPORTS = (
    VersionReport(IndexEntry("m", "1", VersionState.READY), 12.5, "abc", 2),
    VersionReport(IndexEntry("never")),
    VersionReport(IndexEntry("bad", "3", VersionState.UNAVAILABLE, "no such operator"), 3.0),
)


def test_versions_are_listed_as_the_control_process_knows_them(served):
    served.control.answer = REPORTS
    listed = served.control_stub.ListModels(pb.ListModelsRequest(), timeout=10)
    assert listed.versions == [
        pb.ModelVersion(
            model="m", version="1", state="READY", since=12.5, digest="abc", processes=2
        ),
        pb.ModelVersion(model="never"),
        pb.ModelVersion(
            model="bad", version="3", state="UNAVAILABLE", since=3.0, reason="no such operator"
        ),
    ]
    assert served.control.asked == [("models", "", {})]


def test_one_model_is_listed_by_its_name_and_one_that_is_not_there_comes_with_those_that_are(
    served, refused
):
    served.control.answer = REPORTS
    listed = served.control_stub.ListModels(pb.ListModelsRequest(model="bad"), timeout=10)
    assert [each.version for each in listed.versions] == ["3"]
    assert refused(served.control_stub.ListModels, pb.ListModelsRequest(model="n")) == (
        grpc.StatusCode.NOT_FOUND,
        "there is no model 'n' (models: m, never, bad)",
    )


def test_a_reload_answers_with_what_has_changed(served):
    served.control.answer = REPORTS[2:]
    reloaded = served.control_stub.ReloadModels(pb.ReloadModelsRequest(), timeout=10)
    assert [each.reason for each in reloaded.changed] == ["no such operator"]
    assert served.control.asked == [("reload", "", {})]


def test_a_repository_that_cannot_be_read_is_told(served, refused):
    served.control.answer = ModelFailed("failed to reload, it is gone")
    assert refused(served.control_stub.ReloadModels, pb.ReloadModelsRequest()) == (
        grpc.StatusCode.INTERNAL,
        "failed to reload, it is gone",
    )


def test_listing_is_open_while_a_reload_is_not(served, refused):
    served.control.answer = REPORTS
    assert served.control_stub.ListModels(
        pb.ListModelsRequest(), metadata=ELSEWHERE, timeout=10
    ).versions
    served.control.asked.clear()
    code, _ = refused(
        served.control_stub.ReloadModels, pb.ReloadModelsRequest(), metadata=ELSEWHERE
    )
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert served.control.asked == []
