"""The output guard of a serving process around an instance that runs elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.core.instance import Instance, Room, Work
from gateway.core.request import Array, InferenceRequest
from gateway.serving.policies.output_guard.output_guard import OutputGuard


class GuardedInstance:
    """An instance whose answers are looked at before they count."""

    def __init__(self, inner: Instance, guard: OutputGuard) -> None:
        self._inner = inner
        self._guard = guard

    @property
    def name(self) -> str:
        """The inner one's."""
        return self._inner.name

    @property
    def capacity(self) -> int:
        """The inner one's."""
        return self._inner.capacity

    @property
    def available(self) -> bool:
        """The inner one's."""
        return self._inner.available

    @property
    def expected_s(self) -> float:
        """The inner one's."""
        return self._inner.expected_s

    def watch(self, changed: Callable[[], None]) -> None:
        """Watches the inner one."""
        self._inner.watch(changed)

    def run(self, work: Work, done: Callable[[], None]) -> None:
        """Runs the work; outputs that are no answer fail it."""
        self._inner.run(_GuardedWork(work, self._guard), done)

    def __repr__(self) -> str:
        return f"<GuardedInstance {self._inner!r}>"


class _GuardedWork:
    """A work that is finished through the guard."""

    __slots__ = ("_guard", "_work")

    def __init__(self, work: Work, guard: OutputGuard) -> None:
        self._work = work
        self._guard = guard

    @property
    def rows(self) -> int:
        return self._work.rows

    @property
    def wanted(self) -> tuple[int, ...]:
        return self._work.wanted

    @property
    def deadline(self) -> float:
        return self._work.deadline

    @property
    def input_bytes(self) -> int:
        return self._work.input_bytes

    @property
    def error(self) -> Exception | None:
        return self._work.error

    @property
    def alone(self) -> bool:
        return self._work.alone

    @property
    def number(self) -> int:
        return self._work.number

    @property
    def requests(self) -> Sequence[InferenceRequest]:
        return self._work.requests

    def collate(self, room: Room | None = None) -> dict[str, Array]:
        return self._work.collate(room)

    def finish(self, outputs: list[Array]) -> None:
        self._guard.finish(self._work, outputs)

    def fail(self, error: Exception) -> None:
        self._work.fail(error)
