"""Requests of many callers run in common batches, and each is answered as if it ran alone."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from gateway.protocol.generated import inference_pb2 as pb
from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.support import graphs
from tests.support.checkout import ROOT
from tests.support.infer_calls import outputs, request
from tests.support.ort_reference import OrtReference
from tests.support.running import RunningGateway
from tests.support.tensor_bytes import difference

pytestmark = pytest.mark.alone  # times are compared

CONNECTIONS = 12
SHIPPED = ("digits/1", "digits/2", "breast_cancer/1", "penguins/1")
TOLERANCE = 1e-5
"""How far rows run together may be from rows run alone, as a share of an output's largest value."""


def build(repository: Path) -> None:
    """Writes models that batch, models that group, and models that must do neither."""
    repository.mkdir()
    for name in ("digits", "breast_cancer", "penguins"):
        (repository / name).symlink_to(ROOT / "models" / name)
    graphs.identity(repository, "echo", TensorProto.INT64, ["n", 8])
    graphs.slow(repository, "slow", repeats=40, width=256)
    images(repository)
    zero = helper.make_tensor("axis", TensorProto.INT64, [], [0])
    series = [("x", TensorProto.FLOAT, ["t", 4])], [("y", TensorProto.FLOAT, ["t", 4])]
    graphs.save(
        repository / "running_sum/1/model.onnx",
        [helper.make_node("CumSum", ["x", "axis"], ["y"])],
        *series,
        [zero],
    )
    mean = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0]),
        helper.make_node("Sub", ["x", "mean"], ["y"]),
    ]
    graphs.save(repository / "less_the_mean/1/model.onnx", mean, *series)
    scaled = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    graphs.save(repository / "quantised/1/model.onnx", scaled, *series)


