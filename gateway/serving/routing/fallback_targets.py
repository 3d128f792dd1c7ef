"""The live versions that the fallbacks of a serving process turn to."""

from __future__ import annotations

from gateway.core.errors import Unavailable
from gateway.serving.routing.catalogue import Catalogue
from gateway.serving.routing.live_version import WithoutFallback


class FallbackTargets:
    """Finds versions in the catalogue at the moment they are needed: they come and go."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def resolve(self, model: str, version: int, besides: tuple[str, int]) -> WithoutFallback:
        """The version without its own fallbacks.

        Version 0: the newest live one that is not `besides`. Raises a
        GatewayError where it is not live.
        """
        if version > 0:
            return self._catalogue.resolve(model, str(version)).without_fallback()
        for live in reversed(self._catalogue.versions(model)):
            if live.plan.key != besides:
                return live.without_fallback()
        raise Unavailable(
            f"no {'other ' if model == besides[0] else ''}version of '{model}' is live"
        )

    def __repr__(self) -> str:
        return f"<FallbackTargets in {self._catalogue!r}>"
