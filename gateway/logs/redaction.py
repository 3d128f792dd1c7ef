"""Words of callers and of models as they may stand in a log.

No line of theirs is taken for one of ours, and none is endless.
"""

from __future__ import annotations

import re
from typing import Final

LONGEST_MESSAGE: Final = 4096  # characters
LONGEST_VALUE: Final = 256

_RUN_STATUS: Final = re.compile(
    r"(Non-zero status code returned while running .*?Status Message:).*", re.DOTALL
)
# no more: what follows may have been cut off
_BAD_OUTPUT: Final = re.compile(r" holds (?:NaN|[-+]?(?:inf|\d[\d.e+-]*))")
_NEEDS_QUOTES: Final = re.compile(r'[\s"=\\]')


def printable(text: str, most: int = LONGEST_MESSAGE) -> str:
    """The text, at most so many characters of it.

    Whatever moves a cursor, turns the direction or cannot be seen is written as an escape.
    """
    if len(text) > most:
        text = text[:most] + "..."
    return (
        text
        if text.isprintable()
        else "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    )


def without_values(text: str) -> str:
    """An error's text without what may be of a tensor; its caller was told all of it.

    That is what ONNX Runtime says of a node that failed (`idx=1000000 must be within ...`; which
    node it was stays), and the value for which an output guard refused an answer
    (`gateway.serving.policies.output_guard.output_guard`).
    """
    if "Non-zero status" in text:
        text = _RUN_STATUS.sub(r"\1 (left out: it may quote inputs)", text)
    return _BAD_OUTPUT.sub(" holds a value", text) if " holds " in text else text


def quoted(text: str, most: int = LONGEST_VALUE) -> str:
    """The text as the value of `key=value`: in quotes where it would not end by itself."""
    if text and text.isprintable() and len(text) <= most and not _NEEDS_QUOTES.search(text):
        return text
    shown = text[:most].replace("\\", "\\\\").replace('"', '\\"') + (
        "..." if len(text) > most else ""
    )
    return f'"{printable(shown, len(shown))}"'


def indented(text: str, most: int = 16384) -> str:
    """A traceback, two spaces before each line.

    So that no line of an error's text begins like a record; its middle is left out if it is long.
    """
    if len(text) > most:
        text = f"{text[: most // 2]}\n...\n{text[-most // 2 :]}"
    return "\n".join(f"  {printable(line)}" for line in text.split("\n"))
