"""All circuits of a process, by what they guard."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.core.protection import BreakerPlan
from gateway.records.breaker_state import CircuitKey, Forced, Report, Transition
from gateway.serving.policies.breaker.circuit_breaker import Circuit


class Circuits:
    """Makes circuits, and keeps all that have the same key under the operator's word.

    There may be two of one key: while a version is loaded anew, the old one still
    answers when the new one is made.
    """

    def __init__(self, now: Callable[[], float], told: Callable[[Transition], None]) -> None:
        self._now = now
        self._told = told
        self._circuits: dict[CircuitKey, list[Circuit]] = {}
        self._forced: Mapping[CircuitKey, Forced] = {}

    def add(self, key: CircuitKey, plan: BreakerPlan) -> Circuit:
        """A new circuit, forced as its key is."""
        circuit = Circuit(_name(key), plan, self._now, self._told)
        circuit.key = key
        circuit.force(self._forced.get(key, ""))
        self._circuits.setdefault(key, []).append(circuit)
        return circuit

    def remove(self, key: CircuitKey, circuit: Circuit) -> None:
        """Forgets a circuit whose version or instance is gone."""
        of_key = self._circuits[key]
        of_key.remove(circuit)
        if not of_key:
            del self._circuits[key]

    def force(self, forced: Mapping[CircuitKey, Forced]) -> None:
        """What operators have set, all of it: what is not named decides for itself.

        Holds for those to come as well.
        """
        self._forced = forced
        for key, circuits in self._circuits.items():
            for circuit in circuits:
                circuit.force(forced.get(key, ""))

    def snapshots(self) -> Report:
        """One of each key, sorted: of the circuit that is older, where there are two."""
        return tuple((key, self._circuits[key][0].snapshot()) for key in sorted(self._circuits))

    def __repr__(self) -> str:
        open_ones = [
            circuit.name
            for circuits in self._circuits.values()
            for circuit in circuits
            if not circuit.closed
        ]
        return f"<Circuits {len(self._circuits)}, not closed: {', '.join(open_ones) or 'none'}>"


def _name(key: CircuitKey) -> str:
    model, version, instance = key
    return f"'{model}' version {version}{f' on {instance}' if instance else ''}"
