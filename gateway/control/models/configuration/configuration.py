"""How one model is meant to be served, as far as it is configured.

Read in the main process. `gateway.control.models.configuration.execution_configuration` says how
sections are written.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from gateway.config.option import Option
from gateway.control.models.configuration.bounded_values import Positive, Text
from gateway.control.models.configuration.execution_configuration import (
    Batching,
    Queue,
    SessionOptions,
)
from gateway.control.models.configuration.protection_configuration import Protections
from gateway.control.models.configuration.tensor_configuration import (
    TensorConfiguration,
    WarmupRequest,
)
from gateway.control.models.sources.version_policy import VersionPolicy


class ModelConfiguration(Protections, frozen=True, kw_only=True):
    """The configuration of one model; how it is protected stands in `Protections`."""

    batching: Batching = Batching()
    queue: Queue = Queue()
    instances: Annotated[
        Positive | None,
        Option(
            "batches of one version that run at the same time in one process, at most; at least 1",
            default="`workers.count`, else the cores of the process",
        ),
    ] = None
    versions: Annotated[
        VersionPolicy | None,
        Option(
            "which are live: `latest`, `latest 2`, `all`, or a list such as `[1, 3]`",
            default="`latest` (one)",
        ),
    ] = None
    allow_interface_change: Annotated[
        bool | None,
        Option(
            "a new version may have other inputs and outputs than the live one; else it is refused "
            "at the swap, and the live one stays",
            default="false",
        ),
    ] = None
    model_filename: Annotated[
        Text | None, Option("the model file inside a version's folder", default="`model.onnx`")
    ] = None
    inputs: tuple[TensorConfiguration, ...] = ()
    outputs: tuple[TensorConfiguration, ...] = ()
    session: SessionOptions = SessionOptions()
    warmup: tuple[WarmupRequest, ...] | None = None
    """Requests run before a version is live, besides one of each batch size; None: no others."""
    reference: Annotated[
        Text | None,
        Option(
            ".npz file in the model's folder with one array for each input, rows first; trial "
            "inputs are taken from it",
            default="`reference.npz` if it is there",
        ),
    ] = None
    metadata: Annotated[
        dict[str, str] | None,
        Option("words of your own, shown as `parameters` by ModelConfig", default="none"),
    ] = None


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """The contents of one configuration file."""

    configuration: ModelConfiguration = ModelConfiguration()
    implied: ModelConfiguration = ModelConfiguration()
    """What follows where a key is missing; it yields to what another file sets."""
    warnings: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    skipped: str = ""
    """Why the model is of a kind that is not served; empty where it is."""
