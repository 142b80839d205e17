# SPDX-License-Identifier: Apache-2.0
"""The arrows between the folders of src go one way: none is in a circle with another, by what files include and by what
their object files call."""
import os
import re
import subprocess

from .tally import TOP

INCLUDE = re.compile(r'^#include "([^"]+)"', re.M)
SYMBOL = re.compile(r'^\s*(?:[0-9a-f]+)?\s*([A-Za-z])\s+(\S+)$')
# What a lower room names and a higher one fills in: tables, by which the higher rooms are known to nobody.
TABLES = {'parts': 'the parts of the conductor (conductor/core/part.h)',
          'check_belongings': 'a row of the checks (host/checks/checks.h)',
          'source_role': 'the two ends of a transfer (mover/core/transfer.h)', 'destination_role': 'likewise'}


def circles(arrows):
    """The sets of nodes that reach each other (Tarjan), of {node: {node: whatever}}."""
    number, low, stack, found = {}, {}, [], []

    def visit(node):
        number[node] = low[node] = len(number)
        stack.append(node)
        for other in arrows.get(node, {}):
            if other not in number:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], number[other])
        if low[node] == number[node]:
            members = set()
            while node not in members:
                members.add(stack.pop())
            if len(members) > 1:
                found.append(members)

    for node in sorted(arrows):
        if node not in number:
            visit(node)
    return found


def complain(arrows):
    """A line for each circle, and the arrows of the rarest kinds in it: one of these is too much."""
    for members in circles(arrows):
        inside = sorted((len(reasons), here, there, sorted(reasons)[0]) for here in sorted(members)
                        for there, reasons in arrows[here].items() if there in members)
        yield f'{", ".join(sorted(members))} use each other: ' + '; '.join(
            f'{here} uses {there} ({reason})' for _, here, there, reason in inside[:4])


def note(arrows, here, there, reason):
    if here != there:
        arrows.setdefault(here, {}).setdefault(there, set()).add(reason)


def check_includes(names):
    """no folder of src includes what stands above it"""
    arrows = {}
    for name in names:
        if name.startswith('src/') and name.endswith(('.c', '.h')):
            for path in INCLUDE.findall((TOP / name).read_text()):
                note(arrows, os.path.dirname(name)[4:], os.path.dirname(path), f'{os.path.basename(name)}: {path}')
    yield from complain(arrows)


def objects(tree):
    """Each object file of src in a build, with the folder of its source."""
    for name in subprocess.run(['git', 'ls-files', 'src'], cwd=TOP, capture_output=True, text=True, check=False).stdout.split():
        room, _, rest = name.removeprefix('src/').partition('/')
        path = tree / 'src' / room / f'lib{room}.a.p' / (rest.replace('/', '_') + '.o')
        if name.endswith('.c') and path.exists():
            yield path, os.path.dirname(name)[4:]


def check_calls(tree):
    """no folder of src calls what stands above it"""
    homes, wanted, arrows = {}, [], {}
    for path, folder in objects(tree):
        for line in subprocess.run(['nm', '-g', path], capture_output=True, text=True, check=True).stdout.splitlines():
            kind, symbol = SYMBOL.match(line).groups()
            if kind == 'U':
                wanted.append((folder, symbol))
            elif kind in 'TDRB':
                homes[symbol] = folder
    if len(homes) < 500:
        yield f'only {len(homes)} symbols were found in {tree}'
    for folder, symbol in wanted:
        if symbol in homes and symbol not in TABLES:
            note(arrows, folder, homes[symbol], symbol)
    yield from complain(arrows)
