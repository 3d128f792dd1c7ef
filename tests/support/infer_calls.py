"""Requests and answers of the protocol, written and read without the gateway's own codec."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gateway.protocol.generated import inference_pb2 as pb
from tests.support.tensor_bytes import DTYPES, datatype_of, from_raw, raw

_TYPED = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents",
    "INT32": "int_contents", "INT64": "int64_contents", "UINT8": "uint_contents",
    "UINT16": "uint_contents", "UINT32": "uint_contents", "UINT64": "uint64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip


def request(
    model: str,
    feed: Mapping[str, np.ndarray],
    *,
    id: str = "",  # noqa: A002
    version: str = "",
    typed: bool = False,
) -> pb.ModelInferRequest:
    """A ModelInferRequest of these inputs."""
    message = pb.ModelInferRequest(model_name=model, model_version=version, id=id)
    for name, array in feed.items():
        datatype = datatype_of(array)
        tensor = message.inputs.add(name=name, datatype=datatype, shape=array.shape)
        if not typed:
            message.raw_input_contents.append(raw(array))
            continue
        tensor.contents.SetInParent()
        elements = array.ravel().tolist()
        if datatype == "BYTES":
            elements = [
                element if isinstance(element, bytes) else str(element).encode()
                for element in elements
            ]
        getattr(tensor.contents, _TYPED[datatype]).extend(elements)
    return message


def outputs(response: pb.ModelInferResponse) -> dict[str, np.ndarray]:
    """The tensors of an answer, from raw or typed contents.

    It is an error if an answer has both, or too few.
    """
    raw_entries = list(response.raw_output_contents)
    assert not raw_entries or len(raw_entries) == len(response.outputs), "one raw entry an output"
    found = {}
    for index, tensor in enumerate(response.outputs):
        shape = tuple(tensor.shape)
        if raw_entries:
            assert not tensor.HasField("contents"), f"'{tensor.name}' came raw and typed"
            found[tensor.name] = from_raw(raw_entries[index], tensor.datatype, shape)
        else:
            elements = list(getattr(tensor.contents, _TYPED[tensor.datatype]))
            found[tensor.name] = np.array(elements, DTYPES[tensor.datatype]).reshape(shape)
    return found
