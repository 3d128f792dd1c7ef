"""Real gateways as remotes: stopped, killed, frozen and started again.

A gateway that answers through another gives the answers of that one.
"""

import asyncio
import os
import signal
import time

import numpy as np
import pytest
from onnx import TensorProto

from gateway.core.errors import InstanceFailed, ModelFailed
from gateway.protocol.generated import inference_pb2 as pb
from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.support import graphs, infer_calls
from tests.support.remote_parts import Piece, remote, result, rows, start, until, version
from tests.support.running import RunningGateway
from tests.support.tensor_bytes import DTYPES, difference

ELEMENTS = {
    "FP32": TensorProto.FLOAT, "FP16": TensorProto.FLOAT16, "BF16": TensorProto.BFLOAT16,
    "FP64": TensorProto.DOUBLE, "BYTES": TensorProto.STRING, "BOOL": TensorProto.BOOL,
    "INT8": TensorProto.INT8, "INT64": TensorProto.INT64, "UINT16": TensorProto.UINT16,
    "UINT64": TensorProto.UINT64,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of models, and the findings about them."""
    folder = tmp_path_factory.mktemp("remotes")
    models = folder / "models"
    graphs.scale(models, "m")
    graphs.patient(models, "patient")
    for datatype, element in ELEMENTS.items():
        graphs.identity(models, f"same_{datatype.lower()}", element, ["N", 3])
    return folder


def gateway(folder, name, *options):
    return RunningGateway(
        folder / "models",
        folder / f"{name}.log",
        "--processes",
        "1",
        "--drain-delay",
        "1s",
        *options,
        cache=folder / "cache",
    )


@pytest.fixture(scope="module")
def shared(folder):
    """A gateway that no test harms."""
    with gateway(folder, "shared") as running:
        yield running


@pytest.fixture
def own(folder, request):
    """A gateway of the test's own."""
    made = gateway(folder, request.node.name[:60])
    with made:
        yield made
        os.killpg(made.process.pid, signal.SIGCONT)


def everything(running, signal_number):
    """Signals all processes of a gateway."""
    os.killpg(running.process.pid, signal_number)


@pytest.mark.parametrize("datatype", ELEMENTS)
def test_a_gateway_answers_through_an_instance_as_it_does_directly(shared, datatype):
    rng = np.random.default_rng(1)
    if datatype == "BYTES":
        x = np.array([["", "a", "grüße"], ["\0", "日本", "x" * 300]], object)
    else:
        kind = DTYPES[datatype]
        x = (
            rng.integers(0, 2, (7, 3)) if datatype == "BOOL" else rng.uniform(0, 100, (7, 3))
        ).astype(kind)
    name = f"same_{datatype.lower()}"
    with shared.channel() as channel:
        direct = infer_calls.outputs(
            GRPCInferenceServiceStub(channel).ModelInfer(
                infer_calls.request(name, {"x": x}), timeout=20
            )
        )["y"]

    async def main():
        async with remote(shared.address, of=version(name, datatype, (-1, 3))) as instance:
            assert instance.available
            (y,) = await result(instance, Piece(x))
            assert y.dtype == x.dtype
            assert not difference(y, direct)

    asyncio.run(main())


def test_batches_in_parts_and_of_any_size_are_equal(shared):
    async def main():
        async with remote(shared.address, max_rows=100) as whole:
            for count in (1, 2, 99, 100, 101, 5000, 40_000):
                (y,) = await result(whole, Piece(rows(count)))
                assert (y == rows(count) * 2).all()

    asyncio.run(main())


def test_values_that_a_gateway_refuses_are_the_models_failure_and_a_model_it_lacks_the_instances(
    shared,
):
    async def main():
        async with remote(shared.address) as instance:
            with pytest.raises(ModelFailed, match=r"INVALID_ARGUMENT: .*unexpected shape"):
                await result(instance, Piece(np.zeros((1, 5), "f4")))
        async with remote(shared.address, model="nobody") as instance:
            assert not instance.available
            with pytest.raises(InstanceFailed, match="NOT_FOUND"):
                await result(instance, Piece(rows(1)))

    asyncio.run(main())


def test_a_killed_gateway_fails_its_batches_at_once_and_is_used_again_when_it_is_back(own):
    async def main():
        async with remote(own.address, of=version("patient", "INT64", (-1, 1))) as instance:
            assert instance.available
            works = [Piece(np.array([[2_000_000]], "i8")) for _ in range(3)]
            ends = [start(instance, work) for work in works]
            await until(lambda: instance.expected_s > 0.3)  # they have been under way for so long
            assert not any(end.done() for end in ends)
            before = time.monotonic()
            own.kill()
            await asyncio.gather(*ends)
            assert time.monotonic() - before < 5
            assert {type(work.error) for work in works} == {InstanceFailed}
            await until(lambda: not instance.available)
            await asyncio.to_thread(lambda: own.start().wait_ready())
            await until(lambda: instance.available)
            (y,) = await result(instance, Piece(np.array([[3]], "i8")))
            assert y.tolist() == [[3]]

    asyncio.run(main())


def test_a_frozen_gateway_fails_its_batches_in_their_time_and_is_not_available_until_it_thaws(own):
    async def main():
        async with remote(own.address, timeout_s=0.5) as instance:
            await result(instance, Piece(rows(1)))
            everything(own, signal.SIGSTOP)
            before = time.monotonic()
            works = [Piece(rows(1)), Piece(rows(40_000)), Piece(rows(1), deadline_in_s=0.2)]
            await asyncio.gather(*[start(instance, work) for work in works])
            assert time.monotonic() - before < 1.5
            assert [type(work.error).__name__ for work in works] == [
                "InstanceFailed",
                "InstanceFailed",
                "DeadlineExpired",
            ]
            await until(lambda: not instance.available, timeout_s=5)
            everything(own, signal.SIGCONT)
            await until(lambda: instance.available)
            (y,) = await result(instance, Piece(rows(1), deadline_in_s=10))
            assert (y == rows(1) * 2).all()

    asyncio.run(main())


def test_a_gateway_that_is_stopped_is_left_before_it_refuses(own):
    async def main():
        async with remote(own.address) as instance:
            served = 0
            own.terminate()
            give_up = time.monotonic() + 10
            while instance.available:
                (y,) = await result(instance, Piece(rows(1)))
                served += bool((y == rows(1) * 2).all())
                assert time.monotonic() < give_up
            assert served

    asyncio.run(main())


def test_of_several_servers_behind_one_name_those_that_are_left_answer(folder, shared):
    with gateway(folder, "second") as second:

        async def main():
            async with remote(f"ipv4:{shared.address},{second.address}") as instance:
                give_up = time.monotonic() + 20  # gRPC connects to the second in its own time
                while not await asyncio.to_thread(inferences, second):
                    await result(instance, Piece(rows(1)))
                    assert time.monotonic() < give_up
                assert await asyncio.to_thread(inferences, shared)
                second.terminate()
                give_up = time.monotonic() + 20
                while second.process.poll() is None:
                    assert time.monotonic() < give_up
                    (y,) = await result(instance, Piece(rows(1)))
                    assert (y == rows(1) * 2).all()
                    await asyncio.sleep(0.01)
                for _ in range(10):
                    await result(instance, Piece(rows(1)))
                assert instance.available

        asyncio.run(main())


def inferences(running):
    with running.channel() as channel:
        statistics = GRPCInferenceServiceStub(channel).ModelStatistics(
            pb.ModelStatisticsRequest(name="m"), timeout=10
        )
        return statistics.model_stats[0].inference_count


def test_a_name_that_gRPC_resolves_is_called(shared):  # noqa: N802
    async def main():
        async with remote(f"dns:///localhost:{shared.port}") as instance:
            await until(lambda: instance.available)
            (y,) = await result(instance, Piece(rows(1)))
            assert (y == rows(1) * 2).all()

    asyncio.run(main())


def test_a_port_that_speaks_no_grpc_is_not_available(shared):
    async def main():
        async with remote(f"127.0.0.1:{shared.http_port}") as instance:
            assert not instance.available
            with pytest.raises(InstanceFailed):
                await result(instance, Piece(rows(1), deadline_in_s=5))

    asyncio.run(main())
