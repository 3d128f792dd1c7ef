"""What the control process knows of the serving process in one slot."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.control.processes.child import Child
from gateway.ipc.messages import Start
from gateway.ipc.telemetry_messages import ProcessState


@dataclass(slots=True)
class ServingSlot:
    """One slot, and the process in it; written by the supervisor."""

    start: Start
    """The first message to each process of the slot."""
    process: Child | None = None
    """None: there is none at the moment."""
    tried: bool = False
    """A first process was started, or could not be."""
    listening: bool = False
    """The process has its port open."""
    transport: str = ""
    """What the slot's last process serves through; empty: none has listened yet."""
    answered: bool = False
    """The process has answered all of its calls and is done."""
    lost: bool = False
    """It died while the gateway stopped, before it had answered all calls."""
    restarts: int = 0
    reason: str = ""
    """Why the last process ended; empty: none has ended."""

    @property
    def number(self) -> int:
        """The slot's number, from 0."""
        return self.start.slot

    @property
    def state(self) -> ProcessState:
        """The slot as the telemetry process shows it; there are three states."""
        state = "restarting"
        if self.listening:
            state = "serving"
        elif self.process is not None or not self.restarts:
            state = "starting"
        pid = self.process.pid if self.process is not None else 0
        return ProcessState(self.number, pid, state, self.restarts, self.reason)

    def begin(self, process: Child) -> None:
        """A process has been started."""
        self.process = process
        self.answered = False

    def died(self, reason: str) -> None:
        """The process is gone, and another takes its place."""
        self.restarts += 1
        self.reason = reason
