"""What the fault trials found, against what they must show, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "SHORT", "-"]


@dataclass(frozen=True)
class Finding:
    """One row of the table.

    `timed` marks a time, or a ratio of times or rates: a short run on a busy machine says
    nothing about those.
    """

    trial: str
    must: str
    measured: str
    holds: bool
    timed: bool = True

    def verdict(self, *, short: bool) -> Verdict:
        """The verdict for the table: `ok`, `SHORT`, or `-` where the short form does not judge."""
        if short and self.timed:
            return "-"
        return "ok" if self.holds else "SHORT"


def at_least(
    trial: str, what: str, value: float, limit: float, unit: str = "", *, note: str = ""
) -> Finding:
    """A time or ratio that must not be smaller; NaN falls short."""
    return Finding(
        trial, f"{what} >= {limit:g}{unit}", _with_note(f"{value:.3g}{unit}", note), value >= limit
    )


def at_most(
    trial: str, what: str, value: float, limit: float, unit: str = "", *, note: str = ""
) -> Finding:
    """A time or ratio that must not be larger; NaN falls short."""
    return Finding(
        trial, f"{what} <= {limit:g}{unit}", _with_note(f"{value:.3g}{unit}", note), value <= limit
    )


def exactly(trial: str, what: str, value: object, expected: object, *, note: str = "") -> Finding:
    """A count or a state, judged in the short form, too."""
    return Finding(
        trial, f"{what}: {expected}", _with_note(str(value), note), value == expected, timed=False
    )


def broken(trial: str, error: BaseException) -> Finding:
    """The row of a trial that did not come to its end."""
    return Finding(
        trial,
        "comes to its end",
        f"{type(error).__name__}: {error}"[:300],
        holds=False,
        timed=False,
    )


def table(findings: Sequence[Finding], *, short: bool) -> str:
    """The findings as text, a line each, in aligned columns."""
    heads = ("trial", "must", "measured", "")
    rows = [heads] + [
        (f.trial, f.must, f.measured.replace("\n", " "), f.verdict(short=short)) for f in findings
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return "\n".join(
        f"{trial:{widths[0]}}  {must:{widths[1]}}  {verdict:5}  {measured}".rstrip()
        for trial, must, measured, verdict in rows
    )


def fallen_short(findings: Sequence[Finding], *, short: bool) -> list[Finding]:
    """The findings that are judged and do not hold."""
    return [finding for finding in findings if finding.verdict(short=short) == "SHORT"]


def _with_note(measured: str, note: str) -> str:
    return f"{measured} ({note})" if note else measured
