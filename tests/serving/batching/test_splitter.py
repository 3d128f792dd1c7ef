"""Requests of more rows than a batch holds run in parts and come back whole."""

import asyncio
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import ModelFailed
from gateway.core.predictor import Description
from gateway.core.request import InferenceRequest, Prediction, RequestForm
from gateway.serving.batching.splitter import Splitter


class Echo:
    def __init__(self, fails_at=None):
        self.rows = []
        self._fails_at = fails_at

    async def predict(self, request):
        await asyncio.sleep(0)
        self.rows.append(request.form.rows)
        if len(self.rows) == self._fails_at:
            raise ModelFailed("no")
        return Prediction((request.inputs[0], request.inputs[1] * 2))

    def describe(self):
        return Description("Echo")


def request(rows):
    form = RequestForm(
        names=("a", "b"), key=("k",), rows=rows, input_bytes=100, outputs=(0, 1), parameters={}
    )
    arrays = (np.arange(rows * 2).reshape(rows, 2), np.arange(rows))
    return InferenceRequest(form, arrays, 0.0, math.inf, "id")


@given(st.integers(0, 50), st.integers(1, 9))
def test_the_parts_fit_and_together_they_are_the_whole(rows, most):
    inner = Echo()
    answer = asyncio.run(Splitter(inner, most).predict(request(rows)))
    assert max(inner.rows) <= most
    assert sum(inner.rows) == rows
    assert np.array_equal(answer.outputs[0], request(rows).inputs[0])
    assert np.array_equal(answer.outputs[1], request(rows).inputs[1] * 2)


def test_a_part_that_fails_fails_the_request():
    with pytest.raises(ModelFailed):
        asyncio.run(Splitter(Echo(fails_at=2), 2).predict(request(9)))


def test_the_tree_shows_what_is_inside():
    assert Splitter(Echo(), 4).describe().lines() == [
        "Split  more than 4 rows run in parts",
        "  Echo",
    ]
