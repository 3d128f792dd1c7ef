"""Findings are kept by what they depend on, and on disk where it can be written."""

from __future__ import annotations

import logging
import os
import re
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from msgspec.structs import replace

from gateway.control.inspection.cache import FindingsCache, default_cache_dir
from gateway.control.inspection.job import InspectionJob
from gateway.control.inspection.key import cpu, findings_key, onnxruntime_version
from gateway.core.plan import Findings, GraphTensor, SessionPlan, WarmupInput

FOUND = Findings(
    inputs=(GraphTensor("x", "tensor(float)", ("N", None, 3)),),
    outputs=(GraphTensor("y", "tensor(int64)", (), optional=False),),
    batchable=True,
    evidence="rows agree",
    cost_us={1: 5.0, 64: 9.5},
    memory_bytes=1 << 20,
    warnings=("one",),
)
JOB = InspectionJob("model.onnx", "abc")


def test_findings_come_back_as_they_were_put(tmp_path):
    FindingsCache(tmp_path / "deep" / "cache").put("k", FOUND)

    assert FindingsCache(tmp_path / "deep" / "cache").get("k") == FOUND
    assert FindingsCache(tmp_path / "deep" / "cache").get("other") is None


def test_findings_with_an_error_are_not_kept(tmp_path):
    for cache in (FindingsCache(tmp_path), FindingsCache(None)):
        cache.put("k", replace(FOUND, error="no"))
        assert cache.get("k") is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b'{"key": "k"}',
        b'{"key": "k", "findings": {"cost_us": 3}}',
        b"\xff\xfe\x00",
    ],
)
def test_an_entry_that_is_damaged_is_no_entry_and_is_mended(tmp_path, content):
    cache = FindingsCache(tmp_path)
    (tmp_path / "k.json").write_bytes(content)

    assert cache.get("k") is None
    cache.put("k", FOUND)
    assert cache.get("k") == FOUND


def test_an_entry_under_another_key_is_no_entry(tmp_path):
    cache = FindingsCache(tmp_path)
    cache.put("k", FOUND)
    (tmp_path / "k.json").rename(tmp_path / "other.json")

    assert cache.get("other") is None


def test_a_folder_that_cannot_be_written_is_said_once_and_memory_serves(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    cache = FindingsCache(tmp_path / "file" / "cache")

    with caplog.at_level(logging.WARNING):
        cache.put("a", FOUND)
        cache.put("b", FOUND)

    assert (cache.get("a"), cache.get("b")) == (FOUND, FOUND)
    assert len(caplog.records) == 1
    assert "stay in memory" in caplog.text
    assert repr(cache) == "<FindingsCache in memory, 2 in memory>"


def test_memory_is_bounded_too():
    cache = FindingsCache(None, max_entries=2)
    for key in "abc":
        cache.put(key, FOUND)

    assert [cache.get(key) is not None for key in "abc"] == [False, True, True]


def test_the_longest_unused_entries_go_and_so_do_the_leavings_of_the_dead(tmp_path):
    old = time.time() - 10 * 86400
    older = time.time() - 20 * 86400
    first = FindingsCache(tmp_path)
    for key, used in (("a", older), ("b", older), ("c", old)):
        first.put(key, FOUND)
        os.utime(tmp_path / f"{key}.json", (used, used))
    (tmp_path / ".x.part").write_bytes(b"half")
    os.utime(tmp_path / ".x.part", (old, old))
    assert first.get("b") == FOUND  # and is used by that

    FindingsCache(tmp_path, max_entries=2).put("d", FOUND)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.json", "d.json"]


@pytest.mark.parametrize(
    ("home", "xdg", "expected"),
    [
        ("/home/u", "", "/home/u/.cache/onnx-gateway/inspection"),
        ("/home/u", "/var/c", "/var/c/onnx-gateway/inspection"),
        ("/home/u", "relative", "/home/u/.cache/onnx-gateway/inspection"),
    ],
)
def test_the_folder_is_where_xdg_says(monkeypatch, home, xdg, expected):
    monkeypatch.setenv("HOME", home)
    monkeypatch.setenv("XDG_CACHE_HOME", xdg)

    assert default_cache_dir() == Path(expected)


def test_the_version_is_read_without_importing_onnxruntime():
    assert onnxruntime_version() == onnxruntime.__version__
    assert cpu()


def test_the_key_changes_with_whatever_findings_depend_on(tmp_path):
    sample = tmp_path / "reference.npz"
    raw = tmp_path / "x.raw"
    np.savez(sample, x=np.ones(3))
    raw.write_bytes(b"1234")
    warmed = replace(JOB, warmup=(WarmupInput("x", "FP32", (1,), str(raw)),))
    jobs = [
        JOB,
        replace(JOB, file_hash="abd"),
        replace(JOB, session=SessionPlan(intra_op_threads=2)),
        replace(JOB, session=SessionPlan(options=(("session.disable_prepacking", "1"),))),
        replace(JOB, reference=str(sample)),
        replace(JOB, max_batch_size=8),
        replace(JOB, measure=False),
        replace(JOB, warmup=(WarmupInput("x", "FP32", (1,)),)),
        warmed,
    ]
    keys = [findings_key(job) for job in jobs]
    raw.write_bytes(b"1235")
    np.savez(sample, x=np.zeros(3))
    keys += [findings_key(warmed), findings_key(replace(JOB, reference=str(sample)))]

    assert len(set(keys)) == len(keys)
    assert all(re.fullmatch("[0-9a-f]{64}", key) for key in keys)


def test_the_key_does_not_change_with_place_or_patience(tmp_path):
    for name in ("a.npz", "b.npz"):
        np.savez(tmp_path / name, x=np.ones(3))
    here, there = (replace(JOB, reference=str(tmp_path / name)) for name in ("a.npz", "b.npz"))

    assert findings_key(JOB) == findings_key(replace(JOB, path="elsewhere.onnx", timeout_s=1.0))
    assert findings_key(here) == findings_key(there)
