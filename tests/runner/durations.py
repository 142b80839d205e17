# SPDX-License-Identifier: Apache-2.0
"""How long tests take: the kept table tests/durations, what a run will take by it, and which slow tests a run leaves out.

Slow tests of the lab are drawn: a run has one in three of them, which ones follows from the commit, so that over
commits all of them run. `--long` has all. Tests of a class whose names begin with a number follow on each other and
are drawn together, unless the file says that they do not, DRAWN_BY_ROW = ("Class",). A file may keep some from being drawn:
EVERY_RUN = ("Class", "Class.test").
"""
import ast
import hashlib
import os
import random
import re
import subprocess

from .tally import LOGS, TOP

TABLE = TOP / 'tests' / 'durations'
LATEST = LOGS / 'durations'  # what runs of this tree measured, for tests that are not in the table yet
HEAD = """\
# Seconds that tests take: PART FILE TEST SECONDS; "-" is what a part or a file takes beside its tests.
# Written by "tests/run --keep-durations" on two quiet processors; read to say how long a run will take, and to know
# which tests are slow (tests/runner/durations.py).
"""
PARTS = ('static', 'compilers', 'unit', 'tsan', 'fuzz', 'lab')
LIMIT_S = 45 * 60  # for a whole run without --long
SLOW_S = 8
ONE_IN = 3
UNKNOWN_S = 8  # of a test that is not in the table
NUMBERED = re.compile(r'test_\d')
MARK = r'^{}\s*=\s*(.+)'
TEST = re.compile(r'^    def (test\w*)\(self', re.M)
TOOK = re.compile(r'^# took ([\w.]+) ([\d.]+) s$', re.M)


def read_table(*places):
    """{(part, file, test): seconds}; the first place that knows a test counts."""
    table = {}
    for line in (line for place in places if place.exists() for line in place.read_text().splitlines()):
        if line and not line.startswith('#'):
            part, file, test, seconds = line.split()
            table.setdefault((part, file, test), float(seconds))
    return table


def write_table(place, measured):
    """What was measured into a table. Lines of lab files that ran whole are made anew, those of files that are gone go."""
    table = read_table(place)
    files = {key[1] for key in measured if key[0] == 'lab' and key[2] == '-'}
    table = {key: seconds for key, seconds in table.items()
             if key[0] != 'lab' or key[1] not in files and (TOP / 'tests' / 'lab' / key[1]).exists()}
    table.update(measured)
    lines = [f'{part} {file} {test} {seconds:.1f}\n' for (part, file, test), seconds in sorted(table.items())]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(HEAD + ''.join(lines))


def measured_in(path, seconds, output, whole):
    """What one lab file took: each test that ran, and if the whole file did, the rest."""
    found = {('lab', path.name, name.split('.', 1)[1]): float(took) for name, took in TOOK.findall(output)}
    if whole:
        found['lab', path.name, '-'] = max(0.0, seconds - sum(found.values()))
    return found


def commit():
    done = subprocess.run(['git', '-c', 'safe.directory=*', 'rev-parse', '--short=12', 'HEAD'], cwd=TOP, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return done.stdout.strip() or 'no commit'


# ---- which slow tests ----


def mark_of(path, name):
    """What a test file says in a line of its own, NAME = (...)."""
    found = re.search(MARK.format(name), path.read_text(), re.M)
    return ast.literal_eval(found[1]) if found else ()


def units_of(path, table):
    """What is drawn as one of a file: {name: [tests]}, each name a test or a class of numbered tests."""
    units, rows = {}, mark_of(path, 'DRAWN_BY_ROW')
    for part, file, test in table:
        if part == 'lab' and file == path.name and test != '-':
            owner = test.split('.')[0]
            units.setdefault(owner if NUMBERED.search(test) and owner not in rows else test, []).append(test)
    return units


def slow_units(paths, table):
    """[(seconds, file, unit, tests)] of what takes long and may be left out, longest first."""
    found = []
    for path in paths:
        kept = mark_of(path, 'EVERY_RUN')
        for unit, tests in units_of(path, table).items():
            seconds = sum(table['lab', path.name, test] for test in tests)
            if seconds >= SLOW_S and unit not in kept and unit.split('.')[0] not in kept:
                found.append((seconds, path.name, unit, tests))
    return sorted(found, reverse=True)


def draw(slow, seed):
    """Splits them into (run, left out). One of each three neighbours runs, so that every draw takes about as long."""
    chance = random.Random(hashlib.sha256(seed.encode()).digest())
    groups = [slow[at:at + ONE_IN] for at in range(0, len(slow), ONE_IN)]
    chosen = [chance.choice(group) for group in groups]
    return chosen, [unit for unit in slow if unit not in chosen]


class Choice:
    """What a run has of the lab's slow tests."""

    def __init__(self, paths, options):
        self.table, self.only = read_table(TABLE, LATEST), options.only
        self.seed = options.draw or commit()
        self.slow = [] if options.long or options.only else slow_units(paths, self.table)
        self.drawn, self.left = draw(self.slow, self.seed)

    def left_of(self, path):
        """Tests of this file that are left out, as unittest names them."""
        return [test for _, file, _, tests in self.left if file == path.name for test in tests]

    def is_whole(self, path):
        """Whether all tests of the file run."""
        return not self.left_of(path) and (not self.only or self.only in path.name)

    def describe(self):
        names = ', '.join(f'{file.removesuffix(".py")} {unit}' for _, file, unit, _ in self.left)
        return (f'{len(self.drawn)} of {len(self.slow)} slow tests were drawn by {self.seed} (--draw {self.seed}); '
                f'left out this time, and run by "make check-long": {names}')


# ---- how long ----


def seconds_of_file(path, table, left, unknown_s):
    known = {key[2]: seconds for key, seconds in table.items() if key[:2] == ('lab', path.name)}
    total = sum(seconds for test, seconds in known.items() if test not in left)
    names = {test.split('.')[-1] for test in known}
    return total + unknown_s * sum(name not in names for name in TEST.findall(path.read_text()))


def seconds_of(parts, paths, choice, unknown_s=UNKNOWN_S):
    """{part: seconds} of a run of these parts with these lab files."""
    expected = {part: choice.table.get((part, '-', '-'), 0.0) for part in parts}
    if 'lab' in expected:
        expected['lab'] += sum(seconds_of_file(path, choice.table, choice.left_of(path), unknown_s) for path in paths)
    return expected


def forecast_line(expected):
    each = ', '.join(f'{part} {seconds / 60:.1f}' for part, seconds in expected.items())
    return (f'This will take about {sum(expected.values()) / 60:.0f} minutes on two quiet processors '
            f'({each}), here are {os.cpu_count()}.')
