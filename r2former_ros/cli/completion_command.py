# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former completion``: a script that completes commands, options and settings in a shell."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from ..config import options

SCRIPT = """\
# Completion of r2former for bash, and for zsh with bashcompinit.
_r2former() {{
    local cur="${{COMP_WORDS[COMP_CWORD]}}" prev="${{COMP_WORDS[COMP_CWORD-1]}}" path="" words="" i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "$path ${{COMP_WORDS[i]}}" in
            {paths}) path="$path ${{COMP_WORDS[i]}}" ;;
        esac
    done
    case "$path:$prev" in
        *:--set) words="{settings}"; compopt -o nospace 2>/dev/null ;;
{values}
        *) case "$path" in
{words}
        esac ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -o default -F _r2former r2former
"""
ZSH = 'autoload -U +X bashcompinit && bashcompinit\n'


def add_parser(commands: Any) -> None:
    """Register the subcommand."""
    parser = commands.add_parser(
        'completion', help='print a script for shell completion',
        description='Print a script that completes commands, options and settings. For bash: '
                    'eval "$(r2former completion bash)" in ~/.bashrc; for zsh likewise.',
    )
    parser.add_argument('shell', choices=('bash', 'zsh'))
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print the script."""
    from . import make_parser

    print((ZSH if arguments.shell == 'zsh' else '') + completion_script(make_parser()), end='')


def completion_script(parser: argparse.ArgumentParser) -> str:
    """Return the bash script that completes the commands of a parser."""
    parsers = dict(walk(parser, ''))
    return SCRIPT.format(
        paths='|'.join(f'"{path}"' for path in parsers if path),
        settings=' '.join(f'{item.name}=' for item in options()),
        values='\n'.join(filter(None, (_values(path, one) for path, one in parsers.items()))),
        words='\n'.join(f'            "{path}") words="{" ".join(_words(one))}" ;;'
                        for path, one in parsers.items()),
    )


def walk(
    parser: argparse.ArgumentParser, path: str
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield a parser and all its subcommands, each with its words, such as `` map build``."""
    yield path, parser
    for name, child in _subcommands(parser).items():
        yield from walk(child, f'{path} {name}')


def _subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    return {name: child for action in parser._actions
            if isinstance(action, argparse._SubParsersAction)
            for name, child in action.choices.items()}


def _words(parser: argparse.ArgumentParser) -> list[str]:
    """Return what may follow a command: its subcommands, or the choices of its words; options."""
    words = list(_subcommands(parser))
    for action in parser._actions:
        if action.option_strings:
            words += [one for one in action.option_strings if one.startswith('--')]
        elif action.choices and not isinstance(action, argparse._SubParsersAction):
            words += map(str, action.choices)
    return words


def _values(path: str, parser: argparse.ArgumentParser) -> str:
    """Return the lines that complete the values of options with choices."""
    return '\n'.join(
        f'        "{path}:{option}") words="{" ".join(map(str, action.choices))}" ;;'
        for action in parser._actions if action.choices for option in action.option_strings)
