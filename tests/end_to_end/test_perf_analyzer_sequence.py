"""The calls of perf_analyzer (`-i grpc --service-kind triton`), as version 2.60 sends them.

The tests draw the same conclusions from the answers. Where a perf_analyzer is installed it is run
as well.
"""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from google.protobuf import json_format

from gateway.protocol.generated import inference_pb2 as pb
from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.support.checkout import ROOT
from tests.support.running import RunningGateway

DURATIONS = (
    "success",
    "queue",
    "compute_input",
    "compute_infer",
    "compute_output",
    "cache_hit",
    "cache_miss",
)


@pytest.fixture(scope="module")
def served(tmp_path_factory, cache) -> Iterator[RunningGateway]:
    """A gateway that serves the shipped models in two processes."""
    with RunningGateway(
        ROOT / "models",
        tmp_path_factory.mktemp("perf") / "gateway.log",
        "--processes",
        "2",
        "--drain-delay",
        "0s",
        cache=cache,
    ) as gateway:
        yield gateway


@pytest.fixture
def stub(served) -> Iterator[GRPCInferenceServiceStub]:
    with served.channel() as channel:
        yield GRPCInferenceServiceStub(channel)


class Analyzer:
    """The calls, in perf_analyzer's order.

    `__init__` asks for what it must know, `profile` measures windows.
    """

    def __init__(self, stub: GRPCInferenceServiceStub, model: str, batch: int = 1) -> None:
        self._stub = stub
        self.model = model
        self._batch = batch
        self._ids = itertools.count()
        self.metadata = stub.ModelMetadata(pb.ModelMetadataRequest(name=model), timeout=10)
        config = stub.ModelConfig(pb.ModelConfigRequest(name=model), timeout=10).config
        self.config = json_format.MessageToDict(
            config, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        self.extensions = list(
            stub.ServerMetadata(pb.ServerMetadataRequest(), timeout=10).extensions
        )
        self.inputs = [self._input(tensor) for tensor in self.metadata.inputs]
        # perf_analyzer has a sorted map here, and always sends all inputs
        self.outputs = sorted(tensor.name for tensor in self.metadata.outputs)

    def _input(self, tensor: pb.ModelMetadataResponse.TensorMetadata) -> tuple[str, str, list[int]]:
        """The name, datatype and shape of an input, which is looked up in the configuration.

        The batch axis is dropped where there is one.
        """
        (config,) = [each for each in self.config["input"] if each["name"] == tensor.name]
        assert not config["is_shape_tensor"]
        shape = list(tensor.shape)
        if self.config["max_batch_size"] > 0:
            assert shape[0] == -1
            shape = shape[1:]
        assert [int(size) for size in config["dims"]] == shape, (
            "the dims of the config have no batch axis"
        )
        assert shape, "it cannot send a tensor that is nothing but its batch axis"
        assert min(shape) > 0, "free sizes take its option --shape"
        return tensor.name, tensor.datatype, [self._batch, *shape]

    def request(self, *, named: bool = False) -> pb.ModelInferRequest:
        """An inference request; `named` gives it an id, as in streams."""
        message = pb.ModelInferRequest(
            model_name=self.model, id=str(next(self._ids)) if named else ""
        )
        message.parameters["triton_enable_empty_final_response"].bool_param = True
        for name, datatype, shape in self.inputs:
            assert datatype == "FP32"
            message.inputs.add(name=name, datatype=datatype, shape=shape)
            message.raw_input_contents.append(
                np.random.default_rng(0).random(shape, np.float32).tobytes()
            )
        for name in self.outputs:
            message.outputs.add(name=name)
        return message

    def statistics(self) -> pb.ModelStatistics:
        """The statistics of the version that it takes to be served.

        It is the one with the highest number.
        """
        response = self._stub.ModelStatistics(
            pb.ModelStatisticsRequest(name=self.model), timeout=10
        )
        return max(
            (each for each in response.model_stats if each.name == self.model),
            key=lambda each: int(each.version),
        )

    def infer(self) -> pb.ModelInferResponse:
        return self._stub.ModelInfer(self.request(), timeout=10)

    def check(self, response: pb.ModelInferResponse) -> None:
        """Reads `raw_output_contents` by index, without looking at how many there are."""
        assert [tensor.name for tensor in response.outputs] == self.outputs
        assert len(response.raw_output_contents) == len(response.outputs)
        assert all(int(tensor.shape[0]) == self._batch for tensor in response.outputs)


def grown(before: pb.ModelStatistics, after: pb.ModelStatistics) -> dict[str, tuple[int, int]]:
    """The growth of every count and its nanoseconds; other counts have 0 nanoseconds."""
    found = {
        name: (
            getattr(after.inference_stats, name).count
            - getattr(before.inference_stats, name).count,
            getattr(after.inference_stats, name).ns - getattr(before.inference_stats, name).ns,
        )
        for name in DURATIONS
    }
    return {
        **found,
        "inferences": (after.inference_count - before.inference_count, 0),
        "executions": (after.execution_count - before.execution_count, 0),
    }


@pytest.mark.parametrize("model", ["digits", "breast_cancer"])
@pytest.mark.parametrize("batch", [1, 8])
def test_it_finds_what_it_needs_and_sees_the_counts_of_its_requests_grow(stub, model, batch):
    analyzer = Analyzer(stub, model, batch)
    assert "statistics" in analyzer.extensions, "or it would measure nothing on the server"
    assert analyzer.config["max_batch_size"] == 64
    assert "dynamic_batching" in analyzer.config
    assert "sequence_batching" not in analyzer.config
    assert analyzer.config["platform"] != "ensemble"
    assert not analyzer.config.get("model_transaction_policy", {}).get("decoupled", False)
    assert not analyzer.config.get("response_cache", {}).get("enable", False)
    assert analyzer.config["name"] == model

    analyzer.check(analyzer.infer())
    with ThreadPoolExecutor(4) as threads:
        for _window in range(2):
            before = analyzer.statistics()
            for response in threads.map(lambda _: analyzer.infer(), range(60)):
                analyzer.check(response)
            growth = grown(before, analyzer.statistics())
            answered = growth["success"][0]
            assert answered == 60
            assert growth["inferences"][0] == 60 * batch
            assert 0 < growth["executions"][0] <= 60
            assert all(
                growth[name][0] == answered
                for name in ("queue", "compute_input", "compute_infer", "compute_output")
            )
            assert growth["compute_infer"][1] > 0
            assert growth["cache_hit"] == growth["cache_miss"] == (0, 0)
            parts = sum(
                growth[name][1]
                for name in ("queue", "compute_input", "compute_infer", "compute_output")
            )
            assert growth["success"][1] >= parts, (
                "the overhead that it prints is the difference, an unsigned number"
            )


def test_it_streams(stub):
    analyzer = Analyzer(stub, "digits")
    before = analyzer.statistics()
    requests = [analyzer.request(named=True) for _ in range(50)]
    answers = list(stub.ModelStreamInfer(iter(requests), timeout=20))
    assert [answer.error_message for answer in answers] == [""] * 50
    assert [answer.infer_response.id for answer in answers] == [request.id for request in requests]
    for answer in answers:
        analyzer.check(answer.infer_response)
        assert answer.infer_response.parameters["triton_final_response"].bool_param, (
            "or it waits for another answer"
        )
    assert grown(before, analyzer.statistics())["success"][0] == 50


def test_a_model_that_is_not_there_is_told_at_once(stub):
    with pytest.raises(grpc.RpcError) as refusal:
        Analyzer(stub, "nobody")
    assert (refusal.value.code(), refusal.value.details()) == (
        grpc.StatusCode.NOT_FOUND,
        "Request for unknown model: 'nobody' is not found",
    )


@pytest.mark.skipif(shutil.which("perf_analyzer") is None, reason="perf_analyzer is not installed")
@pytest.mark.parametrize(
    "options",
    [
        ["-b", "8"],
        ["--streaming"],
        ["-a"],
        ["--grpc-compression-algorithm", "gzip"],
        ["--request-rate-range", "200"],
    ],
)
def test_perf_analyzer_measures_a_model(served, options):
    load = [] if "--request-rate-range" in options else ["--concurrency-range", "2"]
    command = [
        "perf_analyzer",
        "-i",
        "grpc",
        "--service-kind",
        "triton",
        "-u",
        served.address,
        "-m",
        "digits",
        "-p",
        "300",
        "-s",
        "90",
        *load,
    ]
    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, check=False, timeout=90
    )
    # 2: the machine was too busy for a steady measurement
    assert done.returncode in (0, 2), done.stdout + done.stderr
    assert "Successful request count" in done.stdout
    assert "Failed to" not in done.stdout.replace("Failed to obtain stable measurement", "")
