"""What every client is asked to do, and what is right.

A client writes one JSON object a line: its `step`, and one of

    response    the gateway's answer as protobuf's JSON has it
    names       of inputs and outputs, where it shows no more
    values      of the output, where it decodes them itself
    statuses    of calls whose answers it does not show, and how many had each
    ready       whether it calls the gateway ready
    text        of the error, with `code` where it tells the status
    none        why it has no such call
    failed      what it raised instead
"""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

STEPS = ("metadata", "config", "health", "numbers", "strings", "error")
MODELS = Path(__file__).resolve().parents[2] / "models"
ROWS = 3
UNKNOWN = "nobody"
"""The name of a model that is not there."""
NUMBERS = {"image": "FP32"}
STRINGS = {
    "species": "BYTES",
    "island": "BYTES",
    "bill_length_mm": "FP32",
    "bill_depth_mm": "FP32",
    "flipper_length_mm": "INT64",
    "body_mass_g": "INT64",
}
OUTPUTS = {"numbers": "digit", "strings": "sex"}
NAMES = {"inputs": ["image"], "outputs": ["digit", "probabilities"]}
"""Of the model `digits`, sorted."""
_CONTENTS = {"FP32": "fp32Contents", "INT64": "int64Contents", "BYTES": "bytesContents"}
_DTYPES = {"FP32": "float32", "INT64": "int64", "BYTES": "object"}
RIGHT = "ok"
WRONG = "WRONG"
NOT_OFFERED = "-"


@dataclass(frozen=True)
class Outcome:
    """How a step went: `mark` is RIGHT, WRONG or NOT_OFFERED; `text` says why."""

    mark: str
    text: str = ""


class Task:
    """The requests, and the answers that ONNX Runtime alone gives to them."""

    def __init__(self) -> None:
        digits = _samples("digits")
        penguins = _samples("penguins")
        self.arrays = {"digits": digits, "penguins": penguins}
        self.expected = {
            "numbers": _run("digits/2", digits, NUMBERS, OUTPUTS["numbers"]),
            "strings": _run("penguins/1", penguins, STRINGS, OUTPUTS["strings"]),
        }

    def text(self, address: str) -> str:
        """All that a client is given, as JSON."""
        requests = {
            "numbers": _request("digits", self.arrays["digits"], NUMBERS, OUTPUTS["numbers"]),
            "strings": _request("penguins", self.arrays["penguins"], STRINGS, OUTPUTS["strings"]),
        }
        return json.dumps(
            {
                "address": address,
                "requests": requests,
                "arrays": self.arrays,
                "datatypes": {"digits": NUMBERS, "penguins": STRINGS},
                "unknown": UNKNOWN,
            }
        )

    def judge(self, lines: str) -> dict[str, Outcome]:
        """The outcome of each step; those that were not told are wrong."""
        found = {step: Outcome(WRONG, "nothing was told of it") for step in STEPS}
        for line in lines.splitlines():
            if line.startswith('{"step"'):
                told = json.loads(line)
                found[told["step"]] = self._outcome(told)
        return found

    def _outcome(self, told: dict[str, Any]) -> Outcome:
        if "none" in told:
            return Outcome(NOT_OFFERED, told["none"])
        if "failed" in told:
            return Outcome(WRONG, told["failed"])
        try:
            fault = self._fault(told)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            fault = f"cannot be read ({error!r}): {json.dumps(told)[:200]}"
        return Outcome(WRONG, fault) if fault else Outcome(RIGHT)

    def _fault(self, told: dict[str, Any]) -> str:
        """What is wrong with what a client told; empty: nothing."""
        step = told["step"]
        if "statuses" in told:
            return "" if list(told["statuses"]) == ["OK"] else f"got {told['statuses']}"
        if step in self.expected:
            got: Any = told["values"] if "values" in told else decode(told["response"])
            wanted: Any = self.expected[step]
        elif step == "health":
            got = told.get("ready")
            wanted = True
        elif step == "error":
            return _fault_of_error(told)
        else:
            got = told["names"] if "names" in told else _names(told["response"])
            got = {kind: sorted(names) for kind, names in got.items()}
            wanted = NAMES
        return "" if got == wanted else f"expected {wanted}, got {got}"


def _fault_of_error(told: dict[str, Any]) -> str:
    code = told.get("code", "NOT_FOUND").upper().replace("_", "")
    if code != "NOTFOUND":
        return f"expected NOT_FOUND, got {told['code']}: {told['text']}"
    return "" if UNKNOWN in told["text"] else f"the model's name is not in {told['text']!r}"


def decode(response: dict[str, Any]) -> list[Any]:
    """The values of the one output of a ModelInferResponse in protobuf's JSON, of either naming."""
    (output,) = response["outputs"]
    contents = response.get("rawOutputContents") or response["raw_output_contents"]
    (raw,) = (base64.b64decode(each) for each in contents)
    if output["datatype"] != "BYTES":
        numbers: list[Any] = np.frombuffer(raw, _DTYPES[output["datatype"]]).tolist()
        return numbers
    found = []
    while raw:
        (length,) = struct.unpack_from("<I", raw)
        found.append(raw[4 : 4 + length].decode())
        raw = raw[4 + length :]
    return found


def _names(response: dict[str, Any]) -> dict[str, list[str]]:
    """Names of tensors in a ModelMetadataResponse, or in a ModelConfigResponse."""
    if "config" not in response:
        return {
            kind: [tensor["name"] for tensor in response[kind]] for kind in ("inputs", "outputs")
        }
    config = response["config"]
    return {
        kind: [tensor["name"] for tensor in config[kind[:-1]]] for kind in ("inputs", "outputs")
    }


def _samples(model: str) -> dict[str, list[Any]]:
    inputs = json.loads((MODELS / model / "samples.json").read_text())["inputs"]
    return {name: values[:ROWS] for name, values in inputs.items()}


def _run(
    version: str, arrays: dict[str, list[Any]], datatypes: dict[str, str], output: str
) -> list[Any]:
    session = onnxruntime.InferenceSession(MODELS / version / "model.onnx")
    feed = {name: np.array(arrays[name], _DTYPES[datatypes[name]]) for name in datatypes}
    values: list[Any] = session.run([output], feed)[0].tolist()
    return values


def _request(
    model: str, arrays: dict[str, list[Any]], datatypes: dict[str, str], output: str
) -> dict[str, Any]:
    """A ModelInferRequest in protobuf's JSON, with typed contents."""
    return {
        "modelName": model,
        "inputs": [
            {
                "name": name,
                "datatype": datatype,
                "shape": [str(n) for n in np.shape(arrays[name])],
                "contents": {_CONTENTS[datatype]: _contents(arrays[name], datatype)},
            }
            for name, datatype in datatypes.items()
        ],
        "outputs": [{"name": output}],
    }


def _contents(values: list[Any], datatype: str) -> list[Any]:
    if datatype == "BYTES":
        return [base64.b64encode(value.encode()).decode() for value in values]
    flat = np.ravel(np.array(values, _DTYPES[datatype])).tolist()
    return [str(value) for value in flat] if datatype == "INT64" else flat
