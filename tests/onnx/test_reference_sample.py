"""Reference samples are fitted to the graph, and what does not fit is reported."""

from __future__ import annotations

import struct

import ml_dtypes
import numpy as np
import pytest

from gateway.core.datatypes import numpy_dtype
from gateway.core.plan import WarmupInput
from gateway.onnx.reference_sample import load_reference, reference_of_warmup
from gateway.onnx.samples import SampleTensor


def loaded(tmp_path, tensor, **arrays):
    np.savez(tmp_path / "reference.npz", **arrays)
    return load_reference(str(tmp_path / "reference.npz"), [tensor])


@pytest.mark.parametrize(
    ("datatype", "stored"),
    [
        ("FP32", np.arange(6.0).reshape(2, 3)),
        ("INT64", np.arange(6, dtype=np.int16).reshape(2, 3)),
        ("FP16", np.ones((2, 3), np.float32)),
        ("BF16", np.ones((2, 3), np.float32)),
        ("BF16", np.ones((2, 3), ml_dtypes.bfloat16)),
        ("BOOL", np.array([[0, 1, 1]])),
        ("INT32", np.array([1.0, 2.0, 3.0])),
    ],
)
def test_arrays_take_the_graphs_datatype_and_rank(tmp_path, datatype, stored):
    arrays, faults = loaded(
        tmp_path, SampleTensor("x", datatype, ("N", 3)), x=stored, label=np.ones(2)
    )

    assert faults == ()
    assert arrays["x"].dtype == numpy_dtype(datatype)
    assert arrays["x"].shape == (stored.shape if stored.ndim == 2 else (1, 3))
    assert (
        arrays["x"].astype(np.float64).ravel().tolist()
        == stored.astype(np.float64).ravel().tolist()
    )


@pytest.mark.parametrize(
    "stored", [np.array([["grün"], ["b"]]), np.array([["grün".encode()], [b"b"]])]
)
def test_text_is_text_however_numpy_stores_it(tmp_path, stored):
    arrays, faults = loaded(tmp_path, SampleTensor("x", "BYTES", ("N", 1)), x=stored)

    assert faults == ()
    assert arrays["x"].tolist() == [["grün"], ["b"]]
    assert arrays["x"].dtype == object


@pytest.mark.parametrize(
    ("datatype", "stored", "fault"),
    [
        (
            "FP32",
            np.ones((2, 4)),
            "the reference sample's 'x' is not used: axis 1 has size 4, the model's input has 3",
        ),
        (
            "FP32",
            np.ones((2, 3, 1, 1)),
            "the reference sample's 'x' is not used: it has rank 4, the model's input has rank 2",
        ),
        ("FP32", np.ones((0, 3)), "the reference sample's 'x' is not used: it has no rows"),
        (
            "INT32",
            np.full((1, 3), 0.5),
            "the reference sample's 'x' is not used: it holds float64 values that INT32 cannot",
        ),
        (
            "UINT8",
            np.full((1, 3), 300),
            "the reference sample's 'x' is not used: it holds int64 values that UINT8 cannot",
        ),
        (
            "FP32",
            np.full((1, 3), "a"),
            "the reference sample's 'x' is not used: it holds <U1, the model's input is FP32",
        ),
        (
            "BYTES",
            np.ones((1, 3)),
            (
                "the reference sample's 'x' is not used: it holds float64, the "
                "model's input is BYTES; store text"
            ),
        ),
    ],
)
def test_what_does_not_fit_is_left_out_and_said(tmp_path, datatype, stored, fault):
    assert loaded(tmp_path, SampleTensor("x", datatype, ("N", 3)), x=stored) == ({}, (fault,))


def test_a_file_that_names_no_input_or_is_none_is_said(tmp_path):
    tensor = SampleTensor("x", "FP32", ("N", 3))
    np.save(tmp_path / "single.npy", np.ones(3))
    (tmp_path / "text.npz").write_text("no")
    np.savez(tmp_path / "pickled.npz", x=np.array([{}], object))

    assert loaded(tmp_path, tensor, y=np.ones(3))[1] == (
        (
            "the reference sample reference.npz is not used: it names none of "
            "the model's inputs (it has y)"
        ),
    )
    for name in ("single.npy", "text.npz", "pickled.npz", "missing.npz"):
        arrays, faults = load_reference(str(tmp_path / name), [tensor])
        assert arrays == {}
        assert len(faults) == 1
        assert faults[0].startswith(f"the reference sample {name} is not used: ")


def test_a_configured_warm_up_is_a_sample_of_one_row(tmp_path):
    (tmp_path / "ids").write_bytes(struct.pack("<3q", 7, 8, 9))
    (tmp_path / "words").write_bytes(struct.pack("<I", 2) + b"ab")
    warmup = [
        WarmupInput("ids", "INT64", (3,), str(tmp_path / "ids")),
        WarmupInput("words", "BYTES", (1,), str(tmp_path / "words")),
        WarmupInput("zero", "FP32", (2, 2)),
        WarmupInput("random", "INT64", (40,), "random"),
    ]
    inputs = [
        SampleTensor("ids", "INT64", ("N", "length")),
        SampleTensor("words", "BYTES", ("N", 1)),
        SampleTensor("zero", "FP32", ("N", None, None)),
        SampleTensor("random", "INT64", ("N", None)),
    ]

    arrays, faults = reference_of_warmup(warmup, inputs)

    assert faults == ()
    assert arrays["ids"].tolist() == [[7, 8, 9]]
    assert arrays["words"].tolist() == [["ab"]]
    assert arrays["zero"].shape == (1, 2, 2)
    assert set(arrays["random"].ravel().tolist()) == {0, 1}


def test_a_configured_warm_up_that_does_not_fit_is_said(tmp_path):
    (tmp_path / "short").write_bytes(b"123")
    (tmp_path / "words").write_bytes(struct.pack("<I", 9) + b"ab")
    inputs = [SampleTensor("x", "FP32", ("N", 3)), SampleTensor("words", "BYTES", ("N", 1))]

    def fault(entry):
        arrays, faults = reference_of_warmup([entry], inputs)
        assert arrays == {}
        return faults[0]

    assert (
        fault(WarmupInput("y", "FP32", (3,)))
        == "the warm-up's 'y' is not used: the model has no such input"
    )
    assert fault(WarmupInput("x", "FP32", (3,), str(tmp_path / "short"))).endswith(
        "short has 3 bytes, shape [3] of FP32 takes 12"
    )
    assert fault(WarmupInput("words", "BYTES", (1,), str(tmp_path / "words"))).startswith(
        "the warm-up's 'words' is not used: incomplete"
    )
    assert fault(WarmupInput("x", "FP32", (3,), str(tmp_path / "none"))).startswith(
        "the warm-up's 'x' is not used: "
    )
