"""Runs a version on tensors that stand in the arena, and leaves the outputs there.

Runs in a worker process. The first time a batch of some shape comes, its outputs are copied into
the arena. From the third time on inputs and outputs are bound to it: ONNX Runtime reads and writes
the shared memory, and the answer is the same packet as last time. Strings are never bound, and
neither are the outputs of a model whose shapes turn out to depend on its inputs' values.
"""

from __future__ import annotations

from typing import Any, Final

from gateway.core.errors import GatewayError
from gateway.core.plan import VersionPlan
from gateway.core.request import Array
from gateway.onnx.bound_run import BoundRun
from gateway.onnx.session import Session
from gateway.serving.runtime.loader import warm_up
from gateway.serving.runtime.process.arena import Arena
from gateway.serving.runtime.process.arena_tensors import Place, put, view
from gateway.serving.runtime.process.worker_messages import Failed, Ran, decode_run, encode, short
from gateway.serving.runtime.runner import VersionRunner

# shapes of batches; each bound one holds a few small objects of ONNX Runtime
_REMEMBERED: Final = 256


class ArenaModel:
    """An open version beside its arena."""

    def __init__(self, plan: VersionPlan, session: Session, arena: Arena) -> None:
        self._session = _Observed(session)
        self._plan = plan
        self._runner = VersionRunner(plan, self._session)
        self._names = [spec.name for spec in plan.outputs]
        self._arena = arena
        self._seen: dict[bytes, None] = {}
        self._bound: dict[bytes, tuple[BoundRun, bytes]] = {}
        self._binds = session.on_cpu_only  # others have memory of their own

    def warm_up(self) -> str:
        """Runs what the plan says; returns why that failed, empty where it did not.

        A failure is no reason not to serve: inspection has judged the model.
        """
        try:
            warm_up(self._plan, self._runner)
        except GatewayError as error:
            return short(error)
        finally:
            self._session.forget()
        return ""

    def answer(self, packet: bytes) -> bytes:
        """The packet that answers a Run; never raises."""
        bound = self._bound.get(packet)
        if bound is not None and bound[0].run():
            return bound[1]
        try:
            answer = self._run(packet)
        except Exception as error:  # noqa: BLE001
            # ModelFailed, or what a batch brought about here: its callers get it
            return encode(Failed(short(error)))
        # it was not the inputs: this model's outputs do not stay where they are put
        if bound is not None:
            self._binds = False
            self._bound.clear()
        return answer

    def _run(self, packet: bytes) -> bytes:
        run = decode_run(packet)
        feed = {place.name: view(self._arena, place) for place in run.inputs}
        try:
            outputs = self._runner.run(feed, run.wanted, run.rows)
            places, _ = put(
                self._arena,
                zip([self._names[i] for i in run.wanted], outputs, strict=True),
                run.outputs_at,
            )
            answer = encode(Ran(places))
            if self._binds and packet in self._seen:
                self._bind(packet, places, answer)
            elif self._binds:
                _remember(self._seen, packet, None)
        finally:
            self._session.forget()
        return answer

    def _bind(self, packet: bytes, places: tuple[Place, ...], answer: bytes) -> None:
        """Has the next such batch run from and into the arena.

        `feed` and shapes are the graph's own, as the session saw them.
        """
        observed = self._session
        if any(
            array.dtype == object or not array.size
            for array in (*observed.feed.values(), *observed.outputs)
        ):
            return
        outputs = [
            self._arena.array(place.offset, array.dtype, array.shape)
            for place, array in zip(places, observed.outputs, strict=True)
        ]
        bound = observed.session.bind(
            observed.feed, dict(zip(observed.names, outputs, strict=True))
        )
        _remember(self._bound, packet, (bound, answer))

    def __repr__(self) -> str:
        return (
            f"<ArenaModel {self._runner!r}, {len(self._bound)} shapes "
            f"bound{'' if self._binds else ', does not bind'}>"
        )


class _Observed:
    """A session that remembers its last run until `forget`."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.feed: dict[str, Array] = {}
        self.names: list[str] = []
        self.outputs: list[Array] = []

    def run(self, feed: dict[str, Array], wanted: list[str]) -> list[Array]:
        """Runs the session, and remembers with what and what came of it."""
        self.feed = feed
        self.names = wanted
        self.outputs = self.session.run(feed, wanted)
        return self.outputs

    def forget(self) -> None:
        """Lets the arrays go."""
        self.feed = {}
        self.names = []
        self.outputs = []


def _remember(memory: dict[bytes, Any], packet: bytes, what: Any) -> None:
    if len(memory) >= _REMEMBERED:
        del memory[next(iter(memory))]
    memory[packet] = what
