"""What another server says of its model is kept to, before any caller's batch goes there."""

import asyncio
import signal

import pytest
from onnx import TensorProto

from tests.support import graphs
from tests.support.remote_parts import Piece, remote, result, rows, until, version
from tests.support.running import RunningGateway


@pytest.fixture(scope="module")
def far(tmp_path_factory):
    """A gateway with a model of 4 rows a batch, and models of other tensors."""
    folder = tmp_path_factory.mktemp("far")
    models = folder / "models"
    graphs.scale(models, "m")
    (models / "m/model.yaml").write_text("batching: {max_batch_size: 4}\n")
    graphs.scale(models, "wide", width=7)
    graphs.identity(models, "whole", TensorProto.INT64, ["N", 4])
    graphs.save(
        models / "other/1/model.onnx",
        [graphs.helper.make_node("Add", ["x", "bias"], ["y"])],
        [("x", TensorProto.FLOAT, ["N", 4]), ("bias", TensorProto.FLOAT, ["N", 4])],
        [("y", TensorProto.FLOAT, ["N", 4])],
    )
    with RunningGateway(models, folder / "far.log", "--processes", "1") as running:
        yield running


def test_a_batch_of_more_rows_than_it_takes_is_sent_in_parts(far):
    async def main():
        async with remote(far.address) as instance:
            (y,) = await result(instance, Piece(rows(11)))
            assert y.tolist() == (rows(11) * 2).tolist()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ("wide", "its input 'x' is FP32 [-1, 7], and here it is FP32 [-1, 4]"),
        ("whole", "its input 'x' is INT64 [-1, 4], and here it is FP32 [-1, 4]"),
        ("other", "it wants an input 'bias' that the model here does not have"),
    ],
)
def test_another_model_behind_the_name_is_not_used_and_both_shapes_are_said(
    far, model, why, caplog
):
    async def main():
        async with remote(far.address, version(model)) as instance:
            assert not instance.available
            assert f"cannot run '{model}': {why}" in caplog.text

    asyncio.run(main())


def test_a_server_that_comes_back_as_another_is_asked_again(tmp_path, caplog):
    models = tmp_path / "models"
    graphs.scale(models, "m")

    async def main(running):
        async with remote(running.address) as instance:
            assert instance.available
            await asyncio.to_thread(running.kill)
            await until(lambda: not instance.available)
            graphs.scale(models, "m", width=7)
            await asyncio.to_thread(running.start)
            await until(lambda: "its input 'x' is FP32 [-1, 7]" in caplog.text)
            assert not instance.available

    with RunningGateway(models, tmp_path / "log", "--processes", "1") as running:
        asyncio.run(main(running))


def test_the_right_model_is_used_once_it_is_there_without_a_word_of_health(tmp_path):
    """A gateway swaps versions without being unavailable for a moment."""
    models = tmp_path / "models"
    graphs.scale(models, "m", width=7)

    async def main(running):
        async with remote(running.address) as instance:
            assert not instance.available
            (models / "m" / "model.yaml").write_text("allow_interface_change: true\n")
            graphs.scale(models, "m", version=2)
            running.process.send_signal(signal.SIGHUP)
            await until(lambda: instance.available)
            (y,) = await result(instance, Piece(rows(2)))
            assert y.tolist() == (rows(2) * 2).tolist()

    with RunningGateway(models, tmp_path / "log", "--processes", "1") as running:
        asyncio.run(main(running))
