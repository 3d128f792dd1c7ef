"""ModelMetadata, ModelConfig and ModelStatistics."""

import grpc
import pytest

from gateway.protocol.generated import inference_pb2 as pb
from gateway.protocol.generated import model_config_pb2
from tests.support.service_parts import plan, two_versions, without_row


def metadata(served, model, version=""):
    return served.stub.ModelMetadata(
        pb.ModelMetadataRequest(name=model, version=version), timeout=10
    )


def statistics(served, model="", version=""):
    response = served.stub.ModelStatistics(
        pb.ModelStatisticsRequest(name=model, version=version), timeout=10
    )
    return {(each.name, each.version): each for each in response.model_stats}


def count(served, row, process=0, *, requests=3, rows=6):
    writer = served.table.writer(process, row)
    writer.record_batch(
        requests,
        rows,
        queue_ns=30,
        compute_input_ns=40,
        compute_infer_ns=50,
        compute_output_ns=60,
        now_ms=1_700_000_000_000 + process,
    )
    for _ in range(requests):
        writer.record_request(elapsed_s=350e-9, queue_s=10e-9)


def test_metadata_has_the_batch_axis_where_there_is_one(served):
    served.start_up(*two_versions())
    batched = metadata(served, "m")
    single = metadata(served, "single")
    assert [(each.name, each.datatype, list(each.shape)) for each in batched.inputs] == [
        ("x", "FP32", [-1, 4]),
        ("bias", "FP32", [-1, 4]),
    ]
    assert [(each.name, each.datatype, list(each.shape)) for each in batched.outputs] == [
        ("y", "FP32", [-1, 4])
    ]
    assert [list(each.shape) for each in (*single.inputs, *single.outputs)] == [[4], [4], [4]]
    assert (batched.name, batched.platform, single.name) == ("m", "onnxruntime_onnx", "single")


def test_metadata_names_all_live_versions_or_the_one_asked_for(served):
    served.start_up(*two_versions(), plan("m", 10))
    assert list(metadata(served, "m").versions) == ["1", "2", "10"]
    assert list(metadata(served, "m", "2").versions) == ["2"]


def test_the_configuration_is_that_of_the_plan(served):
    served.start_up(*two_versions())
    config = served.stub.ModelConfig(pb.ModelConfigRequest(name="m", version="1")).config
    assert config == model_config_pb2.ModelConfig.FromString(plan("m", 1).model_config)
    assert {each.name for each in config.input} <= {
        each.name for each in metadata(served, "m").inputs
    }


@pytest.mark.parametrize("method", ["ModelMetadata", "ModelConfig"])
@pytest.mark.parametrize(
    ("model", "version", "code", "text"),
    [
        (
            "nobody",
            "",
            grpc.StatusCode.NOT_FOUND,
            "Request for unknown model: 'nobody' is not found",
        ),
        (
            "m",
            "9",
            grpc.StatusCode.NOT_FOUND,
            "Request for unknown model: 'm' version 9 is not found (live versions: 2, 1)",
        ),
        (
            "slow",
            "",
            grpc.StatusCode.UNAVAILABLE,
            "Request for unknown model: 'slow' is not at ready state: it is LOADING",
        ),
    ],
)
def test_unknown_models_are_refused_in_the_protocols_words(
    served, refused, method, model, version, code, text
):
    served.start_up(*two_versions())
    served.do(served.catalogue.explain, {("slow", 1): "it is LOADING"})
    assert refused(
        getattr(served.stub, method), getattr(pb, f"{method}Request")(name=model, version=version)
    ) == (code, text)


def test_statistics_are_the_sums_over_all_processes(served):
    served.start_up(*two_versions())
    count(served, row=0, process=0, requests=3, rows=6)
    count(served, row=0, process=1, requests=1, rows=2)
    served.table.writer(1, 0).record_failures(2, 900)
    counts = statistics(served, "m", "1")["m", "1"]
    spent = counts.inference_stats
    assert (counts.inference_count, counts.execution_count, counts.last_inference) == (
        8,
        2,
        1_700_000_000_001,
    )
    assert (spent.success.count, spent.success.ns) == (4, 1400)
    assert (spent.queue.count, spent.queue.ns) == (4, 60)
    assert (spent.fail.count, spent.fail.ns) == (2, 900)
    assert [
        (each.count, each.ns)
        for each in (spent.compute_input, spent.compute_infer, spent.compute_output)
    ] == [(4, 160), (4, 200), (4, 240)]
    assert (spent.cache_hit.count, spent.cache_miss.count) == (0, 0)
    sizes = [
        (each.batch_size, each.compute_input, each.compute_infer, each.compute_output)
        for each in counts.batch_stats
    ]
    assert [(size, i.count, i.ns, r.count, r.ns, o.count, o.ns) for size, i, r, o in sizes] == [
        (2, 1, 40, 1, 50, 1, 60),
        (6, 1, 40, 1, 50, 1, 60),
    ]


def test_the_count_of_the_queue_grows(served):
    served.start_up(*two_versions())
    seen = []
    for _ in range(3):
        count(served, row=0)
        seen.append(statistics(served, "m", "1")["m", "1"].inference_stats.queue.count)
    assert seen == [3, 6, 9]


def test_an_empty_name_asks_for_all_models_and_an_empty_version_for_all_versions(served):
    served.start_up(*two_versions())
    everything = {("m", "1"), ("m", "2"), ("single", "7")}
    assert statistics(served).keys() == everything
    assert statistics(served, version="2").keys() == everything
    assert statistics(served, "m").keys() == {("m", "1"), ("m", "2")}
    assert statistics(served, "m", "2").keys() == {("m", "2")}


def test_a_version_that_has_no_row_yet_has_done_nothing(served):
    served.start_up(without_row(plan()))
    counts = statistics(served, "m", "1")["m", "1"]
    assert (counts.inference_count, counts.inference_stats.success.count) == (0, 0)
    assert counts.HasField("inference_stats")


def test_statistics_of_many_models_are_all_there(served):
    served.start_up(*(plan(f"m{number}", row=number) for number in range(100)))
    count(served, row=99)
    everything = statistics(served)
    assert len(everything) == 100
    assert everything["m99", "1"].inference_count == 6


@pytest.mark.parametrize(
    ("model", "version", "text"),
    [
        ("nobody", "", "requested model 'nobody' is not available"),
        ("nobody", "1", "requested model 'nobody' is not available"),
        ("slow", "1", "requested model 'slow' is not available"),
        ("m", "3", "requested model version is not available for model 'm'"),
        (
            "m",
            "x",
            (
                "failed to get model version from specified version string 'x' for 'm', version "
                "should be an integral value > 0"
            ),
        ),
    ],
)
def test_statistics_of_what_is_not_live_are_refused_in_tritons_words(
    served, refused, model, version, text
):
    served.start_up(*two_versions())
    served.do(served.catalogue.explain, {("slow", 1): "it is LOADING"})
    refusal = refused(
        served.stub.ModelStatistics, pb.ModelStatisticsRequest(name=model, version=version)
    )
    assert refusal == (grpc.StatusCode.INVALID_ARGUMENT, text)
