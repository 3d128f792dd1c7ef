"""The form of the code: one assignment a line, short functions, files that are read at once."""

import ast
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CODE = ("gateway", "load_tests", "models", "protos", "tests")
MOST_LINES = 25
LONGEST = 40
MOST_LINES_OF_A_FILE = 250
MOST_EXCEPTIONS = 10

# Functions that read better whole, by file and name, each with its reason.
LONGER = {
    "gateway/records/counters.py: VersionStatistics.record_batch": (
        "a table: one counter a line, by number; loops and names cost twice the time"
    ),
    "gateway/serving/batching/batcher.py: Batcher.__init__": (
        "a sequence: each part of a batcher is given those before it"
    ),
}

# Where a module runs, in words that its docstring may use.
PROCESSES = (
    "serving process",
    "main process",
    "control process",
    "telemetry process",
    "worker process",
    "inspection process",
    "command line",
    "every process",
    "all processes",
    "client",
)


def files(*folders):
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in found if "generated" not in path.parts]


def place(path, node):
    return f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node).splitlines()[0][:80]}"


def nodes(path):
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def reads_its_own_targets(statement):
    """A swap, and whatever else needs the old value of a target on the right side."""
    names = {ast.unparse(target) for target in statement.targets[0].elts}
    held = {ast.unparse(t.value) for t in statement.targets[0].elts if isinstance(t, ast.Subscript)}
    return any(
        ast.unparse(node) in names | held
        for node in ast.walk(statement.value)
        if isinstance(node, (ast.Name, ast.Attribute, ast.Subscript))
    )


def several_assignments(statement):
    """`a = b = x`, or `a, b = x, y` where both sides could as well stand one below the other."""
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


def functions(path):
    """Every function with its name in its classes, and its lines.

    Counted are all lines from `def` to the end, comments and blank lines too, but for the
    docstring; decorators stand before `def`. A function within another counts for both.
    """

    def walk(node, name):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield f"{name}{child.name}", length(child)
            named = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
            yield from walk(child, f"{name}{child.name}." if named else name)

    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [(f"{path.relative_to(ROOT)}: {name}", lines) for name, lines in walk(tree, "")]


def length(function):
    first = function.body[0]
    doc = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    spared = (
        first.end_lineno - first.lineno + 1 if doc and isinstance(first.value.value, str) else 0
    )
    return function.end_lineno - function.lineno + 1 - spared


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


def test_functions_are_short_except_a_few_that_read_better_whole():
    lengths = dict(entry for path in files("gateway") for entry in functions(path))
    long = {name: lines for name, lines in lengths.items() if lines > MOST_LINES}
    unlisted = [f"{name} has {lines} lines" for name, lines in long.items() if name not in LONGER]
    assert not unlisted, "\n".join(unlisted)
    assert set(LONGER) == set(long), "listed without need"
    assert max(lengths.values()) <= LONGEST


def test_the_exceptions_are_few_and_each_has_a_reason():
    assert len(LONGER) <= MOST_EXCEPTIONS
    assert all(len(reason.split()) > 2 for reason in LONGER.values())


def test_files_are_of_a_size_that_is_read_at_a_sitting():
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files("gateway")}
    long = [
        f"{path.relative_to(ROOT)}: {n}" for path, n in lines.items() if n > MOST_LINES_OF_A_FILE
    ]
    assert not long, "\n".join(long)


def docstring(path):
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def test_every_module_says_what_it_is():
    silent = [str(path.relative_to(ROOT)) for path in files("gateway") if not docstring(path)]
    assert not silent, "\n".join(silent)


def test_every_module_names_the_process_that_it_runs_in():
    """In the first two paragraphs of its docstring; a package's own file need not."""
    silent = []
    for path in files("gateway"):
        start = " ".join("\n\n".join(docstring(path).split("\n\n")[:2]).split()).lower()
        if path.name != "__init__.py" and not any(words in start for words in PROCESSES):
            silent.append(str(path.relative_to(ROOT)))
    assert not silent, "\n".join(silent)
