"""The JSON of one moment, which the telemetry process keeps as texts of its parts.

So a stream sends only the parts that have changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Document:
    """One moment: the texts of its members, and by MODEL/VERSION those of its list `versions`."""

    members: Mapping[str, str]
    versions: Mapping[str, str]

    def text(self) -> str:
        """The whole document."""
        return _joined(self.members, self.versions.values())

    def changes(self, before: Document) -> str:
        """The document with only what is unlike `before`.

        It has the members and the versions that differ, and in `gone` the versions that are no
        more.
        """
        members = {
            name: text for name, text in self.members.items() if before.members.get(name) != text
        }
        gone = sorted(before.versions.keys() - self.versions.keys())
        if gone:
            members["gone"] = dumped(gone)
        return _joined(
            members,
            (text for key, text in self.versions.items() if before.versions.get(key) != text),
        )


def dumped(value: object) -> str:
    """One line of JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _joined(members: Mapping[str, str], versions: Iterable[str]) -> str:
    parts = [f'"{name}":{text}' for name, text in members.items()]
    return "{" + ",".join([*parts, f'"versions":[{",".join(versions)}]']) + "}"
