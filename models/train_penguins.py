"""Trains the penguins model: six inputs of three types, and a string as the answer.

Two of the inputs are strings as well.
"""

from __future__ import annotations

import csv
import importlib.metadata
import json

import numpy as np
import onnx
from model_folder import Model, Rows, Version, assemble, take
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

DATA = (
    "Palmer penguins, K. Gorman, T. Williams and W. Fraser (PLoS ONE 9(3): e90081, "
    "2014), CC0; shipped in palmerpenguins"
)

SEXES = ("female", "male")
CATEGORIES = {
    "species": ("Adelie", "Chinstrap", "Gentoo"),
    "island": ("Biscoe", "Dream", "Torgersen"),
}
MEASURES: dict[str, type[np.generic]] = {
    "bill_length_mm": np.float32,
    "bill_depth_mm": np.float32,
    "flipper_length_mm": np.int64,
    "body_mass_g": np.int64,
}

# zeros = 1: a species or an island never seen is answered from the measures alone, not refused.
REGRESSION = f"""<ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 3]>
penguins (string[N] species, string[N] island, float[N] bill_length_mm, float[N] bill_depth_mm, \
int64[N] flipper_length_mm, int64[N] body_mass_g)
    => (float[N, 2] probabilities, string[N] sex) {{
    is_species = ai.onnx.ml.OneHotEncoder <cats_strings = {json.dumps(CATEGORIES["species"])}, \
zeros = 1> (species)
    is_island = ai.onnx.ml.OneHotEncoder <cats_strings = {json.dumps(CATEGORIES["island"])}, zeros \
= 1> (island)
    flipper_mm = Cast <to = 1> (flipper_length_mm)
    mass_g = Cast <to = 1> (body_mass_g)
    bill_length = Unsqueeze (bill_length_mm, last)
    bill_depth = Unsqueeze (bill_depth_mm, last)
    flipper = Unsqueeze (flipper_mm, last)
    mass = Unsqueeze (mass_g, last)
    measures = Concat <axis = 1> (bill_length, bill_depth, flipper, mass)
    centred = Sub (measures, mean)
    scaled = Div (centred, deviation)
    row = Concat <axis = 1> (is_species, is_island, scaled)
    logits = Gemm <transB = 1> (row, weights, bias)
    probabilities = Softmax <axis = -1> (logits)
    index = ArgMax <axis = 1, keepdims = 0> (probabilities)
    sex = Gather (sexes, index)
}}"""


def train() -> Model:
    """Trains on seven tenths of the 333 penguins whose sex is known."""
    penguins, sexes = load_penguins()
    chosen, held = train_test_split(
        np.arange(len(sexes)), test_size=0.3, stratify=sexes, random_state=0
    )
    return Model(
        name="penguins",
        data=DATA,
        versions={
            1: Version("logistic regression", regression(take(penguins, chosen), sexes[chosen]))
        },
        labels=SEXES,
        trained_on=take(penguins, chosen),
        held_out=take(penguins, held),
        answers=sexes[held],
    )


def load_penguins() -> tuple[Rows, NDArray[np.int64]]:
    """The penguins that were weighed, measured and sexed, and the sex as an index into `SEXES`."""
    table = importlib.metadata.distribution("palmerpenguins").locate_file(
        "palmerpenguins/data/penguins.csv"
    )
    # locate_file promises no pathlib.Path
    with open(str(table), encoding="utf-8", newline="") as file:  # noqa: PTH123
        known = [row for row in csv.DictReader(file) if "NA" not in row.values()]
    penguins = {name: np.array([row[name] for row in known]) for name in CATEGORIES}
    penguins |= {
        name: np.array([float(row[name]) for row in known]).astype(dtype)
        for name, dtype in MEASURES.items()
    }
    return penguins, np.array([SEXES.index(row["sex"]) for row in known], dtype=np.int64)


def regression(penguins: Rows, sexes: NDArray[np.int64]) -> onnx.ModelProto:
    """Trains a linear model of which species, which island and four standardised measures."""
    measures = np.stack([penguins[name].astype(np.float64) for name in MEASURES], axis=1)
    mean = measures.mean(axis=0)
    deviation = measures.std(axis=0)
    is_category = [
        penguins[name][:, np.newaxis] == np.array(seen) for name, seen in CATEGORIES.items()
    ]
    fitted = LogisticRegression(C=10, max_iter=1000).fit(
        np.hstack([*is_category, (measures - mean) / deviation]), sexes
    )
    return assemble(
        REGRESSION,
        last=np.array([1]),
        mean=mean,
        deviation=deviation,
        # softmax over (0, z) is the sigmoid of z
        weights=np.vstack([np.zeros_like(fitted.coef_), fitted.coef_]),
        bias=np.concatenate([[0.0], fitted.intercept_]),
        sexes=np.array(SEXES, dtype=object),
    )
