"""One request and its answer, as everything between wire and workers sees them.

They live in one serving process and never leave it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

if TYPE_CHECKING:
    from gateway.core.span_context import SpanContext

Array = np.ndarray[Any, Any]
Parameter = bool | int | float | str
RequestEvent = tuple[int, str, str]
"""Something that was decided about a request.

When (nanoseconds of the monotonic clock), what (`RETRY`, ...), and a text for who reads of it.
"""
RETRY = "retry"
FALLBACK = "fallback"
FALLBACK_FAILED = "fallback.failed"
BREAKER_REFUSED = "breaker.refused"


class RequestForm:
    """What requests of one kind have in common: names, shapes, datatypes, options.

    It is shared, so it never changes.

    `names`: the inputs present, in the order of the signature; `key`: equal for requests that may
    share a batch (names, datatypes, shapes without the batch axis); `rows`: length of the batch
    axis, 1 where the version has none; `input_bytes`: size of the raw inputs.
    `outputs`: indexes into the signature's outputs that are answered, in the order asked for.
    """

    __slots__ = (
        "input_bytes",
        "key",
        "names",
        "outputs",
        "parameters",
        "priority",
        "rows",
        "timeout_s",
    )

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
        self.names = names
        self.key = key
        self.rows = rows
        self.input_bytes = input_bytes
        self.outputs = outputs
        self.parameters = parameters
        self.priority = priority
        self.timeout_s = timeout_s


class Caller(Protocol):
    """The call that a request came in."""

    def metadata(self) -> Iterable[tuple[str, str | bytes]]:
        """The caller's metadata; keys are lower case, `-bin` values are bytes."""
        ...

    def peer(self) -> str:
        """The caller's address in gRPC's form, `ipv4:127.0.0.1:51230`."""
        ...


class Run:
    """The run of the batch that a request was last in.

    Apart from the batch, which has the request: both would wait for the garbage collector.

    `number`: the process's own, 0: nobody has written it down. `started_ns`: of the monotonic
    clock; 0: it has not begun.
    """

    __slots__ = ("number", "started_ns")

    def __init__(self) -> None:
        self.number = 0
        self.started_ns = 0


class InferenceRequest:
    """One request: arrays in the order of `form.names`, and when it must be answered.

    `arrived` and `deadline` are seconds of the monotonic clock (`time.monotonic`); a deadline of
    infinity means none. `inputs` may be views of the received message: read-only, and alive as long
    as the request is.

    What is known of it besides: `caller`; `run`, its last; `retries`, how often one failed and it
    was run again; `events`, what was decided about it; `context`, its own span once somebody needed
    it; `version`, the live version that it was routed to, None before that; `parent`, the request
    that it is a part of, or that it stands for with another version: what is seen of it belongs to
    that.
    """

    __slots__ = (
        "arrived",
        "caller",
        "context",
        "deadline",
        "events",
        "form",
        "id",
        "inputs",
        "parent",
        "retries",
        "run",
        "version",
    )

    counted: ClassVar[bool] = True
    """It counts as a request where batches are counted; a part of one does not."""

    def __init__(
        self,
        form: RequestForm,
        inputs: tuple[Array, ...],
        arrived: float,
        deadline: float = math.inf,
        id: str = "",  # noqa: A002
        parent: InferenceRequest | None = None,
    ) -> None:
        self.form = form
        self.inputs = inputs
        self.arrived = arrived
        self.deadline = deadline
        self.id = id
        self.parent = parent
        self.run: Run | None = None
        self.caller: Caller | None = None
        self.context: SpanContext | None = None
        self.version: Any = None
        self.retries = 0
        self.events: tuple[RequestEvent, ...] = ()

    def add_event(self, at_s: float, what: str, text: str) -> None:
        """Something was decided about it, or about the request that it belongs to.

        `at_s`: of the monotonic clock.
        """
        seen = self.parent or self
        seen.events += ((int(at_s * 1e9), what, text),)

    def __repr__(self) -> str:
        shapes = ", ".join(
            f"{n}{list(a.shape)}" for n, a in zip(self.form.names, self.inputs, strict=True)
        )
        return f"<InferenceRequest {self.id!r} {shapes}>"


class Prediction:
    """The answer: one array for each index in the request's `form.outputs`, in that order.

    `served_by`: the live version that the request was routed to, as the encoder and the records
    want it (`gateway.serving.routing.live_version`); None until it has left that. `degraded`: why a
    fallback answered in its place, one line; empty where it answered itself.
    """

    __slots__ = ("degraded", "outputs", "parameters", "served_by")

    def __init__(
        self, outputs: tuple[Array, ...], parameters: Mapping[str, Parameter] | None = None
    ) -> None:
        self.outputs = outputs
        self.parameters = parameters
        self.served_by: Any = None
        self.degraded = ""
