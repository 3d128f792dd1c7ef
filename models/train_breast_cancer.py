"""Trains the breast cancer model: boosted trees over thirty measurements.

The graph is what scikit-learn's converter writes.
"""

from __future__ import annotations

import numpy as np
import onnx
from model_folder import Model, Version
from numpy.typing import NDArray
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.model_selection import train_test_split

DATA = (
    "Breast Cancer Wisconsin (Diagnostic), W. Wolberg, O. Mangasarian, N. Street and W. Street "
    "(UCI, 1993), CC BY 4.0; shipped in scikit-learn"
)


def train() -> Model:
    """Trains on three quarters of the 569 patients."""
    data = load_breast_cancer()
    features = data.data.astype(np.float32)
    diagnoses = data.target.astype(np.int64)
    train_features, held_features, train_diagnoses, held_diagnoses = train_test_split(
        features, diagnoses, test_size=0.25, stratify=diagnoses, random_state=0
    )
    return Model(
        name="breast_cancer",
        data=DATA,
        versions={
            1: Version("gradient boosted trees", boosted_trees(train_features, train_diagnoses))
        },
        labels=tuple(str(name) for name in data.target_names),
        trained_on={"features": train_features},
        held_out={"features": held_features},
        answers=held_diagnoses,
    )


def boosted_trees(features: NDArray[np.float32], diagnoses: NDArray[np.int64]) -> onnx.ModelProto:
    """Grows a hundred trees of depth three, each on a random four fifths of the patients."""
    fitted = GradientBoostingClassifier(subsample=0.8, random_state=0).fit(features, diagnoses)
    graph: onnx.ModelProto = to_onnx(
        fitted,
        initial_types=[("features", FloatTensorType([None, features.shape[1]]))],
        final_types=[
            ("diagnosis", Int64TensorType([None])),
            ("probabilities", FloatTensorType([None, 2])),
        ],
        options={"zipmap": False},  # a plain tensor of probabilities, not a sequence of maps
        target_opset={"": 17, "ai.onnx.ml": 3},
    )
    # The converter lists the operator sets in the order of a Python set, which
    # changes from process to process.
    in_order = sorted(graph.opset_import, key=lambda entry: str(entry.domain))
    del graph.opset_import[:]
    graph.opset_import.extend(in_order)
    for value in (*graph.graph.input, *graph.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    onnx.checker.check_model(graph, full_check=True)
    return graph
