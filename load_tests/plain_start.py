"""What a start costs without a gateway.

It imports grpc, numpy and ONNX Runtime and opens the given models, nothing else.
"""

from __future__ import annotations

import sys

import grpc  # noqa: F401 - its import is what is measured
import numpy as np  # noqa: F401
import onnxruntime as ort

options = ort.SessionOptions()
options.intra_op_num_threads = 1
sessions = [
    ort.InferenceSession(path, options, providers=["CPUExecutionProvider"]) for path in sys.argv[1:]
]
print(f"{len(sessions)} sessions open", flush=True)
