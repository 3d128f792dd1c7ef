"""What is known of a version before it serves: its findings and its plan.

`Findings` say what its graph and its trial runs showed. The inspection process makes them once per
file, and they are cached by the file's hash. The main process makes a `VersionPlan` from the
findings and the configuration; it is all that a serving process needs to bring a version up. Both
are frozen, made of plain values, and travel pickled.
"""

from __future__ import annotations

import msgspec

from gateway.core.protection import ProtectionPlan

Key = tuple[str, int]
"""Model and version."""


class GraphTensor(msgspec.Struct, frozen=True):
    """An input or output as the graph declares it."""

    name: str
    onnx_type: str
    """ONNX Runtime's text, `tensor(float)`."""
    shape: tuple[int | str | None, ...]
    """Sizes; a str is a symbolic name, None an unnamed free size."""
    optional: bool = False
    """An input with an initialiser, which a request may leave out."""


class Findings(msgspec.Struct, frozen=True):
    """What inspecting one model file showed."""

    error: str = ""
    """Why the file cannot be served; empty where it can."""
    inputs: tuple[GraphTensor, ...] = ()
    outputs: tuple[GraphTensor, ...] = ()
    batchable: bool = False
    """Rows answered together equal rows answered apart (see `evidence`)."""
    evidence: str = ""
    """One sentence: what was tried and what it showed."""
    cost_us: dict[int, float] = msgspec.field(default_factory=dict)
    """Median wall time of a run, microseconds.

    By batch size (1, 2, 4, ...; {1: ...} where it does not batch); empty: no run succeeded.
    """
    memory_bytes: int = 0
    """What one open session added to the inspecting process."""
    warnings: tuple[str, ...] = ()
    cut_zipmap: bool = False
    """Outputs are what ZipMap would have made dictionaries of (`gateway.onnx.zipmap`)."""
    labels: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """Class names that the file has, by the output whose columns they are."""
    columns: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """Names that the file has for the columns of an input, by its name."""


class TensorSpec(msgspec.Struct, frozen=True):
    """An input or output as callers see it."""

    name: str
    datatype: str
    """The protocol's name: FP32, BYTES, ..."""
    shape: tuple[int, ...]
    """Sizes with the batch axis first where the version batches; -1 is free."""
    optional: bool = False
    model_shape: tuple[int, ...] | None = None
    """The shape the graph wants where configuration reshapes; None: as `shape`.

    With the batch axis; at most one -1 besides it.
    """
    labels: tuple[str, ...] = ()
    """An output's class names, by index of its last axis; for `classification` and people."""
    columns: tuple[str, ...] = ()
    """An input's names of columns, by index of its last axis; empty: they are not known."""


class QueuePlan(msgspec.Struct, frozen=True):
    """How requests of one version wait."""

    max_requests: int = 4096
    """Requests that may wait; one more is refused."""
    max_bytes: int = 512 << 20
    """Bytes of input that may wait; more is refused (a lone request is always let in)."""
    default_timeout_s: float = 0.0
    """Longest wait for a request that names none; 0: without end."""
    allow_timeout_override: bool = False
    """A request's own `timeout` parameter counts (it may only shorten).

    Ignored by default, as Triton does: clients send seconds or worse in it.
    """
    priority_levels: int = 0
    """Levels a request may ask for, 1 being served first.

    0: one level, the parameter is ignored.
    """
    default_priority: int = 0
    """Level of a request that asks for none; 0 with levels: the lowest."""


