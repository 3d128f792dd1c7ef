"""Programs that are built with Go: what is taken, what is built, and what is said meanwhile."""

import subprocess

import pytest

from load_tests.go_tools import GoTool, Progress, find_go, go_version, provide

PROGRAM = "package main\n\nfunc main() { println(`built`) }\n"
BROKEN = "package main\n\nfunc main() { nothing() }\n"


@pytest.fixture
def tool(tmp_path):
    """A program of a module that has no other than Go's own."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "go.mod").write_text("module example.test/small\n\ngo 1.21\n")
    (source / "main.go").write_text(PROGRAM)
    return GoTool("small", "example.test/small", "v1", folder=source, bin=tmp_path / "bin")


def needs_go():
    if find_go() is None:
        pytest.skip("no Go here: make tools")


def test_a_tool_is_built_with_word_of_it(tool, capsys):
    needs_go()
    provide(tool)
    ran = subprocess.run([tool.path], capture_output=True, text=True, check=True)
    assert ran.stderr == "built\n"
    assert capsys.readouterr().out.startswith("building small v1 with ")


def test_a_build_that_fails_shows_its_last_lines_and_what_it_needs(tool):
    needs_go()
    (tool.folder / "main.go").write_text(BROKEN)
    with pytest.raises(SystemExit, match=r"undefined: nothing[^$]*failed: .*\nGo must reach"):
        provide(tool)


def test_what_is_in_path_is_taken_and_nothing_is_built(tool, tmp_path, monkeypatch, capsys):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "small").write_text("#!/bin/sh\necho theirs\n")
    (theirs / "small").chmod(0o755)
    monkeypatch.setenv("PATH", str(theirs))
    provide(tool)
    assert subprocess.check_output([tool.path], text=True) == "theirs\n"
    assert f"{theirs}/small, which is in PATH" in capsys.readouterr().out


def test_what_was_put_in_place_is_not_taken_for_the_users_own(tool, monkeypatch):
    tool.bin.mkdir()
    tool.path.write_text("#!/bin/sh\n")
    tool.path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.bin))
    assert tool.in_path() is None


def test_the_right_version_counts_as_built_and_no_other(tool):
    tool.bin.mkdir()
    tool.path.write_bytes(b"...example.test/small\tv2\t...")
    assert not tool.is_built()
    tool.path.write_bytes(b"...example.test/small\tv1\t...")
    assert tool.is_built()


def test_progress_counts_downloads_and_packages():
    progress = Progress("small", ["go: downloading a v1", "go: downloading b v2", "c/d", "e"])
    progress.read()
    assert str(progress).startswith("small: 2 modules downloaded, 2 packages compiled, ")


def test_go_version_compares_by_number():
    assert go_version("go version go1.26.8 linux/amd64") >= (1, 24, 6)
    assert go_version("go version go1.9 linux/amd64") < (1, 24, 6)
    assert go_version("command not found") == ()
