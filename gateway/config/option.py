"""What describes an option, beside its name, type and default: read in the main process.

A field of an options struct is `name: Annotated[type, Option(...)] = default`. The command line,
`--help`, the configuration file's keys and the tables of the READMEs are made from that line. A
field without an `Option` is not for people to set.

Annotations stay texts until somebody asks for them, so that processes which only read values pay
nothing for their descriptions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

DURATION: Final = "DURATION"
"""The value of a field in seconds, which people write with a unit: `500us`, `5s`."""
SIZE: Final = "SIZE"
"""The value of a field in bytes, which people write with a unit: `64MiB`."""
FILE: Final = "FILE"
FOLDER: Final = "DIR"
PATHS: Final = frozenset({FILE, FOLDER})
"""Values that are paths; relative ones in a configuration file start at its folder."""


class Option(NamedTuple):
    """One option: what it means, and how it is written."""

    help: str
    """What it does, with its unit and the meaning of 0."""
    value: str = ""
    """How help shows its argument; `DURATION` and `SIZE` also say how it is written."""
    default: str = ""
    """What holds where nothing is set, in words; empty: as the field's default is written."""
    only: str = ""
    """The section that has it, of several that share a struct; empty: all of them."""
    key: str = ""
    """The name that people write; empty: the field's, without the `_s` of a duration."""
    least: int | None = None
    """Smallest whole number; None: any."""
    most: int | None = None
    """Largest whole number; None: any."""
    parse: Callable[[object], Any] | None = None
    """Reads what is written, raising ValueError; None: the field's type says how it is read."""