class BatchingPlan(msgspec.Struct, frozen=True):
    """How requests of one version travel together."""

    max_batch_size: int = 0
    """Rows in a batch at most; 0: the version has no batch axis and each request runs alone."""
    dynamic: bool = True
    """Requests share a run.

    False: each runs alone, of up to max_batch_size rows (useful_batch_size is 1 and nothing is
    waited for).
    """
    splits: bool = False
    """A request of more rows is run in parts instead of being refused.

    Versions batched without configuration.
    """
    useful_batch_size: int = 0
    """Rows worth putting together, 1..max_batch_size; by the cost curve where it knows.

    0 where max_batch_size is 0.
    """
    max_queue_delay_s: float = 0.0
    """How long a batch may wait for company; 0: goes as soon as a worker is free."""
    preferred_batch_sizes: tuple[int, ...] = ()
    """A batch of one of these sizes does not wait for more."""
    pad_to: tuple[int, ...] = ()
    """Ascending batch sizes a batch is padded up to.

    For models that are slow on sizes they have not met; empty: never.
    """
    loop_batch_size: int = 0
    """Batches up to this many rows cost under 50 us and run on the event loop; 0: none does.

    Where max_batch_size is 0, requests are counted.
    """
    reason: str = ""
    """One sentence: why it is batched this way."""


class SessionPlan(msgspec.Struct, frozen=True):
    """How ONNX Runtime opens and runs a version."""

    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    intra_op_threads: int = 1
    """Threads inside a run; 1: the calling thread alone."""
    inter_op_threads: int = 1
    spinning: bool = False
    """Idle intra-op threads spin: quicker alone, ruinous beside others."""
    parallel: bool = False
    """Branches of the graph run side by side, on the inter-op threads."""
    graph_optimization: str = "all"
    """How far the graph is rewritten before it runs: `all`, `extended`, `basic` or `disabled`."""
    memory_arena: bool = True
    """Memory of a run is kept for the next."""
    memory_pattern: bool = True
    """Memory is laid out after the first run's shapes."""
    options: tuple[tuple[str, str], ...] = ()
    """Configuration entries of the session and of its runs, passed on by name."""
    cut_zipmap: bool = False
    """The graph's outputs come from ZipMap, which is cut off when the file is opened."""


class WarmupInput(msgspec.Struct, frozen=True):
    """One input of a configured warm-up."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    """Without the batch axis."""
    source: str = "zero"
    """`zero`, `random`, or the path of a file with the raw tensor of one row.

    The file has raw contents' form; its row is repeated for each row.
    """
    rows: int = 1
    """Size of the batch axis, the same for all inputs of a request.

    Without meaning where the version has none.
    """


class VersionPlan(msgspec.Struct, frozen=True):
    """All a serving process needs to bring one version up."""

    model: str
    version: int
    path: str
    """The model file, absolute."""
    fingerprint: str
    """Hash over the file, what it refers to and the configuration: equal means nothing to do."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batching: BatchingPlan = BatchingPlan()
    queue: QueuePlan = QueuePlan()
    session: SessionPlan = SessionPlan()
    instances: int = 1
    """Batches of this version that run at the same time in one process, at most."""
    protection: ProtectionPlan = msgspec.field(default_factory=ProtectionPlan)
    cost_us: tuple[tuple[int, float], ...] = ()
    """Wall time of a run by rows, ascending, as inspection measured it; empty: not known."""
    warmup_batch_sizes: tuple[int, ...] = (1,)
    """Batch sizes run before the version is live."""
    warmup_inputs: tuple[tuple[WarmupInput, ...], ...] = ()
    """Configured warm-up requests, run besides."""
    reference: str = ""
    """Path of a reference sample (.npz) that trial inputs are taken from; empty: there is none."""
    model_config: bytes = b""
    """Serialised `inference.ModelConfig`, as the ModelConfig call answers it."""
    statistics_row: int = -1
    """Row of the shared statistics table; -1: none yet (the control side assigns it)."""
    warnings: tuple[str, ...] = ()
    digest: str = ""
    """SHA-256 (hexadecimal) of the model file, with its external data where it has some."""
    allow_interface_change: bool = False
    """It may replace a version that has other inputs and outputs."""

    @property
    def key(self) -> tuple[str, int]:
        """Model and version."""
        return self.model, self.version
