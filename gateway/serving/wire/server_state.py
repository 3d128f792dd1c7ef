"""What a serving process knows of the server as a whole.

That is what the control process published last, and whether this process is leaving.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.core.errors import Unavailable
from gateway.ipc.messages import Publish


class ServerState:
    """The last publication and whether the process drains; calls its listeners at every change."""

    def __init__(self) -> None:
        self.publication: Publish | None = None
        """None: the control process has published nothing yet."""
        self.draining = False
        self._known: frozenset[str] | None = None
        self._listeners: list[Callable[[], None]] = []

    @property
    def ready(self) -> bool:
        """The server takes requests, and will for a while."""
        return not self.draining and self.publication is not None and self.publication.ready

    def publish(self, publication: Publish) -> None:
        """Takes over a new publication."""
        self.publication = publication
        self._known = None
        self._notify()

    def drain(self) -> None:
        """Makes the server not ready from here on."""
        self.draining = True
        self._notify()

    def published(self) -> Publish:
        """The last publication; raises Unavailable while there is none."""
        if self.publication is None:
            raise Unavailable(
                "the server is starting and does not know its models yet: ask again in a moment"
            )
        return self.publication

    def knows(self, name: str) -> bool:
        """The repository has a model, or a version, of this name, whatever its state.

        Versions are named `MODEL/VERSION`.
        """
        if self._known is None:
            index = self.publication.index if self.publication is not None else ()
            self._known = frozenset(
                name for entry in index for name in (entry.model, f"{entry.model}/{entry.version}")
            )
        return name in self._known

    def on_change(self, listener: Callable[[], None]) -> None:
        """Calls the listener after every change."""
        self._listeners.append(listener)

    def _notify(self) -> None:
        for listener in self._listeners:
            listener()

    def __repr__(self) -> str:
        return f"<ServerState {self._phase()}>"

    def _phase(self) -> str:
        if self.draining:
            return "draining"
        if self.publication is None:
            return "starting"
        return "ready" if self.ready else "not ready"
