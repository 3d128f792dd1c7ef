"""The number of serving processes follows cores and memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.control.processes.process_count import (
    choose_processes,
    choose_processes_here,
    estimate_models_bytes,
    usable_cores,
    usable_memory_bytes,
)

GIB = 1 << 30


def test_small_models_get_a_process_a_core():
    assert choose_processes(cores=8, models_bytes=100 << 20, memory_bytes=16 * GIB).processes == 8


def test_copies_of_large_models_stay_under_a_quarter_of_the_memory():
    choice = choose_processes(cores=8, models_bytes=1 * GIB, memory_bytes=16 * GIB)

    assert choice.processes == 4
    assert "4 of 8" in choice.reason
    assert "1.0 GiB" in choice.reason


def test_there_is_always_one_process():
    assert choose_processes(cores=4, models_bytes=100 * GIB, memory_bytes=GIB).processes == 1


@given(st.integers(1, 200), st.integers(0, 1 << 40), st.integers(1, 1 << 44))
def test_the_choice_is_between_one_and_the_cores_and_fits_or_is_one(
    cores, models_bytes, memory_bytes
):
    processes = choose_processes(cores, models_bytes, memory_bytes).processes

    assert 1 <= processes <= min(cores, 64)
    assert processes == 1 or processes * models_bytes <= memory_bytes / 4
    if processes < min(cores, 64):
        assert (processes + 1) * models_bytes > memory_bytes / 4


def _write(path, size):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))


def test_the_newest_version_of_every_model_is_counted_with_its_data_files(tmp_path):
    _write(tmp_path / "a" / "9" / "model.onnx", 1000)
    _write(tmp_path / "a" / "10" / "model.onnx", 20)
    _write(tmp_path / "a" / "10" / "weights" / "data.bin", 3000)
    _write(tmp_path / "b" / "1" / "model.onnx", 500)
    _write(tmp_path / "b" / "reference.npz", 7777)
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")

    assert estimate_models_bytes(tmp_path) == 3520


def test_a_folder_that_is_one_model_is_counted_once(tmp_path):
    _write(tmp_path / "2" / "model.onnx", 40)
    assert estimate_models_bytes(tmp_path) == 40

    _write(tmp_path / "single" / "model.onnx", 7)
    assert estimate_models_bytes(tmp_path / "single") == 7


def test_a_repository_that_is_not_there_weighs_nothing(tmp_path):
    assert choose_processes_here([tmp_path / "none"]).processes >= 1


def test_a_control_groups_limits_count(tmp_path):
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    (tmp_path / "memory.max").write_text("1073741824\n")

    assert usable_cores(tmp_path) <= 2
    assert usable_memory_bytes(tmp_path) == GIB


def test_no_limit_leaves_the_machine(tmp_path):
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")

    assert usable_cores(tmp_path) >= 1
    assert usable_memory_bytes(tmp_path) > 1 << 28
