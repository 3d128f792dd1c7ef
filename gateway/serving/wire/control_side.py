"""What the services need of the control side: what it says to every process, and how it is asked for changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

Setting = bool | int | str | tuple[str, ...]
"""The value of a trace or log setting; trace settings may have several values, none of them asks for the start's."""

LOAD: Final = "load"
UNLOAD: Final = "unload"
TRACE_SETTINGS: Final = "trace_settings"
LOG_SETTINGS: Final = "log_settings"


class IndexEntry(Protocol):
    """One line of RepositoryIndex."""

    @property
    def model(self) -> str:
        """The model's name."""
        ...

    @property
    def version(self) -> str:
        """Empty for the model as a whole."""
        ...

    @property
    def state(self) -> str | None:
        """READY, LOADING, UNLOADING, UNAVAILABLE; None: never loaded."""
        ...

    @property
    def reason(self) -> str:
        """Why it is in this state, for people; empty where there is nothing to say."""
        ...


class Publication(Protocol):
    """What every process answers alike."""

    @property
    def ready(self) -> bool:
        """What ServerReady answers."""
        ...

    @property
    def index(self) -> Sequence[IndexEntry]:
        """All models and versions of the repository."""
        ...

    @property
    def trace_settings(self) -> Mapping[str, Setting]:
        """Those there are, by name; the type of a value is the type of the setting."""
        ...

    @property
    def log_settings(self) -> Mapping[str, Setting]:
        """Those there are, by name; the type of a value is the type of the setting."""
        ...


class ControlSide(Protocol):
    """Changes the server, in every process or in none."""

    async def ask(self, change: str, model: str, parameters: Mapping[str, object]) -> object:
        """Returns when the change holds in every process; raises the `GatewayError` that ended it.

        `change` is one of the words above, `model` is empty for settings, which are the whole server's. Of settings, `parameters` are those to change
        (none is a question), and the answer is a mapping with all that hold now.
        """
        ...
