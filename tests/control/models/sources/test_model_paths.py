"""Model files and folders by themselves, and several of them at once."""

from pathlib import Path

import pytest

from gateway.config.control import ModelPath
from gateway.control.models.sources.model_paths import merged, scan_paths
from tests.support import graphs


def scanned(*paths):
    named = [path if isinstance(path, tuple) else (path, "") for path in paths]
    return merged(scan_paths([ModelPath(Path(path), name) for path, name in named], ()))


def names(*paths):
    return [model.name for model in scanned(*paths).models]


def put(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_a_file_is_a_model_of_its_name_and_has_one_version(tmp_path):
    (model,) = scanned(put(tmp_path / "wine.onnx")).models
    assert (model.name, model.alone, model.fault) == ("wine", True, "")
    assert [(version.version, version.path) for version in model.live] == [
        (1, tmp_path / "wine.onnx")
    ]


@pytest.mark.parametrize("place", ["wine/model.onnx", "wine/3/model.onnx"])
def test_a_file_that_is_called_model_has_the_name_of_its_folder(tmp_path, place):
    assert names(put(tmp_path / place)) == ["wine"]


def test_a_folder_with_one_model_file_of_any_name_is_one_model(tmp_path):
    put(tmp_path / "wine" / "exported.onnx")
    put(tmp_path / "wine" / "notes.txt")
    (model,) = scanned(tmp_path / "wine").models
    assert (model.name, model.live[0].path.name) == ("wine", "exported.onnx")


def test_what_lies_beside_a_file_is_its_own_where_it_is_the_only_model_there(tmp_path):
    file = put(tmp_path / "wine.onnx")
    (tmp_path / "labels.txt").write_text("red\nwhite\n")
    (tmp_path / "model.yaml").write_text("queue: {max_requests: 7}\n")
    (model,) = scanned(file).models
    assert model.sidecars.labels == {"labels.txt": ("red", "white")}
    assert model.configuration.queue.max_requests == 7
    put(tmp_path / "beer.onnx")
    (model,) = scanned(file).models
    assert model.live == ()
    assert model.fault == (
        f"model.yaml, labels.txt beside it may belong to any of the model files in {tmp_path}: "
        "give each model a folder of its own"
    )


def test_several_files_in_a_folder_with_nothing_beside_them_are_served_each(tmp_path):
    paths = [put(tmp_path / "wine.onnx"), put(tmp_path / "beer.onnx")]
    assert [model.fault for model in scanned(*paths).models] == ["", ""]


def test_a_stray_file_does_not_make_a_repository_one_model(tmp_path):
    graphs.scale(tmp_path, "good")
    put(tmp_path / "stray.onnx")
    assert names(tmp_path) == ["good"]


def test_several_files_without_model_folders_are_no_model_and_the_fault_says_what_is(tmp_path):
    put(tmp_path / "a.onnx")
    put(tmp_path / "b.onnx")
    assert "one *.onnx file" in scanned(tmp_path).fault


def test_files_and_folders_are_served_together_in_the_order_of_their_names(tmp_path):
    graphs.scale(tmp_path / "models", "middle")
    assert names(put(tmp_path / "zebra.onnx"), tmp_path / "models", put(tmp_path / "ant.onnx")) == [
        "ant", "middle", "zebra",
    ]  # fmt: skip


def test_a_name_that_is_given_holds_and_one_that_is_taken_is_a_warning(tmp_path):
    first = put(tmp_path / "a" / "wine.onnx")
    second = put(tmp_path / "b" / "wine.onnx")
    assert names(first, (second, "white")) == ["white", "wine"]
    both = scanned(first, second)
    assert [model.folder for model in both.models] == [first.parent]
    (warning,) = both.warnings
    assert warning == (
        f"the model in {second.parent} is not served: {first.parent} has one that is called "
        "'wine' too; give one another name, NAME=PATH"
    )
