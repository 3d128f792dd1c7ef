"""Which new versions callers of the live one could not call; decided in the control process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gateway.control.models.planning.interface_change import ALLOWED_BY, interface_change
from gateway.core.plan import Key, VersionPlan


def refused_interfaces(
    model: str, live: Mapping[Key, VersionPlan], plans: Iterable[VersionPlan]
) -> dict[int, str]:
    """The plans that may not replace what is live, by version, with what differs.

    There are two cases. Callers that name no version are answered by the newest: one that takes its
    place is compared with it. Callers that name a version are compared with its former self.
    """
    mine = {key: plan for key, plan in live.items() if key[0] == model}
    wanted = list(plans)
    if not mine:
        return {}
    newest = mine[max(mine)]
    newest_goes = newest.key not in {plan.key for plan in wanted}
    refused: dict[int, str] = {}
    for plan in wanted:
        takes_over = newest_goes or plan.version > newest.version
        before = mine.get(plan.key) or (newest if takes_over else None)
        if before is None or plan.allow_interface_change:
            continue
        if change := interface_change(before, plan):
            itself = " as it is live" if before.key == plan.key else ""
            refused[plan.version] = (
                f"its interface is not that of version {before.version}{itself}: {change}; "
                f"{ALLOWED_BY}"
            )
    return refused
