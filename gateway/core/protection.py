"""How one version is protected: what its configuration comes to.

The main process makes it and the serving processes follow it. It is frozen, of plain values, and
travels pickled inside a `VersionPlan`.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class BreakerPlan(msgspec.Struct, frozen=True):
    """When a version, or an instance of it, is no longer asked, and when it is tried again."""

    enabled: bool = True
    consecutive_failures: int = 5
    """Batches that fail one after the other until it opens; 0: however many."""
    failure_rate: float = 0.5
    """Share of the batches in the window that opens it, once there are `minimum_batches`.

    0: no share does.
    """
    window_s: float = 30.0
    minimum_batches: int = 20
    """Batches in the window below which no rate is judged."""
    reset_timeout_s: float = 5.0
    """Time it stays open before one request is let through as a probe."""
    slow_call_s: float = 0.0
    """A run that takes longer counts as a failure; 0: none does."""


class RetryPlan(msgspec.Struct, frozen=True):
    """What becomes of a batch whose instance failed under it."""

    attempts: int = 2
    """Runs in all; 1: none is repeated."""
    budget: float = 0.2
    """Repeated runs as a share of first ones.

    So that retries cannot overload the model themselves.
    """
    budget_floor: int = 10
    """Repeated runs a second that may be made whatever the share says.

    Finagle's and Envoy's budgets have such a floor too.
    """


class FallbackLink(msgspec.Struct, frozen=True):
    """One thing to try when the version cannot answer.

    Exactly one of `version`, `model`, `constant`, `function`, `cache_age_s` says what.
    """

    errors: frozenset[str] = frozenset({"failed", "unavailable"})
    """Which errors it answers.

    `failed` (the model was run and failed, or its answer was refused by the output guard),
    `unavailable` (breaker open, instances lost), `deadline` (time ran out while it
    waited), `overloaded` (no room).
    """
    version: int = 0
    """Another version of the same model; -1: the newest live one other than this."""
    model: str = ""
    """Another model, its newest live version, with the same interface."""
    constant: Mapping[str, object] | None = None
    """By output: a number, a string.

    Or nested lists without the batch axis, given for every row.
    """
    function: str = ""
    """`module:function`, importable by the serving process.

    Arrays by input name in, arrays by output name out.
    """
    cache_age_s: float = 0.0
    """Last good answer to the same input, not older than this."""
    cache_bytes: int = 64 << 20
    """Bound of what that cache holds, in one process."""
    minimum_slack_s: float = 0.0
    """Not tried where the caller's deadline is nearer than this."""

    @property
    def name(self) -> str:
        """What it is, in a word or two, as `served_by` and the log say it."""
        if self.version:
            return f"version {self.version}" if self.version > 0 else "newest other version"
        if self.model:
            return f"model {self.model}"
        if self.constant is not None:
            return "constant"
        return f"function {self.function}" if self.function else "cache"


class OutputGuardPlan(msgspec.Struct, frozen=True):
    """What an answer must be like to be given."""

    finite: tuple[str, ...] = ()
    """Outputs (floating point) in which NaN and infinity are failures."""
    ranges: Mapping[str, tuple[float, float]] = msgspec.field(default_factory=dict)
    """By output, smallest and largest value; -inf and inf leave a side open.

    NaN is out of every range.
    """


class ProcessWorkersPlan(msgspec.Struct, frozen=True):
    """Runs a version in processes of its own instead of in threads."""

    count: int = 1
    """Worker processes of this version for each serving process."""
    batch_timeout_s: float = 30.0
    """A run that takes longer is a hang: the process is replaced."""
    start_timeout_s: float = 120.0
    """For opening and warming the model."""
    memory_limit_bytes: int = 0
    """Resident memory at which a process is replaced, one at a time, after its batch.

    0: no limit.
    """
    start_attempts: int = 5
    """Starts that fail one after the other until the version counts as failed."""


class RemotePlan(msgspec.Struct, frozen=True):
    """Another server of the Open Inference Protocol that runs batches of this version."""

    address: str
    """What gRPC dials: HOST:PORT, dns:///NAME:PORT, unix:PATH."""
    model: str = ""
    """Its name over there; empty: the same."""
    version: str = ""
    """Empty: the newest over there."""
    tls_ca: bytes = b""
    """PEM; empty: plaintext."""
    token: str = ""
    """Sent as `authorization: Bearer TOKEN`; empty: none."""
    concurrent_batches: int = 8
    timeout_s: float = 30.0
    """For a batch whose callers have no deadline, or a later one."""
    max_rows: int = 0
    """Rows it is given in one request, at most; 0: as many as it says itself."""

    def __repr__(self) -> str:
        """Without the token, which must not come into logs."""
        return f"<RemotePlan {self.address}{f' as {self.model}' if self.model else ''}>"


class AdmissionPlan(msgspec.Struct, frozen=True):
    """Whom a version lets in, besides its `QueuePlan`."""

    max_in_flight: int = 0
    """Requests accepted and not yet answered, over all processes of the gateway.

    0: no bound but the queue's.
    """
    max_in_flight_bytes: int = 0
    """Their inputs; 0: no bound but the queue's."""
    default_deadline_s: float = 0.0
    """For requests that come without a deadline; 0: they have none."""
    predict_wait: bool = True
    """Refuse at arrival what cannot be answered before its deadline."""
    priority_shares: tuple[float, ...] = ()
    """Least share of the capacity of each priority level, most urgent first.

    Empty: half goes by urgency alone, half evenly.
    """
    quota_key: str = ""
    """Metadata key that names the caller; empty: no quotas."""
    quota_per_s: float = 0.0
    """Requests a second of one caller, over all processes of the gateway."""
    quota_burst: float = 0.0
    """Requests a caller may save up; 0: a second's worth."""


class ProtectionPlan(msgspec.Struct, frozen=True):
    """All protections of one version."""

    breaker: BreakerPlan = BreakerPlan()
    retry: RetryPlan = RetryPlan()
    fallback: tuple[FallbackLink, ...] = ()
    """Tried in this order."""
    output_guard: OutputGuardPlan = OutputGuardPlan()
    admission: AdmissionPlan = AdmissionPlan()
    workers: ProcessWorkersPlan | None = None
    """None: threads of the serving process."""
    remotes: tuple[RemotePlan, ...] = ()
    local: bool = True
    """False: nothing is run here, only by remotes."""
