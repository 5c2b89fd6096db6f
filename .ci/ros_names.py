# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Compare every rclpy, launch and launch_ros name that this package uses with several distributions.

    python .ci/ros_names.py                          check, against .ci/ros_names.json
    python .ci/ros_names.py BRANCH=FOLDER[@NOTE] …   rewrite that table

A FOLDER holds the three packages' folders of one branch (``rclpy launch launch_ros``). The table
holds names only: ``module:name`` of what can be imported, and the methods of classes, whatever
their class, since a call does not say which class it is about.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
TABLE = Path(__file__).with_suffix('.json')
PACKAGES = ('rclpy', 'launch', 'launch_ros')
OURS = ('r2former_ros', 'launch', 'scripts', 'benchmarks')
Names = dict[str, set[str]]  # a name, and the branches that have it


def main(arguments: list[str]) -> int:
    """Rewrite the table, or check; 1 if a name is missing somewhere."""
    if arguments:
        TABLE.write_text(json.dumps(table_of(arguments), indent=0, sort_keys=True) + '\n')
        return 0
    missing = list(problems(json.loads(TABLE.read_text())))
    print('\n'.join(missing) or 'every name exists on every branch')
    return 1 if missing else 0


def table_of(arguments: Iterable[str]) -> dict[str, object]:
    """Return the table of some ``BRANCH=FOLDER@NOTE``: names to the initials of branches."""
    notes, names, methods = {}, {}, {}
    for argument in arguments:
        branch, _, rest = argument.partition('=')
        folder, _, notes[branch] = rest.partition('@')
        for package in PACKAGES:
            for path in sorted(Path(folder, package).rglob('*.py')):
                read_module(path, Path(folder), branch, names, methods)
    return {'branches': notes, 'names': joined(names), 'methods': joined(methods)}


def joined(names: Names) -> dict[str, str]:
    """Write the branches of each name as their initials."""
    return {name: ''.join(sorted(branch[0] for branch in there)) for name, there in names.items()}


def read_module(path: Path, root: Path, branch: str, names: Names, methods: Names) -> None:
    """Note what a source file defines or imports, and the methods of its classes."""
    parts = path.relative_to(root).with_suffix('').parts
    module = '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)
    names.setdefault(module, set()).add(branch)
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for member in methods_of(node):
                methods.setdefault(member, set()).add(branch)
    for name in defined(tree.body):
        names.setdefault(f'{module}:{name}', set()).add(branch)


def defined(body: Iterable[ast.stmt]) -> Iterator[str]:
    """Yield the names that statements bind."""
    for node in body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from ((alias.asname or alias.name).split('.')[0] for alias in node.names)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (one.id for one in targets if isinstance(one, ast.Name))
        elif isinstance(node, (ast.If, ast.Try)):
            yield from defined([*node.body, *node.orelse])


def methods_of(node: ast.ClassDef) -> Iterator[str]:
    """Yield the methods of a class that are not private."""
    for one in node.body:
        if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef)) and one.name[0] != '_':
            yield one.name


def problems(table: dict[str, dict[str, str]]) -> Iterator[str]:
    """Yield a line for each name of ours that a branch lacks."""
    everywhere = ''.join(sorted(branch[0] for branch in table['branches']))
    for folder in OURS:
        for path in sorted((ROOT / folder).rglob('*')):
            if path.is_file() and (path.suffix == '.py' or folder == 'scripts'):
                tree, where = ast.parse(path.read_text()), path.relative_to(ROOT)
                for line, choices in [*imported(tree), *calls(tree, table['methods'])]:
                    there = set().union(*(
                        (table['names'] | table['methods']).get(one, '') for one in choices))
                    if lacking := set(everywhere) - there:
                        branches = [one for one in table['branches'] if one[0] in lacking]
                        yield f'{where}:{line}: {choices[0]}: not on {", ".join(branches)}'


def imported(tree: ast.Module) -> Iterator[tuple[int, list[str]]]:
    """Yield the line of each import of theirs, with what is imported instead if it fails."""
    guarded: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Try):
            choices = [one for one in ast.walk(node) if isinstance(one, ast.ImportFrom)]
            names = [name for one in choices for name in names_in(one)]
            if len(choices) > 1 and names:
                guarded.update(choices)
                yield node.lineno, names
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node not in guarded:
            yield from ((node.lineno, [name]) for name in names_in(node))


def names_in(node: ast.ImportFrom) -> list[str]:
    """Return ``module:name`` for an import from one of their packages."""
    theirs = node.level == 0 and (node.module or '').split('.')[0] in PACKAGES
    return [f'{node.module}:{alias.name}' for alias in node.names] if theirs else []


def calls(tree: ast.Module, methods: dict[str, str]) -> Iterator[tuple[int, list[str]]]:
    """Yield calls of methods that a class of theirs has on some branch, in files that use them."""
    uses = any(isinstance(node, (ast.Import, ast.ImportFrom)) and any(
        name.split('.')[0] in PACKAGES for name in
        ([node.module or ''] if isinstance(node, ast.ImportFrom) else
         [alias.name for alias in node.names])) for node in ast.walk(tree))
    own = {name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
           for name in methods_of(node)}
    for node in ast.walk(tree) if uses else ():
        name = node.func.attr if isinstance(node, ast.Call) and isinstance(
            node.func, ast.Attribute) else ''
        if name in methods and name not in own:
            yield node.lineno, [name]


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
