"""A request of no rows is answered with no rows, whoever runs the version."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.support import graphs
from tests.support.infer_calls import outputs, request
from tests.support.running import RunningGateway

ONE = ("--processes", "1")


@pytest.fixture(scope="module")
def addresses(tmp_path_factory, cache):
    """A gateway that runs `m` in threads, and one that has it run by others; by who runs it."""
    folder = tmp_path_factory.mktemp("no rows")
    here = folder / "here"
    elsewhere = folder / "elsewhere"
    graphs.scale(here, "m")
    with RunningGateway(here, folder / "here.log", *ONE, cache=cache) as threads:
        for name, configuration in {
            "worker": "workers: {kind: process, count: 1}\n",
            "remote": f"local: false\nremotes: [{{address: '{threads.address}', model: m}}]\n",
        }.items():
            graphs.scale(elsewhere, name)
            (elsewhere / name / "model.yaml").write_text(configuration)
        with RunningGateway(elsewhere, folder / "elsewhere.log", *ONE, cache=cache) as others:
            yield {"m": threads, "worker": others, "remote": others}
            for log in (threads.text(), others.text()):
                assert "This is a bug" not in log


@pytest.mark.parametrize("model", ["m", "worker", "remote"])
def test_no_rows_are_answered_with_no_rows_and_the_next_call_as_ever(addresses, model):
    with addresses[model].channel() as channel:
        stub = GRPCInferenceServiceStub(channel)
        for rows in (0, 2, 0):
            x = np.ones((rows, 4), "f4")
            answer = stub.ModelInfer(request(model, {"x": x}), timeout=20)
            assert outputs(answer)["y"].tolist() == (x * 2).tolist()


def test_no_rows_ask_for_classes_of_nothing(addresses):
    with addresses["m"].channel() as channel:
        message = request("m", {"x": np.ones((0, 4), "f4")})
        output = message.outputs.add(name="y")
        output.parameters["classification"].int64_param = 2
        answer = GRPCInferenceServiceStub(channel).ModelInfer(message, timeout=20)
        assert list(answer.outputs[0].shape) == [0, 2]


def test_no_rows_of_a_reshaped_tensor_with_a_free_size_are_answered(tmp_path, cache):
    """Numpy cannot infer a free size where there is nothing."""
    graphs.save(
        tmp_path / "models/m/1/model.onnx",
        [helper.make_node("Neg", ["x"], ["y"])],
        [("x", TensorProto.FLOAT, ["N", 2, "w"])],
        [("y", TensorProto.FLOAT, ["N", 2, "w"])],
    )
    (tmp_path / "models/m/model.yaml").write_text(
        "batching: {max_batch_size: 8}\n"
        "inputs: [{name: x, shape: [1, 2, -1], reshape: [2, -1]}]\n"
        "outputs: [{name: y, shape: [1, 2, -1], reshape: [2, -1]}]\n"
    )
    with (
        RunningGateway(tmp_path / "models", tmp_path / "log", *ONE, cache=cache) as served,
        served.channel() as channel,
    ):
        stub = GRPCInferenceServiceStub(channel)
        for rows in (0, 3):
            x = np.ones((rows, 1, 2, 5), "f4")
            answer = stub.ModelInfer(request("m", {"x": x}), timeout=20)
            assert outputs(answer)["y"].shape == x.shape
