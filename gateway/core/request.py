"""One request and its answer, as everything between the wire and the workers sees them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Parameter = bool | int | float | str


class RequestForm:
    """What requests of one kind have in common: names, shapes, datatypes, options. It is shared, so it never changes.

    `names`: the inputs present, in the order of the signature; `key`: equal for requests that may share a batch (names, datatypes, shapes
    without the batch axis); `rows`: length of the batch axis, 1 where the version has none; `input_bytes`: size of the raw inputs.
    `outputs`: indexes into the signature's outputs that are answered, in the order asked for.
    """

    __slots__ = ("input_bytes", "key", "names", "outputs", "parameters", "priority", "rows", "timeout_s")

    def __init__(
        self,
        *,
        names: tuple[str, ...],
        key: tuple[object, ...],
        rows: int,
        input_bytes: int,
        outputs: tuple[int, ...],
        parameters: Mapping[str, Parameter],
        priority: int = 0,
        timeout_s: float = 0.0,
    ) -> None:
        self.names, self.key, self.rows, self.input_bytes = names, key, rows, input_bytes
        self.outputs, self.parameters, self.priority, self.timeout_s = outputs, parameters, priority, timeout_s


class InferenceRequest:
    """One request: arrays in the order of `form.names`, and when it must be answered.

    `arrived` and `deadline` are seconds of the monotonic clock (`time.monotonic`); a deadline of infinity means none.
    `inputs` may be views of the received message: read-only, and alive as long as the request is.
    """

    __slots__ = ("arrived", "deadline", "form", "id", "inputs")

    def __init__(self, form: RequestForm, inputs: tuple[Array, ...], arrived: float, deadline: float = math.inf, id: str = "") -> None:  # noqa: A002
        self.form, self.inputs, self.arrived, self.deadline, self.id = form, inputs, arrived, deadline, id

    def __repr__(self) -> str:
        shapes = ", ".join(f"{n}{list(a.shape)}" for n, a in zip(self.form.names, self.inputs, strict=True))
        return f"<InferenceRequest {self.id!r} {shapes}>"


class Prediction:
    """The answer: one array for each index in the request's `form.outputs`, in that order."""

    __slots__ = ("outputs", "parameters")

    def __init__(self, outputs: tuple[Array, ...], parameters: Mapping[str, Parameter] | None = None) -> None:
        self.outputs, self.parameters = outputs, parameters
