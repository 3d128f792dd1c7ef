"""Model files are hashed with what they refer to, and refer to nothing outside their folder."""

import os
import sys

import onnx
import onnxruntime
import pytest

from gateway.onnx.file import FileHashes, external_files, file_hash
from gateway.onnx.model_faults import OnnxFileFault
from tests.support.repository_models import (
    constant_model,
    external,
    linear_model,
    running_as_root,
    write,
    write_model,
)


def external_model(folder, location="weights.bin", *, content=bytes(32)):
    model = linear_model()
    external(model.graph.initializer[0], location)
    if content is not None:
        write(folder / location, content)
    return write_model(folder / "model.onnx", model)


def test_external_data_beside_the_model_and_below_it_is_found(tmp_path):
    path = external_model(tmp_path, "deep/er/weights.bin")
    assert external_files(path) == (tmp_path / "deep/er/weights.bin",)


@pytest.mark.parametrize(
    "location", ["/etc/passwd", "../weights.bin", "a/../../weights.bin", "..", "./../x"]
)
def test_a_location_that_leaves_the_folder_is_refused(tmp_path, location):
    write(tmp_path / "weights.bin", bytes(32))
    path = external_model(tmp_path / "1", location, content=None)
    with pytest.raises(OnnxFileFault, match="leaves the model's folder"):
        external_files(path)


@pytest.mark.parametrize("location", ["", "a\0b", "*/_ORT_MEM_ADDR_/*"])
def test_a_location_that_is_no_file_name_is_refused(tmp_path, location):
    path = external_model(tmp_path, location, content=None)
    with pytest.raises(OnnxFileFault, match="no file name"):
        external_files(path)


def test_a_missing_file_is_named(tmp_path):
    path = external_model(tmp_path, content=None)
    with pytest.raises(
        OnnxFileFault,
        match=r"model\.onnx refers to the external data 'weights\.bin', which is missing",
    ):
        external_files(path)


def test_a_folder_is_no_external_data(tmp_path):
    path = external_model(tmp_path, content=None)
    (tmp_path / "weights.bin").mkdir()
    with pytest.raises(OnnxFileFault, match="is not a file"):
        external_files(path)


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    write(tmp_path / "secret", b"x")
    path = external_model(tmp_path / "1", content=None)
    (tmp_path / "1/weights.bin").symlink_to("../secret")
    with pytest.raises(OnnxFileFault, match="a link that leaves the model's folder"):
        external_files(path)


def test_a_link_in_a_circle_is_a_fault(tmp_path):
    path = external_model(tmp_path, content=None)
    (tmp_path / "weights.bin").symlink_to("weights.bin")
    with pytest.raises(OnnxFileFault, match=r"weights\.bin"):
        external_files(path)


def test_links_inside_a_mount_are_followed(tmp_path):
    """Kubernetes mounts the files of a volume as links into a hidden folder of the same mount."""
    external_model(tmp_path / "1/..2024")
    (tmp_path / "1/..data").symlink_to("..2024")
    for name in ("model.onnx", "weights.bin"):
        (tmp_path / "1" / name).symlink_to(f"..data/{name}")
    assert external_files(tmp_path / "1/model.onnx") == (tmp_path / "1/weights.bin",)


def test_links_to_where_the_model_itself_is_are_followed(tmp_path):
    """Content-addressed caches keep all files in one folder and link to them."""
    external_model(tmp_path / "blobs")
    (tmp_path / "1").mkdir()
    for name in ("model.onnx", "weights.bin"):
        (tmp_path / "1" / name).symlink_to(f"../blobs/{name}")
    assert external_files(tmp_path / "1/model.onnx") == (tmp_path / "1/weights.bin",)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "model.onnx is empty"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            "Git LFS pointer.*git lfs pull",
        ),
        (b"not a model at all", "model.onnx is not an ONNX model"),
        (linear_model().SerializeToString()[:-5], "model.onnx is truncated or corrupt"),
    ],
)
def test_a_broken_file_is_a_fault_that_names_it(tmp_path, content, fault):
    with pytest.raises(OnnxFileFault, match=fault):
        file_hash(write(tmp_path / "model.onnx", content))


def test_what_is_not_there_or_no_file_is_a_fault_and_nothing_is_waited_for(tmp_path):
    with pytest.raises(OnnxFileFault, match="cannot be read: No such file"):
        file_hash(tmp_path / "model.onnx")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(OnnxFileFault, match="is not a file"):
        file_hash(tmp_path / "folder.onnx")
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(OnnxFileFault, match="is not a file"):
        file_hash(tmp_path / "pipe.onnx")


@pytest.mark.skipif(running_as_root(), reason="root may read everything")
def test_a_file_that_may_not_be_read_is_a_fault(tmp_path):
    path = write_model(tmp_path / "model.onnx")
    path.chmod(0)
    with pytest.raises(OnnxFileFault, match="Permission denied"):
        file_hash(path)


def test_a_file_beyond_protobufs_limit_is_a_fault(tmp_path):
    path = write_model(tmp_path / "model.onnx")
    os.truncate(path, 1 << 31)  # sparse: it takes no room
    with pytest.raises(
        OnnxFileFault, match="ends at 2 GiB: save it with its weights as external data"
    ):
        file_hash(path)


def test_the_hash_is_of_the_contents_not_of_the_place(tmp_path):
    assert file_hash(external_model(tmp_path / "a")) == file_hash(external_model(tmp_path / "b"))


def test_the_hash_changes_with_the_model_and_with_its_external_data(tmp_path):
    path = external_model(tmp_path)
    first = file_hash(path)
    write(tmp_path / "weights.bin", bytes(31) + b"\1")
    second = file_hash(path)
    write_model(path, constant_model())
    assert len({first, second, file_hash(path)}) == 3


def test_hashes_are_remembered_until_a_file_changes(tmp_path):
    path = external_model(tmp_path)
    hashes = FileHashes()
    first = hashes.of(path)
    opened = []
    watching = [True]
    sys.addaudithook(
        lambda event, arguments: (
            opened.append(arguments[0]) if watching and event == "open" else None
        )
    )
    assert hashes.of(path) == first
    watching.clear()  # a hook cannot be taken back
    assert not [name for name in opened if str(name).startswith(str(tmp_path))]
    write(tmp_path / "weights.bin", b"\1" * 32)
    assert hashes.of(path) == file_hash(path) != first
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(OnnxFileFault, match="missing"):
        hashes.of(path)
    hashes.keep_only(set())
    assert repr(hashes) == "<FileHashes of 0 files>"


def test_what_is_accepted_is_what_onnx_runtime_opens(tmp_path):
    """A model that onnx saved with its weights outside is accepted here and opened there."""
    model = linear_model(columns=64, outputs=64)
    onnx.save(
        model,
        tmp_path / "model.onnx",
        save_as_external_data=True,
        location="w.bin",
        size_threshold=0,
    )
    assert external_files(tmp_path / "model.onnx") == (tmp_path / "w.bin",)
    session = onnxruntime.InferenceSession(
        tmp_path / "model.onnx", providers=["CPUExecutionProvider"]
    )
    assert [node.name for node in session.get_outputs()] == ["y"]
