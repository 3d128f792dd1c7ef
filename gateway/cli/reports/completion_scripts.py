"""What completes `gateway` in a shell: scripts made from the parsers of the command line.

They hold all words, so that a shell asks no program at each key.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.config.option import FILE, FOLDER

_BASH: Final = """\
# Completion of gateway for bash: eval "$(gateway completion bash)"
_gateway() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} command="" each
    for each in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case $each in -*) ;; *) command=$each; break ;; esac
    done
    COMPREPLY=()
    if [[ -z $command ]]; then
        COMPREPLY=($(compgen -W {commands} -- "$word"))
        return
    fi
    case "$command $before" in
{values}
    esac
    if [[ $word != -* ]]; then
        COMPREPLY=($(compgen -f -- "$word"))
        return
    fi
    case $command in
{options}
    esac
}}
complete -o filenames -F _gateway gateway
"""

_ZSH: Final = """\
#compdef gateway
# Completion of gateway for zsh: source <(gateway completion zsh), after compinit
_gateway() {{
    local -a commands
    commands=(
{commands}
    )
    if (( CURRENT == 2 )); then
        _describe command commands
        return
    fi
    case $words[2] in
{options}
    esac
}}
compdef _gateway gateway
"""


@dataclass(frozen=True, slots=True)
class Word:
    """One option of a command."""

    names: tuple[str, ...]
    help: str
    value: str
    """What its argument is called; empty: it takes none."""
    choices: tuple[str, ...] = ()
    """Values that it takes; empty: any."""


def words_of(parser: argparse.ArgumentParser, choices: Mapping[str, tuple[str, ...]]) -> list[Word]:
    """The options of a parser; `choices` by what they are called in the parsed arguments."""
    return [
        Word(
            tuple(action.option_strings),
            (action.help or "").partition(" [default")[0],
            "" if action.nargs == 0 else str(action.metavar or action.dest.upper()),
            choices.get(action.dest, ()),
        )
        for action in parser._actions
        if action.option_strings
    ]


def bash_script(commands: Mapping[str, str], words: Mapping[str, list[Word]]) -> str:
    """The script for bash; `commands` with a line of help each, `words` by command."""
    options = "\n".join(
        f'        {name}) COMPREPLY=($(compgen -W {_list(each)} -- "$word")) ;;'
        for name, each in words.items()
    )
    values = "\n".join(line for name, each in words.items() for line in _bash_values(name, each))
    return _BASH.format(commands=shlex.quote(" ".join(commands)), values=values, options=options)


def zsh_script(commands: Mapping[str, str], words: Mapping[str, list[Word]]) -> str:
    """The script for zsh."""
    lines = "\n".join(f"        {shlex.quote(f'{name}:{text}')}" for name, text in commands.items())
    options = "\n".join(
        f"        {name}) _arguments -s {' '.join(_zsh_options(each))} '*:file:_files' ;;"
        for name, each in words.items()
    )
    return _ZSH.format(commands=lines, options=options)


def _list(words: Iterable[Word]) -> str:
    return shlex.quote(" ".join(name for word in words for name in word.names))


def _bash_values(command: str, words: Iterable[Word]) -> Iterator[str]:
    for word in words:
        if not word.value:
            continue
        action = {FOLDER: "compgen -d", FILE: "compgen -f"}.get(word.value, "")
        if word.choices:
            action = f"compgen -W {shlex.quote(' '.join(word.choices))}"
        reply = f'COMPREPLY=($({action} -- "$word")); ' if action else ""
        patterns = "|".join(f'"{command} {name}"' for name in word.names)
        yield f"        {patterns}) {reply}return ;;"


def _zsh_options(words: Iterable[Word]) -> Iterator[str]:
    for word in words:
        help_text = word.help.replace("[", "(").replace("]", ")").replace(":", ";")
        for name in word.names:
            yield shlex.quote(f"{name}[{help_text}]{_zsh_value(word)}")


def _zsh_value(word: Word) -> str:
    if not word.value:
        return ""
    action = {FOLDER: "_files -/", FILE: "_files"}.get(word.value, " ")
    if word.choices:
        action = f"({' '.join(word.choices)})"
    return f":{word.value.replace(':', ' ')}:{action}"