def images(repository: Path) -> None:
    """Writes a model whose `total` is the sum of each image of any size.

    Products whose result is not used take so long that requests must wait for each other.
    """
    nodes = [
        helper.make_node("ReduceSum", ["pixels", "axes"], ["sum"], keepdims=0),
        helper.make_node("Reshape", ["sum", "column"], ["h0"]),
        *(
            helper.make_node("MatMul", [f"h{k}", "first" if k == 0 else "w"], [f"h{k + 1}"])
            for k in range(20)
        ),
        helper.make_node("ReduceMean", ["h20"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("Mul", ["mean", "nothing"], ["none"]),
        helper.make_node("Add", ["sum", "none"], ["total"]),
    ]
    constants = {
        "axes": np.array([1, 2]), "column": np.array([-1, 1]), "nothing": np.zeros(1, "f4"),
        "first": np.ones((1, 256), "f4"), "w": np.full((256, 256), 1 / 256, "f4"),
    }  # fmt: skip
    declared = (
        [("pixels", TensorProto.FLOAT, ["n", "height", "width"])],
        [("total", TensorProto.FLOAT, ["n"])],
    )
    graphs.save(
        repository / "images/1/model.onnx",
        nodes,
        *declared,
        [numpy_helper.from_array(a, name) for name, a in constants.items()],
    )


@dataclass
class Model:
    """A model, what ONNX Runtime makes of it, and rows for it."""

    name: str
    version: str
    reference: OrtReference
    pool: dict[str, np.ndarray]

    def rows(self, chosen: Sequence[int]) -> dict[str, np.ndarray]:
        return {name: array[list(chosen)] for name, array in self.pool.items()}

    def ask(self, chosen: Sequence[int], request_id: str) -> pb.ModelInferRequest:
        return request(self.name, self.rows(chosen), id=request_id, version=self.version)


@pytest.fixture(scope="module")
def served(tmp_path_factory, cache) -> Iterator[RunningGateway]:
    """A gateway of two serving processes."""
    folder = tmp_path_factory.mktemp("batching")
    build(folder / "models")
    with RunningGateway(
        folder / "models",
        folder / "gateway.log",
        "--processes",
        "2",
        "--drain-delay",
        "0s",
        cache=cache,
    ) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def stub(served) -> Iterator[GRPCInferenceServiceStub]:
    with served.channel() as channel:
        yield GRPCInferenceServiceStub(channel)


def model_of(served: RunningGateway, name: str, version: str = "1", rows: int = 200) -> Model:
    """A model with distinct random rows, mixed from its reference sample where it has one."""
    folder = served.log.parent / "models" / name
    rng = np.random.default_rng(len(name))
    # as the gateway opens it
    reference = OrtReference(str(folder / version / "model.onnx"), threads=1)
    if (sample := folder / "reference.npz").exists():
        pool = {}
        for tensor, array in np.load(sample).items():
            mixed = array[rng.integers(len(array), size=rows)]
            pool[tensor] = (
                mixed.astype(object)
                if mixed.dtype.kind == "U"
                else (mixed * rng.uniform(0.9, 1.1, mixed.shape)).astype(mixed.dtype)
            )
        return Model(
            name, version, reference, {tensor: pool[tensor] for tensor in reference.inputs}
        )
    if name == "echo":
        return Model(name, version, reference, {"x": rng.integers(-(1 << 62), 1 << 62, (rows, 8))})
    width = reference.session.get_inputs()[0].shape[1]
    return Model(name, version, reference, {"x": rng.standard_normal((rows, width)).astype("f4")})


async def ask_all(
    served: RunningGateway, requests: Sequence[pb.ModelInferRequest]
) -> list[pb.ModelInferResponse | grpc.aio.AioRpcError]:
    """Sends all requests at once, over connections that the kernel spreads over the processes.

    It returns answers, or errors, in the requests' order.
    """
    alone = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
    channels = [
        grpc.aio.insecure_channel(served.address, options=alone) for _ in range(CONNECTIONS)
    ]
    stubs = [GRPCInferenceServiceStub(channel) for channel in channels]
    try:
        calls = [
            stubs[number % CONNECTIONS].ModelInfer(each, timeout=60)
            for number, each in enumerate(requests)
        ]
        return await asyncio.gather(*calls, return_exceptions=True)
    finally:
        await asyncio.gather(*(channel.close() for channel in channels))


def ask_at_once(
    served: RunningGateway, requests: Sequence[pb.ModelInferRequest]
) -> list[pb.ModelInferResponse]:
    """Sends all requests at once and returns the answers; an error is raised."""
    answers = asyncio.run(ask_all(served, requests))
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return answers


def far(got: np.ndarray, want: np.ndarray) -> float:
    """How far two arrays are apart, as a share of the largest value.

    What is not a float must be equal.
    """
    if want.dtype.kind != "f":
        return 0.0 if not difference(got, want) else np.inf
    return (
        float(np.abs(got - want).max() / np.abs(want).max()) if got.shape == want.shape else np.inf
    )


def statistics(
    stub: GRPCInferenceServiceStub, model: str, version: str = "1"
) -> pb.ModelStatistics:
    (one,) = stub.ModelStatistics(
        pb.ModelStatisticsRequest(name=model, version=version), timeout=10
    ).model_stats
    return one


def batch_counts(stats: pb.ModelStatistics) -> dict[int, int]:
    return {each.batch_size: each.compute_infer.count for each in stats.batch_stats}


@pytest.mark.parametrize("which", [*SHIPPED, "echo/1", "slow/1"])
def test_of_hundreds_at_once_each_gets_its_own_answer(served, stub, which):
    """The requests have one to five random rows and random ids.

    What the gateway counts is what was sent.
    """
    model = model_of(served, *which.split("/"))
    dice = random.Random(which)
    chosen = [
        [dice.randrange(200) for _ in range(dice.choice((1, 1, 1, 2, 5)))] for _ in range(600)
    ]
    ids = [f"{dice.getrandbits(64):x}"[: dice.randint(1, 16)] for _ in chosen]
    before = statistics(stub, model.name, model.version)
    answers = ask_at_once(
        served, [model.ask(rows, request_id) for rows, request_id in zip(chosen, ids, strict=True)]
    )
    after = statistics(stub, model.name, model.version)

    for rows, request_id, answer in zip(chosen, ids, answers, strict=True):
        assert (answer.id, answer.model_name, answer.model_version) == (
            request_id,
            model.name,
            model.version,
        )
        want = model.reference.run(model.rows(rows))
        got = outputs(answer)
        assert {
            name: far(got[name], want[name])
            for name in want
            if far(got[name], want[name]) > TOLERANCE
        } == {}

    sent_rows = sum(map(len, chosen))
    grown = after.inference_stats.success.count - before.inference_stats.success.count
    assert (grown, after.inference_count - before.inference_count) == (600, sent_rows)
    sizes = {
        size: count - batch_counts(before).get(size, 0)
        for size, count in batch_counts(after).items()
    }
    assert sum(sizes.values()) == after.execution_count - before.execution_count <= 600
    if which == "slow/1":  # the others may be quicker than the callers
        assert sum(sizes.values()) < 300
    assert sum(size * count for size, count in sizes.items()) == sent_rows
    assert after.inference_stats.fail.count == before.inference_stats.fail.count


@pytest.mark.parametrize("which", SHIPPED)
@pytest.mark.parametrize("rows", [1, 3, 64])
def test_alone_a_request_is_answered_as_onnx_runtime_does_bit_for_bit(served, stub, which, rows):
    model = model_of(served, *which.split("/"))
    for request_id in ("", "", "a", "abc"):
        got = outputs(stub.ModelInfer(model.ask(range(rows), request_id)))
        want = model.reference.run(model.rows(range(rows)))
        assert {name: difference(got[name], want[name]) for name in want} == dict.fromkeys(want, "")


def test_a_request_of_a_thousand_rows_is_run_in_parts_and_answered_as_one(served, stub):
    """It has more rows than a batch holds, while others ask for one row each."""
    for which in ("echo/1", "digits/2", "penguins/1"):
        model = model_of(served, *which.split("/"), rows=1000)
        before = statistics(stub, model.name, model.version)
        chosen = [range(1000), *([row] for row in range(100)), range(999, -1, -1)]
        answers = ask_at_once(
            served, [model.ask(rows, str(number)) for number, rows in enumerate(chosen)]
        )
        after = statistics(stub, model.name, model.version)
        for rows, answer in zip(chosen, answers, strict=True):
            got = outputs(answer)
            want = model.reference.run(model.rows(rows))
            assert all(far(got[name], want[name]) <= TOLERANCE for name in want)
        assert after.inference_count - before.inference_count == 2100
        assert after.inference_stats.success.count - before.inference_stats.success.count == len(
            chosen
        )
        assert max(batch_counts(after)) <= 64


def test_a_configured_limit_lets_a_large_request_run_whole_and_refuses_what_is_larger(
    tmp_path, cache
):
    for name, limit in (("limited", 16), ("wide", 2000)):
        graphs.scale(tmp_path / "models", name)
        (tmp_path / "models" / name / "model.yaml").write_text(
            f"batching:\n  max_batch_size: {limit}\n"
        )
    with (
        RunningGateway(
            tmp_path / "models", tmp_path / "gateway.log", "--processes", "1", cache=cache
        ) as gateway,
        gateway.channel() as channel,
    ):
        stub = GRPCInferenceServiceStub(channel)
        infer = stub.ModelInfer
        many = np.arange(4000, dtype="f4").reshape(1000, 4)
        assert outputs(infer(request("wide", {"x": many})))["y"].tolist() == (many * 2).tolist()
        assert statistics(stub, "wide").execution_count == 1
        rows = np.arange(68, dtype="f4").reshape(17, 4)
        assert (
            outputs(infer(request("limited", {"x": rows[:16]})))["y"].tolist()
            == (rows[:16] * 2).tolist()
        )
        with pytest.raises(grpc.RpcError) as refusal:
            infer(request("limited", {"x": rows}))
        assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (
            refusal.value.details()
            == "[request id: <id_unknown>] inference request batch-size must be <= 16 for 'limited'"
        )


def test_images_of_several_sizes_are_grouped(served, stub):
    """Each batch holds one size; all are answered, and batches are formed of each."""
    rng = np.random.default_rng(3)
    dice = random.Random(3)
    sizes = [(4, 4), (8, 4), (16, 16)]
    images = [
        rng.integers(0, 100, (dice.randint(1, 3), *dice.choice(sizes))).astype("f4")
        for _ in range(600)
    ]
    before = statistics(stub, "images")
    answers = ask_at_once(
        served,
        [
            request("images", {"pixels": image}, id=str(number))
            for number, image in enumerate(images)
        ],
    )
    after = statistics(stub, "images")
    for image, answer in zip(images, answers, strict=True):
        assert outputs(answer)["total"].tolist() == image.sum(axis=(1, 2)).tolist()
    assert after.inference_count - before.inference_count == sum(map(len, images))
    assert after.execution_count - before.execution_count < 300


@pytest.mark.parametrize("model", ["running_sum", "less_the_mean", "quantised"])
def test_a_model_whose_rows_know_of_each_other_is_run_once_a_request(served, stub, model):
    """The model's first axis is time, or the model computes across its rows.

    In one batch, callers would get each other's values.
    """
    config = stub.ModelConfig(pb.ModelConfigRequest(name=model)).config
    assert (config.max_batch_size, config.HasField("dynamic_batching")) == (0, False)
    made = model_of(served, model)
    dice = random.Random(model)
    chosen = [[dice.randrange(200) for _ in range(dice.randint(1, 6))] for _ in range(300)]
    before = statistics(stub, model)
    answers = ask_at_once(
        served, [made.ask(rows, str(number)) for number, rows in enumerate(chosen)]
    )
    after = statistics(stub, model)
    for rows, answer in zip(chosen, answers, strict=True):
        assert not difference(outputs(answer)["y"], made.reference.run(made.rows(rows))["y"])
    assert (
        after.execution_count - before.execution_count
        == after.inference_stats.success.count - before.inference_stats.success.count
        == 300
    )


def test_requests_that_want_other_outputs_share_a_batch_and_get_what_they_want(served, stub):
    model = model_of(served, "digits", "2")
    wishes = [(), ("digit",), ("probabilities",), ("digit", "probabilities")]
    requests = [model.ask([number % 200], str(number)) for number in range(400)]
    for number, each in enumerate(requests):
        each.outputs.extend(
            pb.ModelInferRequest.InferRequestedOutputTensor(name=name)
            for name in wishes[number % 4]
        )
    for number, answer in enumerate(ask_at_once(served, requests)):
        want = model.reference.run(model.rows([number % 200]))
        got = outputs(answer)
        assert tuple(got) == (wishes[number % 4] or ("probabilities", "digit"))
        assert all(far(got[name], want[name]) <= TOLERANCE for name in got)


def test_a_request_without_rows_shares_a_batch_too(served, stub):
    model = model_of(served, "echo")
    chosen = [[], [1, 2], [], [3]] * 50
    for rows, answer in zip(
        chosen, ask_at_once(served, [model.ask(rows, "") for rows in chosen]), strict=True
    ):
        assert outputs(answer)["y"].tolist() == model.pool["x"][rows].tolist()
