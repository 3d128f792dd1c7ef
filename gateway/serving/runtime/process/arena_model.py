"""Runs a version on tensors that stand in the arena, and leaves the outputs there.

The first time a batch of some shape comes, its outputs are copied into the arena. From the third time on inputs and outputs are bound to it:
ONNX Runtime reads and writes the shared memory, and the answer is the same packet as last time. Strings are never bound, and neither are
the outputs of a model whose shapes turn out to hang on its inputs' values.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import onnxruntime as ort

from gateway.core.datatypes import BF16, numpy_dtype
from gateway.core.errors import GatewayError
from gateway.core.plan import VersionPlan
from gateway.core.request import Array
from gateway.onnx.session import Session
from gateway.serving.runtime.loader import warm_up
from gateway.serving.runtime.process.arena import Arena
from gateway.serving.runtime.process.arena_tensors import Place, put, view
from gateway.serving.runtime.process.worker_messages import Failed, Ran, decode_run, encode, short
from gateway.serving.runtime.runner import VersionRunner

_REMEMBERED: Final = 256  # shapes of batches; each bound one holds a few small objects of ONNX Runtime
_ONNX_BFLOAT16: Final = 16  # onnx.TensorProto.BFLOAT16


class ArenaModel:
    """An open version beside its arena."""

    def __init__(self, plan: VersionPlan, session: Session, arena: Arena) -> None:
        self._session = _Observed(session)
        self._plan, self._runner = plan, VersionRunner(plan, self._session)
        self._names = [spec.name for spec in plan.outputs]
        self._arena = arena
        self._seen: dict[bytes, None] = {}
        self._bound: dict[bytes, _Bound] = {}
        self._binds = session._session.get_providers() == ["CPUExecutionProvider"]  # others have memory of their own

    def warm_up(self) -> str:
        """Runs what the plan says; why that failed, which is no reason not to serve: inspection has judged the model."""
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
        if bound is not None and bound.run():
            return bound.answer
        try:
            answer = self._run(packet)
        except Exception as error:  # noqa: BLE001  # ModelFailed, or what a batch brought about here: its callers are told
            return encode(Failed(short(error)))
        if bound is not None:  # it was not the inputs: this model's outputs do not stay where they are put
            self._binds = False
            self._bound.clear()
        return answer

    def _run(self, packet: bytes) -> bytes:
        run = decode_run(packet)
        feed = {place.name: view(self._arena, place) for place in run.inputs}
        try:
            outputs = self._runner.run(feed, run.wanted, run.rows)
            places, _ = put(self._arena, zip([self._names[i] for i in run.wanted], outputs, strict=True), run.outputs_at)
            answer = encode(Ran(places))
            if self._binds and packet in self._seen:
                self._bind(packet, places, answer)
            elif self._binds:
                _remember(self._seen, packet, None)
        finally:
            self._session.forget()
        return answer

    def _bind(self, packet: bytes, places: tuple[Place, ...], answer: bytes) -> None:
        """Has the next such batch run from and into the arena; `feed` and shapes are the graph's own, as the session saw them."""
        observed = self._session
        if any(array.dtype == object or not array.size for array in (*observed.feed.values(), *observed.outputs)):
            return
        outputs = [self._arena.array(place.offset, array.dtype, array.shape) for place, array in zip(places, observed.outputs, strict=True)]
        bound = _Bound(observed.session._session, observed.feed, dict(zip(observed.names, outputs, strict=True)), answer)
        _remember(self._bound, packet, bound)

    def __repr__(self) -> str:
        return f"<ArenaModel {self._runner!r}, {len(self._bound)} shapes bound{'' if self._binds else ', does not bind'}>"


class _Observed:
    """A session that remembers its last run until told to forget."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.feed: dict[str, Array] = {}
        self.names: list[str] = []
        self.outputs: list[Array] = []

    def run(self, feed: dict[str, Array], wanted: list[str]) -> list[Array]:
        """As the session does."""
        self.feed, self.names = feed, wanted
        self.outputs = self.session.run(feed, wanted)
        return self.outputs

    def forget(self) -> None:
        """Lets the arrays go."""
        self.feed, self.names, self.outputs = {}, [], []


class _Bound:
    """A run whose inputs and outputs have their places."""

    __slots__ = ("_addresses", "_arrays", "_binding", "_session", "answer")

    def __init__(self, session: ort.InferenceSession, inputs: dict[str, Array], outputs: dict[str, Array], answer: bytes) -> None:
        self._session, self.answer = session, answer
        self._arrays = [*inputs.values(), *outputs.values()]  # the binding has their memory
        self._addresses = [array.ctypes.data for array in outputs.values()]
        self._binding = session.io_binding()
        for name, array in inputs.items():
            self._binding.bind_ortvalue_input(name, _ort_value(array))
        for name, array in outputs.items():
            self._binding.bind_ortvalue_output(name, _ort_value(array))

    def run(self) -> bool:
        """True when the outputs stand in their places: ONNX Runtime refuses another shape, and some operators bring memory of their own."""
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception:  # noqa: BLE001  # run again unbound, it says whether this was its fault
            return False
        return [value.data_ptr() for value in self._binding.get_outputs()] == self._addresses


def _ort_value(array: Array) -> Any:
    """The array's memory as ONNX Runtime's own kind of value."""
    if array.dtype.kind == "V" and array.dtype == numpy_dtype(BF16):
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array.view(np.uint16), _ONNX_BFLOAT16)
    return ort.OrtValue.ortvalue_from_numpy(array)


def _remember(memory: dict[bytes, Any], packet: bytes, what: Any) -> None:
    if len(memory) >= _REMEMBERED:
        del memory[next(iter(memory))]
    memory[packet] = what
