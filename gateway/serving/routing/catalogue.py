"""Which version answers: model names to live versions, swapped at once; in the serving process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from gateway.core.errors import GatewayError, InvalidRequest, ModelNotFound, Unavailable
from gateway.core.name_list import listed
from gateway.serving.routing.live_version import LiveVersion

_LEAVING: Final = "it is UNLOADING"


class Catalogue:
    """The live versions of all models.

    `generation` grows with every change: what was resolved under an older one is to be resolved
    anew.
    """

    def __init__(self) -> None:
        self._models: dict[str, dict[int, LiveVersion]] = {}
        self._newest: dict[str, LiveVersion] = {}
        self._reasons: Mapping[tuple[str, int], str] = {}
        self._listeners: list[Callable[[], None]] = []
        self.generation = 0

    def resolve(self, model: str, version: str) -> LiveVersion:
        """The version asked for, the newest where `version` is empty.

        Raises ModelNotFound, Unavailable for one that is known and not live (loading, failed),
        InvalidRequest for a version that is no number.
        """
        live = (
            self._models.get(model, {}).get(version_number(model, version))
            if version
            else self._newest.get(model)
        )
        if live is None:
            raise self._missing(model, version)
        return live

    def versions(self, model: str) -> list[LiveVersion]:
        """All live versions of a model, oldest first; empty if there is none."""
        return [live for _, live in sorted(self._models.get(model, {}).items())]

    def models(self) -> list[str]:
        """Names of all models with a live version, sorted."""
        return sorted(self._models)

    def swap(
        self, live: Iterable[LiveVersion], retire: Iterable[tuple[str, int]]
    ) -> list[LiveVersion]:
        """Makes versions live and takes others out, all at once.

        Returns those that are out, for draining.
        """
        out: list[LiveVersion] = []
        for model, version in retire:
            if (old := self._models.get(model, {}).pop(version, None)) is not None:
                out.append(old)
        if out:  # until it is explained: no caller may be answered that there is no such model
            self._reasons = {
                **self._reasons,
                **{(old.plan.model, old.plan.version): _LEAVING for old in out},
            }
        for new in live:
            versions = self._models.setdefault(new.plan.model, {})
            if (old := versions.get(new.plan.version)) is not None:
                out.append(old)
            versions[new.plan.version] = new
        self._models = {model: versions for model, versions in self._models.items() if versions}
        self._newest = {model: versions[max(versions)] for model, versions in self._models.items()}
        self.generation += 1
        self._notify()
        return out

    def explain(self, reasons: Mapping[tuple[str, int], str]) -> None:
        """Says why versions that are known are not live, for those who ask for them.

        Version 0 speaks for the whole model.
        """
        self._reasons = reasons
        self._notify()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Calls the listener after every change."""
        self._listeners.append(listener)

    def _notify(self) -> None:
        for listener in self._listeners:
            listener()

    def _missing(self, model: str, version: str) -> GatewayError:
        known = {v: reason for (name, v), reason in self._reasons.items() if name == model}
        number = int(version) if version else 0
        if number in known or (known and not version):
            reason = known.get(number) or next(iter(known.values()))
            return Unavailable(
                f"Request for unknown model: '{model}'{_version_text(version)} is "
                f"not at ready state: {reason}{self._live_text(model)}"
            )
        if version and model in self._models:
            return ModelNotFound(
                f"Request for unknown model: '{model}' version {version} is not found"
                f"{self._live_text(model)}"
            )
        return ModelNotFound(f"Request for unknown model: '{model}' is not found")

    def _live_text(self, model: str) -> str:
        """The versions that would answer; empty where none does."""
        versions = sorted(self._models.get(model, ()), reverse=True)
        return f" (live versions: {listed(versions)})" if versions else ""

    def __repr__(self) -> str:
        return f"<Catalogue {len(self._models)} models, generation {self.generation}>"


def _version_text(version: str) -> str:
    return f" version {version}" if version else ""


def version_number(model: str, version: str) -> int:
    """A version as a number; raises InvalidRequest where it is none."""
    # 64 bits
    if not (version.isascii() and version.isdigit() and len(version) < 20):  # noqa: PLR2004
        raise InvalidRequest(
            f"failed to get model version from specified version string '{version}' for '{model}', "
            "version should be an integral value > 0"
        )
    return int(version)
