"""How many requests, and how much input, may be inside a serving process at the same time."""

from __future__ import annotations

from gateway.core.errors import Overloaded
from gateway.core.predictor import Description, Predictor
from gateway.core.request import InferenceRequest, Prediction


class Room:
    """Room for so many requests and bytes of input, shared by all that enter; 0: no bound.

    A lone request is let in whatever its size.
    """

    def __init__(self, name: str, max_requests: int, max_bytes: int) -> None:
        self._name = name
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self.requests = 0
        self.bytes = 0

    @property
    def bounded(self) -> bool:
        """There is a bound at all."""
        return bool(self._max_requests or self._max_bytes)

    def enter(self, input_bytes: int) -> None:
        """Takes a place; raises Overloaded where there is none."""
        full = 0 < self._max_requests <= self.requests
        if full or (0 < self._max_bytes < self.bytes + input_bytes and self.requests):
            raise Overloaded(
                f"{self._name} has no room: {self.requests} requests ({self.bytes} bytes of input) "
                f"are in flight, {self._max_requests or 'any number of'} requests and "
                f"{self._max_bytes or 'any number of'} bytes may be (max_in_flight)"
            )
        self.requests += 1
        self.bytes += input_bytes

    def leave(self, input_bytes: int) -> None:
        """Gives the place back."""
        self.requests -= 1
        self.bytes -= input_bytes

    def __repr__(self) -> str:
        return (
            f"<Room {self._name}: {self.requests} of {self._max_requests or 'any'} requests, "
            f"{self.bytes} of {self._max_bytes or 'any'} bytes>"
        )


class Admission:
    """A Predictor that lets in whom there is room for."""

    def __init__(self, inner: Predictor, room: Room) -> None:
        self._inner = inner
        self._room = room

    async def predict(self, request: InferenceRequest) -> Prediction:
        """What the inside answers; raises Overloaded."""
        room = self._room
        size = request.form.input_bytes
        room.enter(size)
        try:
            return await self._inner.predict(request)
        finally:
            room.leave(size)

    def describe(self) -> Description:
        """The room, and the inside."""
        return Description("Admission", repr(self._room).strip("<>"), self._inner.describe())

    def __repr__(self) -> str:
        return f"<Admission {self._room!r}>"


def share(bound: float, processes: int) -> int:
    """One process's share of a bound on the whole gateway, rounded up; 0 stays 0."""
    return -int(-bound // processes)
