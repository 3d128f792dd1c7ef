"""How the versions of all models stand, and since when; kept in the control process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import msgspec

from gateway.control.lifecycle.fleet import Fleet
from gateway.control.lifecycle.model_record import ModelRecord, index_entries
from gateway.ipc.repository_index import IndexEntry, VersionReport, VersionState


class _Standing(msgspec.Struct, frozen=True):
    """What makes a version another one than before."""

    state: VersionState | None
    digest: str
    fingerprint: str
    since_s: float


class VersionReports:
    """Notes when each version came to stand as it does; whoever changes a record calls `note`."""

    def __init__(self, fleet: Fleet, now_s: Callable[[], float] = time.time) -> None:
        """`now_s`: the time of day, in seconds since 1970."""
        self._fleet = fleet
        self._now_s = now_s
        self._known: dict[tuple[str, str], _Standing] = {}

    def __repr__(self) -> str:
        return f"<VersionReports of {len(self._known)} versions>"

    def note(self, record: ModelRecord) -> None:
        """Something of the record may have changed."""
        for entry in index_entries([record]):
            self._note(entry)

    def forget(self, model: str) -> None:
        """The model is not there any more."""
        self._known = {key: known for key, known in self._known.items() if key[0] != model}

    def all(self, records: Iterable[ModelRecord]) -> tuple[VersionReport, ...]:
        """A report of every version, by model and version."""
        entries = index_entries(records)
        return tuple(self._report(entry, self._note(entry)) for entry in entries)

    def _note(self, entry: IndexEntry) -> _Standing:
        plan = self._fleet.live.get((entry.model, int(entry.version or 0)))
        digest = plan.digest if plan is not None else ""
        fingerprint = plan.fingerprint if plan is not None else ""
        known = self._known.get((entry.model, entry.version))
        what = entry.state, digest, fingerprint
        if known is None or (known.state, known.digest, known.fingerprint) != what:
            known = _Standing(*what, self._now_s())
            self._known[entry.model, entry.version] = known
        return known

    def _report(self, entry: IndexEntry, standing: _Standing) -> VersionReport:
        processes = self._fleet.holders((entry.model, int(entry.version or 0)))
        return VersionReport(
            entry,
            standing.since_s,
            standing.digest,
            processes if entry.state is VersionState.READY else 0,
        )


def changed(
    before: Iterable[VersionReport], after: Iterable[VersionReport]
) -> tuple[VersionReport, ...]:
    """The reports of versions that stand otherwise than before; those forgotten have no state."""
    olds = {(old.entry.model, old.entry.version): old for old in before}
    found = [new for new in after if _facts(olds.pop(_key(new), None)) != _facts(new)]
    gone = [
        VersionReport(IndexEntry(model, version, None, "removed from the repository"))
        for model, version in olds
        if version
    ]
    return tuple(sorted((*found, *gone), key=_order))


def _key(report: VersionReport) -> tuple[str, str]:
    return report.entry.model, report.entry.version


def _order(report: VersionReport) -> tuple[str, int]:
    return report.entry.model, int(report.entry.version or 0)


def _facts(report: VersionReport | None) -> tuple[object, ...]:
    return () if report is None else (report.entry, report.since_s, report.digest)
