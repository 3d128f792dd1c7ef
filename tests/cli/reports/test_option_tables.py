"""The tables of the READMEs are those that the declarations make."""

from pathlib import Path

import pytest

import gateway
from gateway.cli.options.declared import declared_options
from gateway.cli.options.parse import option_name
from gateway.cli.reports.option_tables import TABLES, server_table, with_tables, write_tables

PACKAGE = Path(gateway.__file__).parent


@pytest.mark.parametrize("file", TABLES)
def test_a_committed_table_is_what_its_declarations_make(file):
    text = (PACKAGE / file).read_text(encoding="utf-8")
    assert with_tables(text, TABLES[file]) == text, (
        "write it anew: python -m gateway.cli.reports.option_tables"
    )


def test_the_table_has_every_option_once():
    table = server_table()
    for key in declared_options():
        assert table.count(f"| `{option_name(key)}` |") == 1


def test_a_table_takes_the_place_of_what_stood_between_its_marks():
    text = "a\n<!-- table: x -->\nold\n<!-- end of table -->\nb\n"
    assert with_tables(text, {"x": lambda: "new\n"}) == text.replace("old", "new")


@pytest.mark.parametrize(
    "text", ["", "<!-- table: y -->\n<!-- end of table -->", "<!-- table: x -->\n"]
)
def test_a_file_without_a_place_for_its_table_is_a_fault(text):
    with pytest.raises(ValueError, match="no place for the table 'x'"):
        with_tables(text, {"x": lambda: "new\n"})


def test_tables_are_written_into_the_files_of_a_checkout(tmp_path):
    for file, tables in TABLES.items():
        path = tmp_path / file
        path.parent.mkdir(parents=True)
        marks = (f"<!-- table: {name} -->\nBEFORE\n<!-- end of table -->\n" for name in tables)
        path.write_text("".join(marks))
    write_tables(tmp_path)
    for file, tables in TABLES.items():
        text = (tmp_path / file).read_text()
        assert "BEFORE" not in text
        assert all(make() in text for make in tables.values())
