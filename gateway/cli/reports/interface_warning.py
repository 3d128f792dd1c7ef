"""Whether a model's newest version answers callers of the one before, for the command line."""

from __future__ import annotations

from msgspec.structs import replace

from gateway.control.models.planning.interface_change import ALLOWED_BY, interface_change
from gateway.control.models.sources.found import FoundModel
from gateway.control.models.sources.version_policy import VersionPolicy
from gateway.core.plan import VersionPlan


def predecessor(model: FoundModel) -> FoundModel | None:
    """The model with only the version before the newest of those that are to be live.

    None: there is none.
    """
    if not model.live:
        return None
    newest = model.live[-1].version
    older = [one.version for one in model.versions if one.version < newest and not one.fault]
    if not older:
        return None
    policy = VersionPolicy("specific", versions=(older[-1],))
    return replace(model, configuration=replace(model.configuration, versions=policy))


def interface_warning(before: VersionPlan, newest: VersionPlan) -> str:
    """What callers of the version before would notice; empty: nothing."""
    change = interface_change(before, newest)
    return change and (
        f"its interface is not that of version {before.version}: {change}; a gateway that serves "
        f"version {before.version} refuses the swap, {ALLOWED_BY}"
    )
