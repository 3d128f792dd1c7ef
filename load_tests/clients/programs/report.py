"""The task of a client in Python, and what it tells; see `load_tests/clients/task.py`."""

import json
import sys

import numpy as np

TASK = json.load(sys.stdin)
ADDRESS = TASK["address"]
UNKNOWN = TASK["unknown"]
DTYPES = {"FP32": np.float32, "INT64": np.int64, "BYTES": np.object_}


def arrays(model):
    """The inputs of a model; strings as bytes."""
    datatypes = TASK["datatypes"][model]
    return {name: array(values, datatypes[name]) for name, values in TASK["arrays"][model].items()}


def array(values, datatype):
    """An array as Triton's clients take it."""
    if datatype == "BYTES":
        return np.array([value.encode() for value in values], np.object_)
    return np.array(values, DTYPES[datatype])


def words(values):
    """Strings of an array of bytes."""
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def attempt(step, call):
    """Tells what a call gave, or what it raised."""
    try:
        tell(step, **call())
    except Exception as error:  # noqa: BLE001 - each client has errors of its own
        tell(step, failed=f"{type(error).__name__}: {error}"[:400])


def attempt_error(call):
    """Tells the error of a call that asks for a model that is not there."""
    try:
        call()
    except Exception as error:  # noqa: BLE001
        code = getattr(error, "code", None) or getattr(error, "status", None)
        name = str(code() if callable(code) else "NOT_FOUND").rpartition(".")[2]
        details = getattr(error, "details", None)
        text = details() if callable(details) else None
        tell("error", code=name, text=text or str(error))
    else:
        tell("error", failed="there was none")


def tell(step, **what):
    print(json.dumps({"step": step, **what}), flush=True)
