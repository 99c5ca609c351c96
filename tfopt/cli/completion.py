"""Print what completes tfopt's commands and options in a shell.

One table of commands and options, read from the parsers, and one writer for each shell.
"""

import argparse
import importlib
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from tfopt._words import choice
from tfopt.cli.parser import Parser

EXAMPLES = """
  tfopt completion bash >> ~/.bashrc
  tfopt completion zsh > ~/.zfunc/_tfopt                       where fpath holds ~/.zfunc
  tfopt completion fish > ~/.config/fish/completions/tfopt.fish
"""
USAGE = "tfopt completion SHELL"


@dataclass
class _Option:
    flags: Sequence[str]
    help: str
    takes_value: bool
    choices: tuple[str, ...] = ()


@dataclass
class _Command:
    name: str
    summary: str
    options: list[_Option] = field(default_factory=list)
    words: tuple[str, ...] = ()  # what its first argument may be
    takes_file: bool = True  # also, or only, a file


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `tfopt completion`."""
    parser.add_argument("shell", type=choice(*_WRITERS), metavar="SHELL", help=", ".join(_WRITERS))


def run(arguments: argparse.Namespace) -> int:
    """Print the script."""
    print(_WRITERS[arguments.shell](_commands()))
    return 0


def _commands() -> list[_Command]:
    from tfopt.cli.main import VERBS, verb_parser  # which import this module
    from tfopt.data.sources import EMBEDDED

    commands = []
    for verb, summary in VERBS.items():
        command = _Command(verb, summary)
        for action in verb_parser(verb, importlib.import_module(f"tfopt.cli.{verb.replace('-', '_')}"))._actions:
            values = tuple(getattr(action.type, "choices", ()))
            if action.option_strings:
                takes_value = action.nargs != 0
                command.options.append(_Option(action.option_strings, _first(action.help), takes_value, values))
            elif not command.words:
                command.words = EMBEDDED if action.dest == "data" else values
                command.takes_file = not values
        commands.append(command)
    return commands


def _first(help_text: str | None) -> str:
    """Return the start of an option's help, for a narrow column."""
    return re.split(r"[:;(]", (help_text or "").replace("%%", "%"))[0].strip().replace("'", "’")


def _bash(commands: list[_Command]) -> str:
    cases, values = [], []
    for command in commands:
        flags = " ".join(flag for option in command.options for flag in option.flags)
        words = " ".join(command.words)
        file = "; file=1" if command.takes_file else ""
        cases.append(f"        {command.name}) flags={shlex.quote(flags)}; words={shlex.quote(words)}{file} ;;")
        for choices, options in groupby(command.options, key=lambda option: (option.takes_value, option.choices)):
            if choices[0]:
                pattern = "|".join(f"{command.name}:{flag}" for option in options for flag in option.flags)
                values.append(f"        {pattern}) values={shlex.quote(' '.join(choices[1]))}; takes=1 ;;")
    names = " ".join(command.name for command in commands)
    return "\n".join([
        "_tfopt() {",
        "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}",
        "    local flags= words= values= takes= file=",
        "    COMPREPLY=()",
        "    if [ \"$COMP_CWORD\" = 1 ]; then",
        f"        COMPREPLY=($(compgen -W {shlex.quote(names + ' --help --version')} -- \"$word\"))",
        "        return",
        "    fi",
        "    case ${COMP_WORDS[1]} in",
        *cases,
        "    esac",
        "    case ${COMP_WORDS[1]}:$before in",
        *values,
        "    esac",
        "    if [ -n \"$values\" ]; then",
        "        COMPREPLY=($(compgen -W \"$values\" -- \"$word\"))",
        "    elif [ -z \"$takes\" ] && [[ $word == -* ]]; then",
        "        COMPREPLY=($(compgen -W \"$flags\" -- \"$word\"))",
        "    elif [ -z \"$takes\" ] && [ -n \"$words\" ] && [ \"$COMP_CWORD\" = 2 ]; then",
        "        COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))",
        "        if [ -n \"$file\" ]; then",
        "            compopt -o filenames 2>/dev/null",
        "            while IFS= read -r file; do COMPREPLY+=(\"$file\"); done < <(compgen -f -- \"$word\")",
        "        fi",
        "    fi",  # where nothing is found: file names
        "}",
        "complete -o default -F _tfopt tfopt",
    ])  # fmt: skip


def _zsh(commands: list[_Command]) -> str:
    cases = []
    for command in commands:
        lines = [f"        {command.name})", "            _arguments -s \\"]
        for option in command.options:
            about = option.help.replace("[", "(").replace("]", ")").replace(":", "")
            value = f":value:({' '.join(option.choices)})" if option.choices else ":value:_files"
            for flag in option.flags:
                end = f"[{about}]{value if option.takes_value else ''}"
                lines.append(f"                {shlex.quote('*' + flag + end)} \\")
        words = f"({' '.join(command.words)})"
        rest = f'{{_alternative "word:word:{words}" "file:file:_files"}}' if command.takes_file else words
        lines += [f"                {shlex.quote(f'*:word:{rest}')} ;;"]
        cases += lines
    names = [f"        {shlex.quote(f'{command.name}:{command.summary}')}" for command in commands]
    return "\n".join([
        "#compdef tfopt",
        "_tfopt() {",
        "    local -a commands",
        "    commands=(",
        *names,
        "    )",
        "    if (( CURRENT == 2 )); then",
        "        _describe command commands",
        "        return",
        "    fi",
        "    local command=$words[2]",
        "    shift words; (( CURRENT-- ))",
        "    case $command in",
        *cases,
        "    esac",
        "}",
        "if [[ $funcstack[1] == _tfopt ]]; then _tfopt \"$@\"; else compdef _tfopt tfopt; fi",
    ])  # fmt: skip


def _fish(commands: list[_Command]) -> str:
    lines = ["complete -c tfopt -n __fish_use_subcommand -l help -d 'show the commands'"]
    for command in commands:
        lines.append(
            f"complete -c tfopt -n __fish_use_subcommand -f -a {command.name} -d {_fish_quoted(command.summary)}"
        )
        condition = _fish_quoted(f"__fish_seen_subcommand_from {command.name}")
        if command.words:
            only = "" if command.takes_file else " -f"
            lines.append(f"complete -c tfopt -n {condition}{only} -a {_fish_quoted(' '.join(command.words))}")
        for option in command.options:
            words = ["complete", "-c", "tfopt", "-n", condition]
            for flag in option.flags:
                words += ["-l", flag[2:]] if flag.startswith("--") else ["-s", flag[1:]]
            if option.choices:
                words += ["-x", "-a", _fish_quoted(" ".join(option.choices))]
            elif option.takes_value:
                words.append("-r")
            lines.append(" ".join([*words, "-d", _fish_quoted(option.help)]))
    return "\n".join(lines)


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


_WRITERS = {"bash": _bash, "zsh": _zsh, "fish": _fish}
