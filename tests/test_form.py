"""The form of the code: one assignment a line, no condition inside another."""

import ast
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CODE = ("gateway", "load_tests", "models", "protos", "tests")


def files(*folders):
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in found if "generated" not in path.parts]


def place(path, node):
    return f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node).splitlines()[0][:80]}"


def nodes(path):
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def reads_its_own_targets(statement):
    """Whether the right side needs the old value of a target, as a swap does."""
    names = {ast.unparse(target) for target in statement.targets[0].elts}
    held = {ast.unparse(t.value) for t in statement.targets[0].elts if isinstance(t, ast.Subscript)}
    return any(
        ast.unparse(node) in names | held
        for node in ast.walk(statement.value)
        if isinstance(node, (ast.Name, ast.Attribute, ast.Subscript))
    )


def several_assignments(statement):
    """Whether a statement makes several assignments that could stand on lines of their own.

    These are `a = b = x`, and `a, b = x, y` where neither side needs the other.
    """
    if not isinstance(statement, ast.Assign):
        return False
    if len(statement.targets) > 1:
        return True
    target = statement.targets[0]
    value = statement.value
    if not (isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)):
        return False
    if any(isinstance(part, ast.Starred) for part in [*target.elts, *value.elts]):
        return False
    return not reads_its_own_targets(statement)


def sharing_a_line(body):
    """Statements that begin on the line on which the one before them ends."""
    return [late for early, late in pairwise(body) if late.lineno == early.end_lineno]


def bodies(found):
    for node in found:
        for field in ("body", "orelse", "finalbody"):
            body = getattr(node, field, None)
            if isinstance(body, list):
                yield body


def test_one_assignment_a_line():
    found = [(path, nodes(path)) for path in files(*CODE)]
    several = [place(path, n) for path, all_ in found for n in all_ if several_assignments(n)]
    beside = [
        place(path, n)
        for path, all_ in found
        for body in bodies(all_)
        for n in sharing_a_line(body)
    ]
    assert not several + beside, "\n".join(several + beside)


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("a = b = 1", True),
        ("a, b = 1, 2", True),
        ("self.a, self.b = a, b", True),
        ("a, b = b, a", False),
        ("x[i], x[j] = x[j], x[i]", False),
        ("old, new = state, state != old", False),
        ("a, b = f()", False),
        ("a, *b = 1, 2, 3", False),
        ("a = 1", False),
    ],
)
def test_what_counts_as_several_assignments(line, wrong):
    assert several_assignments(ast.parse(line).body[0]) is wrong


def test_no_conditional_expression_stands_inside_another():
    nested = [
        place(path, node)
        for path in files(*CODE)
        for node in nodes(path)
        if isinstance(node, ast.IfExp)
        and any(isinstance(inner, ast.IfExp) for inner in ast.walk(node) if inner is not node)
    ]
    assert not nested, "\n".join(nested)


def docstring(path):
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def test_every_module_says_what_it_is():
    silent = [str(path.relative_to(ROOT)) for path in files("gateway") if not docstring(path)]
    assert not silent, "\n".join(silent)
