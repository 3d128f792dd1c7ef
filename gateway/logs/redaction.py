"""Makes words of callers and of models fit for a log, in every process.

No line of theirs is taken for one of ours, none is endless, and no tensor's values are quoted.
"""

from __future__ import annotations

import re
from typing import Final

LONGEST_MESSAGE: Final = 4096  # characters
LONGEST_VALUE: Final = 256

_RUN_STATUS: Final = re.compile(
    r"(Non-zero status code returned while running .*?Status Message:).*", re.DOTALL
)
# the pattern ends with the value, because what follows may have been cut off
_BAD_OUTPUT: Final = re.compile(r" holds (?:NaN|[-+]?(?:inf|\d[\d.e+-]*))")
_NEEDS_QUOTES: Final = re.compile(r'[\s"=\\]')


def printable(text: str, most: int = LONGEST_MESSAGE) -> str:
    """At most `most` characters of the text, without any that could forge or hide a line.

    Whatever moves a cursor, turns the direction or cannot be seen is written as an escape.
    """
    if len(text) > most:
        text = text[:most] + "..."
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def without_values(text: str) -> str:
    """An error's text without what may quote a tensor; the caller's own error keeps all of it.

    Two things are left out: what ONNX Runtime writes about a node that failed (`idx=1000000 must be
    within ...`; the node's name stays), and the value for which an output guard refused an answer
    (`gateway.serving.policies.output_guard.output_guard`).
    """
    if "Non-zero status" in text:
        text = _RUN_STATUS.sub(r"\1 (left out: it may quote inputs)", text)
    return _BAD_OUTPUT.sub(" holds a value", text) if " holds " in text else text


def quoted(text: str, most: int = LONGEST_VALUE) -> str:
    """The text as the value of `key=value`, in quotes where its end would not be seen."""
    if text and text.isprintable() and len(text) <= most and not _NEEDS_QUOTES.search(text):
        return text
    shown = text[:most].replace("\\", "\\\\").replace('"', '\\"') + (
        "..." if len(text) > most else ""
    )
    return f'"{printable(shown, len(shown))}"'


def indented(text: str, most: int = 16384) -> str:
    """A traceback with two spaces before each line; if it is long, its middle is left out.

    The spaces keep lines of an error's text from beginning like a record.
    """
    if len(text) > most:
        text = f"{text[: most // 2]}\n...\n{text[-most // 2 :]}"
    return "\n".join(f"  {printable(line)}" for line in text.split("\n"))
