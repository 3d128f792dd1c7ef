"""Tables that leave columns out where there is no room."""

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from gateway.cli.reports.fitted_table import Column, FittedTable

CELLS = st.text(st.sampled_from("abc漢é-"), min_size=0, max_size=30)


def shown(table, width):
    """The table's lines, header first, without those that are blank or a rule."""
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(table)
    return [line for line in out.getvalue().splitlines() if line.strip(" ─")]


def made(rows):
    columns = [
        Column("name", 0, least=12),
        *(Column(f"n{rank}", rank, number=True) for rank in (2, 1, 3)),
    ]
    return FittedTable(columns, [[Text(cell) for cell in row] for row in rows])


@given(
    st.lists(st.tuples(CELLS, CELLS, CELLS, CELLS), min_size=1, max_size=5), st.integers(14, 200)
)
def test_it_is_never_wider_than_the_console_and_has_a_line_for_each_row(rows, width):
    lines = shown(made([("x", *row[1:]) if not row[0].strip() else row for row in rows]), width)
    assert len(lines) == 1 + len(rows)
    assert all(Text(line).cell_len <= width for line in lines)


def test_columns_go_by_their_rank_and_the_name_has_what_is_left():
    table = made([("a-long-name-of-a-model", "22", "11", "33")])
    assert shown(table, 36)[1].split() == ["a-long-name-of-a-model", "22", "11", "33"]
    assert shown(table, 35)[1].split() == ["a-long-name-of-a-mod…", "22", "11", "33"]
    assert [line.split() for line in shown(table, 25)] == [
        ["name", "n2", "n1"],
        ["a-long-name-of…", "22", "11"],
    ]
    assert [line.split() for line in shown(table, 21)] == [
        ["name", "n1"],
        ["a-long-name-of…", "11"],
    ]
    assert [line.split() for line in shown(table, 15)] == [["name"], ["a-long-name-…"]]
