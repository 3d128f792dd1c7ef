"""The configuration of a model's inputs, outputs and warm-up requests.

Read in the main process. `gateway.control.models.configuration.execution_configuration` says how
sections are written.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from gateway.config.option import Option
from gateway.control.models.configuration.bounded_values import NotNegative, Positive, Size, Text

Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16",
    "FP32", "FP64", "BF16", "BYTES"
]  # fmt: skip


class TensorConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration of one input or output; what is not configured comes from the graph."""

    name: Annotated[
        Text,
        Option(
            "the tensor's name in the graph; tensors that are not listed are served as the graph "
            "has them"
        ),
    ]
    datatype: Annotated[
        Datatype | None,
        Option(
            "`FP32`, `INT64`, `BYTES`, ...; another one than the graph's is a fault",
            default="the graph's",
        ),
    ] = None
    shape: Annotated[
        tuple[Size, ...] | None,
        Option(
            "sizes as callers see them, without the batch axis where the version batches; -1 is "
            "free",
            default="the graph's",
        ),
    ] = None
    reshape: Annotated[
        tuple[Size, ...] | None,
        Option(
            "sizes as the graph sees them where they differ from `shape`; as many elements, at "
            "most one -1 in each, without the batch axis",
            default="as `shape`",
        ),
    ] = None
    optional: Annotated[
        bool | None,
        Option(
            "true: a request may leave it out (the graph must have an initialiser for it); "
            "false: it must not",
            default="as the graph",
            only="inputs",
        ),
    ] = None
    format: Annotated[
        Literal["NHWC", "NCHW"] | None,
        Option(
            "`NHWC` or `NCHW`, sent to clients and otherwise without effect",
            default="not told",
            only="inputs",
        ),
    ] = None
    labels: Annotated[
        Text | None,
        Option(
            "file with one class name a line, for `classification`, ModelMetadata and `gateway "
            "infer`",
            default="`labels.txt`, for the only output of two axes whose columns are as many as "
            "its lines; else the names in the model file (ZipMap's, its metadata's, its "
            "classifier's), or `id2label` of a `config.json` beside it",
            only="outputs",
        ),
    ] = None


class WarmupTensor(msgspec.Struct, frozen=True, kw_only=True):
    """One input of a warm-up request."""

    datatype: Annotated[Datatype | None, Option("the input's datatype", default="the input's")] = (
        None
    )
    shape: Annotated[
        tuple[NotNegative, ...] | None,
        Option(
            "sizes without the batch axis", default="the input's, which then must have no free size"
        ),
    ] = None
    data: Annotated[
        Literal["zero", "random"] | None,
        Option("`zero` or `random` (strings: empty ones, either way)", default="`zero`"),
    ] = None
    file: Annotated[
        Text | None,
        Option(
            "file in the model's `warmup` folder with the raw bytes of one row, repeated for "
            "each row",
            default="`data` says",
        ),
    ] = None


class WarmupRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A made-up request that runs before the version is live."""

    name: Annotated[
        str, Option("shown when the request fails", default="its place in the list")
    ] = ""
    batch_size: Annotated[Positive, Option("rows; at least 1")] = 1
    count: Annotated[Positive, Option("times it runs; at least 1")] = 1
    inputs: Annotated[
        dict[str, WarmupTensor],
        Option("by the input's name; required inputs must all be there", default="none"),
    ] = {}
