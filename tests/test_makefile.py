"""What `make` installs, and what it does after an installation that did not end."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.support.checkout import ROOT

FILES = ("Makefile", "pyproject.toml", "requirements.lock", ".ci/dev.lock", ".ci/build.lock")


@pytest.fixture
def bare(tmp_path):
    """A checkout in which nothing was made yet, as far as the Makefile looks at it."""
    (tmp_path / ".ci").mkdir()
    for file in FILES:
        shutil.copy(ROOT / file, tmp_path / file)
    return tmp_path


def make(folder, *words, **variables):
    """Runs make as typed, also where `make test` runs this."""
    outside = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    return subprocess.run(
        ["make", "--no-print-directory", *words],
        cwd=folder,
        env={**outside, **variables},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def locks(folder, target):
    """The lock files that a target would install from, in that order."""
    return re.findall(r"-r (\S+\.lock)", make(folder, "-n", target).stdout)


def test_serving_installs_only_what_serving_needs(bare):
    assert locks(bare, "serve") == ["requirements.lock", ".ci/build.lock"]


@pytest.mark.parametrize("target", ["test", "lint", "setup"])
def test_tests_and_development_add_the_rest(bare, target):
    assert locks(bare, target) == ["requirements.lock", ".ci/build.lock", ".ci/dev.lock"]


def test_nothing_is_installed_twice(bare):
    (bare / ".venv").mkdir()
    (bare / ".venv" / "ready").touch()
    assert locks(bare, "serve") == []
    assert locks(bare, "test") == [".ci/dev.lock"]
    (bare / ".venv" / "dev").touch()
    assert locks(bare, "test") == []


def test_a_new_lock_file_is_installed_over_the_old_one(bare):
    (bare / ".venv").mkdir()
    for stamp, age in (("ready", 1), ("dev", 2)):
        (bare / ".venv" / stamp).touch()
        os.utime(bare / ".venv" / stamp, (age, age))
    assert locks(bare, "serve") == ["requirements.lock", ".ci/build.lock"]


def test_an_installation_that_failed_says_why_and_is_done_again(bare):
    (bare / "requirements.lock").write_text(f"no-such-package==1 --hash=sha256:{'0' * 64}\n")
    first = make(bare, "serve", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(bare))
    assert first.returncode != 0
    assert first.stdout.startswith("setting up .venv for serving")
    assert "no-such-package" in first.stderr
    assert locks(bare, "serve") == ["requirements.lock", ".ci/build.lock"]


OF_OLD = """#!/bin/sh
exec {python} -c 'import sys
sys.version_info = (3, 9, 2)
code = sys.argv[2]
del sys.argv[1:3]
exec(code)' "$@"
"""


def test_a_python_that_is_too_old_is_named(bare):
    old = bare / "python-of-old"
    old.write_text(OF_OLD.format(python=sys.executable))
    old.chmod(0o755)
    done = make(bare, "serve", f"PYTHON={old}")
    assert done.returncode != 0
    assert f"Python 3.11 or later is needed, and {old} is 3.9.2" in done.stderr
    assert not (bare / ".venv").exists()


def test_a_python_that_is_not_there_is_told_with_the_cure(bare):
    done = make(bare, "serve", "PYTHON=no-such-python")
    assert "no no-such-python found. As root: apt-get install python3 python3-venv" in done.stderr
