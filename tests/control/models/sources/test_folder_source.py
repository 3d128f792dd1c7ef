"""Models from a real folder are scanned, inspected and planned."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from gateway.config.control import SourceOptions
from gateway.config.serving_options import ModelDefaults
from gateway.control.models.sources.folder_source import FolderSource, installed_providers
from gateway.control.models.sources.source import CannotPlan


def write_model(path: Path, scale: float = 2.0) -> None:
    """Writes a model y = scale * x for any number of rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "scale"], ["y"])],
        "scale",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(np.array(scale, np.float32), "scale")],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )


@pytest.fixture
def models(tmp_path):
    write_model(tmp_path / "models" / "good" / "1" / "model.onnx")
    return tmp_path / "models"


def with_source(models: Path, do, cores=1, name="", **defaults):
    async def run():
        async with FolderSource(
            SourceOptions(models=str(models), name=name, cache_dir=str(models.parent / "cache")),
            ModelDefaults(**defaults),
            cores,
        ) as source:
            return await do(source)

    return asyncio.run(run())


def plan_of(models: Path, **options):
    async def do(source):
        (model,) = await source.scan()
        return await source.plan(model, model.versions[0])

    return with_source(models, do, **options)


def test_a_good_model_has_a_plan_with_its_graph_and_the_defaults(models):
    plan = plan_of(models, cores=2, default_max_batch_size=16, max_queue_requests=7)

    assert plan.key == ("good", 1)
    assert [(tensor.name, tensor.datatype, tensor.shape) for tensor in plan.inputs] == [
        ("x", "FP32", (-1, 4))
    ]
    assert plan.batching.max_batch_size == 16
    assert plan.queue.max_requests == 7
    assert plan.instances == 2
    assert plan.statistics_row == -1


def test_the_fingerprint_follows_file_and_configuration_and_nothing_else(models):
    async def do(source):
        async def fingerprint():
            (model,) = await source.scan()
            return await source.fingerprint(model)

        seen = [await fingerprint(), await fingerprint()]
        write_model(models / "good" / "1" / "model.onnx", scale=3.0)
        seen.append(await fingerprint())
        (models / "good" / "model.yaml").write_text("instances: 3\n")
        seen.append(await fingerprint())
        write_model(models / "good" / "2" / "model.onnx", scale=3.0)
        seen.append(await fingerprint())
        return seen

    first, again, new_file, new_configuration, new_version = with_source(models, do)

    assert first == again
    assert len({first, new_file, new_configuration, new_version}) == 4


def test_faults_stand_where_they_belong(models):
    (models / "broken" / "1").mkdir(parents=True)
    (models / "broken" / "1" / "model.onnx").write_bytes(b"no model at all")
    (models / "empty" / "1").mkdir(parents=True)
    (models / "python").mkdir()
    (models / "python" / "config.pbtxt").write_text('backend: "python"')

    async def do(source):
        found = {model.name: model for model in await source.scan()}
        texts = {}
        for name in ("broken", "empty"):
            with pytest.raises(CannotPlan) as error:
                await source.plan(found[name], 1)
            texts[name] = str(error.value)
            assert await source.fingerprint(found[name])
        return found, texts

    found, texts = with_source(models, do)

    assert sorted(found) == ["broken", "empty", "good", "python"]
    assert found["good"].fault == found["broken"].fault == ""
    assert "backend 'python' is not served" in found["python"].skipped
    assert found["python"].versions == ()
    assert "model.onnx" in texts["broken"]
    assert "has no model.onnx" in texts["empty"]


def test_a_configuration_sent_with_a_load_takes_the_place_of_the_files(models):
    async def do(source):
        (model,) = await source.scan()
        other = await source.reconfigured(
            model,
            json.dumps({"max_batch_size": 5, "instance_group": [{"count": 3, "kind": "KIND_CPU"}]}),
        )
        assert await source.fingerprint(other) != await source.fingerprint(model)
        with pytest.raises(
            CannotPlan, match="the configuration sent with the request cannot be read"
        ):
            await source.reconfigured(model, "{nonsense")
        return await source.plan(other, 1)

    plan = with_source(models, do)

    assert (plan.batching.max_batch_size, plan.instances) == (5, 3)


def test_a_folder_that_cannot_be_read_is_an_error_and_an_empty_one_is_empty(tmp_path):
    (tmp_path / "empty").mkdir()

    assert with_source(tmp_path / "empty", lambda source: source.scan()) == ()
    with pytest.raises(OSError, match="cannot be read"):
        with_source(tmp_path / "none", lambda source: source.scan())


def test_the_cpu_is_always_among_the_providers():
    assert "CPUExecutionProvider" in installed_providers()


@pytest.mark.parametrize("start", ["a folder of models", "one model"])
def test_a_folder_does_not_become_another_kind_while_it_is_served(models, start):
    if start == "one model":
        (models / "good").rename(models.parent / "aside")
        models.rmdir()
        (models.parent / "aside").rename(models)

    async def do(source):
        before = [model.name for model in await source.scan()]
        write_model(models / ("2" if start == "a folder of models" else "another/1") / "model.onnx")
        if start == "one model":
            (models / "1").rename(models / "another" / "2")
        with pytest.raises(OSError, match=f"was {start} and now looks like"):
            await source.scan()
        if start == "a folder of models":
            (models / "2").rename(models / "good" / "2")
        else:
            (models / "another" / "2").rename(models / "1")
        assert [model.name for model in await source.scan()] == before

    with_source(models, do)


def test_a_second_file_beside_the_only_one_does_not_take_the_model_away(tmp_path):
    folder = tmp_path / "wine"
    write_model(folder / "wine.onnx")

    async def do(source):
        (model,) = await source.scan()
        assert model.name == "wine"
        write_model(folder / "other.onnx")
        with pytest.raises(OSError, match=r"one \*\.onnx file"):
            await source.scan()

    with_source(folder, do)
