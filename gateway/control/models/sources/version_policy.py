"""Which of a model's versions should be live; decided in the control process."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Self

_LATEST = re.compile(r"latest(?:\s+([1-9]\d{0,8}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class VersionPolicy:
    """Which versions a model wants live; there are three kinds.

    `latest`: the newest `count` versions. `all`: every one. `specific`: those in `versions`.
    """

    kind: Literal["latest", "all", "specific"] = "latest"
    count: int = 1
    """Versions that `latest` keeps."""
    versions: tuple[int, ...] = ()
    """Versions that `specific` names, ascending."""

    @classmethod
    def parse(cls, value: object) -> Self:
        """The policy that model.yaml writes as `latest`, `latest 2`, `all` or a list like `[1, 3]`.

        Raises ValueError.
        """
        if value == "all":
            return cls("all")
        if isinstance(value, str) and (match := _LATEST.fullmatch(value.strip())):
            return cls("latest", int(match[1] or 1))
        if (
            isinstance(value, list)
            and value
            and all(type(item) is int and item > 0 for item in value)
        ):
            return cls("specific", versions=tuple(sorted(set(value))))
        raise ValueError(
            f"expected latest, latest 2, all, or a list of versions such as [1, 3], got {value!r}"
        )

    def __repr__(self) -> str:
        if self.kind == "latest":
            return f"latest {self.count}"
        return "all" if self.kind == "all" else str(list(self.versions))


def live_versions(policy: VersionPolicy, available: Iterable[int]) -> tuple[int, ...]:
    """The versions of those available that the policy wants live, ascending."""
    there = sorted(set(available))
    if policy.kind == "latest":
        return tuple(there[-policy.count :])
    if policy.kind == "all":
        return tuple(there)
    return tuple(version for version in there if version in policy.versions)


def missing_versions(policy: VersionPolicy, available: Iterable[int]) -> tuple[int, ...]:
    """The versions that the policy names and that are not available, ascending."""
    return tuple(sorted(set(policy.versions) - set(available)))
