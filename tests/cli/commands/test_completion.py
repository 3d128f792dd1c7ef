"""`gateway completion`, as a shell that has read its script completes."""

import shlex
import shutil
import subprocess

import pytest

from gateway.cli.command_line import COMMANDS


@pytest.fixture(scope="module")
def script(gateway):
    done = gateway("completion", "bash")
    assert done.status == 0, done.err
    return done.out


@pytest.fixture
def complete(script, tmp_path):
    """What bash offers for the last word of a line, in a folder with a file and a folder."""
    (tmp_path / "rows.csv").touch()
    (tmp_path / "models").mkdir()

    def run(line):
        words = [*line.split(" ")]
        quoted = " ".join(map(shlex.quote, words))
        program = f"""{script}
COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}
_gateway
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
        done = subprocess.run(
            ["bash", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
        return set(done.stdout.split())

    return run


def test_the_first_word_is_a_command(complete):
    assert complete("gateway ") == set(COMMANDS)
    assert complete("gateway rel") == {"reload"}


def test_an_option_is_completed_by_its_command(complete):
    assert complete("gateway serve --trust") == {"--trust-loopback"}
    assert complete("gateway breakers m --force") == {"--force-open", "--force-close"}
    assert "--models" not in complete("gateway top --")


def test_a_value_is_completed_by_what_its_option_takes(complete):
    assert complete("gateway serve --models ") == {"models"}
    assert complete("gateway infer m --input ") == {"rows.csv", "models"}
    assert complete("gateway serve --model-control ex") == {"explicit"}
    assert complete("gateway serve --log-format ") == {"human", "json"}
    assert complete("gateway serve --port ") == set()


def test_a_word_that_is_no_option_may_be_a_file(complete):
    assert complete("gateway check mo") == {"models"}


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_reads_its_script(gateway):
    script = gateway("completion", "zsh").out
    subprocess.run(["zsh", "-n"], input=script, text=True, check=True)


def test_the_script_for_zsh_describes_every_command_and_its_options(gateway):
    out = gateway("completion", "zsh").out
    assert out.startswith("#compdef gateway\n")
    for name, text in COMMANDS.items():
        assert shlex.quote(f"{name}:{text}") in out
    (serve,) = [line for line in out.splitlines() if line.strip().startswith("serve) ")]
    words = shlex.split(serve.removesuffix(";;"))
    assert any(word.startswith("--models[") and word.endswith(":DIR:_files -/") for word in words)
    assert any(word.endswith(":MODE:(none poll explicit open)") for word in words) or any(
        word.startswith("--model-control[") and "explicit" in word for word in words
    )


def test_another_shell_is_told_which_there_are(gateway):
    done = gateway("completion", "fish")
    assert done.status == 2
    assert "'bash', 'zsh'" in done.faults[0]
