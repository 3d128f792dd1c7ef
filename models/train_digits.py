"""Trains the digits model on handwritten digits.

A linear model (version 1) and a small network (version 2) answer the same question.
"""

from __future__ import annotations

import warnings

import numpy as np
import onnx
from model_folder import Model, Version, assemble
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

DATA = (
    "Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak (UCI, 1998), CC "
    "BY 4.0; shipped in scikit-learn"
)
WHITE = 16.0  # a pixel counts the inked dots of a 4 x 4 square

HEADER = '<ir_version: 8, opset_import: ["" : 17]>'
SIGNATURE = "digits (float[N, 8, 8] image) => (float[N, 10] probabilities, int64[N] digit)"

SOFTMAX_REGRESSION = f"""{HEADER}
{SIGNATURE} {{
    dots = Flatten (image)
    pixels = Div (dots, white)
    logits = Gemm <transB = 1> (pixels, weights, bias)
    probabilities = Softmax <axis = -1> (logits)
    digit = ArgMax <axis = 1, keepdims = 0> (probabilities)
}}"""

NETWORK = f"""{HEADER}
{SIGNATURE} {{
    dots = Flatten (image)
    pixels = Div (dots, white)
    before = Gemm (pixels, hidden_weights, hidden_bias)
    hidden = Relu (before)
    logits = Gemm (hidden, weights, bias)
    probabilities = Softmax <axis = -1> (logits)
    digit = ArgMax <axis = 1, keepdims = 0> (probabilities)
}}"""


def train() -> Model:
    """Trains both versions on three quarters of the 1797 images."""
    flat, digits = load_digits(return_X_y=True)
    images = flat.reshape(-1, 8, 8).astype(np.float32)
    train_images, held_images, train_digits, held_digits = train_test_split(
        images, digits.astype(np.int64), test_size=0.25, stratify=digits, random_state=0
    )
    return Model(
        name="digits",
        data=DATA,
        versions={
            1: Version("softmax regression", softmax_regression(train_images, train_digits)),
            2: Version("network with one hidden layer of 256", network(train_images, train_digits)),
        },
        labels=tuple("0123456789"),
        trained_on={"image": train_images},
        held_out={"image": held_images},
        answers=held_digits,
    )


def softmax_regression(images: NDArray[np.float32], digits: NDArray[np.int64]) -> onnx.ModelProto:
    """Trains a linear model of the 64 pixels."""
    fitted = LogisticRegression(C=10, max_iter=1000).fit(_pixels(images), digits)
    return assemble(
        SOFTMAX_REGRESSION, white=np.array(WHITE), weights=fitted.coef_, bias=fitted.intercept_
    )


def network(images: NDArray[np.float32], digits: NDArray[np.int64]) -> onnx.ModelProto:
    """Trains a network that also saw every image moved by one pixel each way.

    The linear model errs most where a digit is not in the middle.
    """
    moved = _moved(images)
    fitted = MLPClassifier((256,), alpha=0.01, max_iter=60, n_iter_no_change=60, random_state=0)
    with warnings.catch_warnings():
        # sixty passes are meant to be all, since more of them gain nothing
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted.fit(_pixels(moved), np.tile(digits, len(moved) // len(images)))
    hidden_weights, weights = fitted.coefs_
    hidden_bias, bias = fitted.intercepts_
    return assemble(
        NETWORK,
        white=np.array(WHITE),
        hidden_weights=hidden_weights,
        hidden_bias=hidden_bias,
        weights=weights,
        bias=bias,
    )


def _pixels(images: NDArray[np.float32]) -> NDArray[np.float64]:
    return images.reshape(len(images), -1).astype(np.float64) / WHITE


def _moved(images: NDArray[np.float32]) -> NDArray[np.float32]:
    framed = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    corners = ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))
    return np.concatenate([framed[:, top : top + 8, left : left + 8] for top, left in corners])
