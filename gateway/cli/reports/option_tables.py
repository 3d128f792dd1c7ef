"""Tables of the READMEs that are made from the declarations of options.

`python -m gateway.cli.reports.option_tables` on the command line writes them between their marks,
in a checkout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import gateway
from gateway.cli.options.declared import declared_options
from gateway.cli.options.model_keys import ModelKey, protection_keys, serving_keys
from gateway.cli.options.parse import option_name

_END: Final = "<!-- end of table -->"


def server_table() -> str:
    """Every option of `gateway serve`, by what it is about."""
    rows = []
    title = ""
    for option in declared_options().values():
        if option.title != title:
            title = option.title
            rows.append((f"**{title}**", "", "", ""))
        rows.append((
            f"`{option_name(option.key)}`",
            f"`{option.option.value}`" if option.option.value else "",
            option.option.help,
            option.default_text,
        ))  # fmt: skip
    return _table(("option", "value", "meaning", "left out"), rows)


def serving_table() -> str:
    """Keys of `model.yaml` that say how a model is served."""
    return _key_table(serving_keys())


def protection_table() -> str:
    """Keys of `model.yaml` that say how a model is protected, and what runs it."""
    return _key_table(protection_keys())


TABLES: Final[Mapping[str, Mapping[str, Callable[[], str]]]] = {
    "config/README.md": {"server options": server_table},
    "control/models/README.md": {
        "keys of model.yaml": serving_table,
        "keys of model.yaml for protection": protection_table,
    },
}
"""The tables of each file, which is named by its path below the package's folder."""


def with_tables(text: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """The text with each table between its marks; raises ValueError where a mark is missing."""
    for name, make in tables.items():
        begin = f"<!-- table: {name} -->\n"
        before, mark, rest = text.partition(begin)
        _, end, after = rest.partition(_END)
        if not mark or not end:
            raise ValueError(f"there is no place for the table '{name}': {begin.strip()} {_END}")
        text = before + mark + make() + end + after
    return text


def write_tables(package: Path) -> None:
    """Writes all tables into the READMEs below the package's folder."""
    for file, tables in TABLES.items():
        path = package / file
        path.write_text(with_tables(path.read_text(encoding="utf-8"), tables), encoding="utf-8")


def _key_table(keys: Iterable[ModelKey]) -> str:
    return _table(
        ("key", "meaning", "left out"),
        ((", ".join(f"`{path}`" for path in key.paths), key.help, key.left_out) for key in keys),
    )


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [_line(titles), f"{'|---' * len(titles)}|", *map(_line, rows)]
    return "".join(f"{line}\n" for line in lines)


def _line(cells: Sequence[str]) -> str:
    shown = (cell.replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(shown)} |"


if __name__ == "__main__":
    write_tables(Path(gateway.__file__).parent)
