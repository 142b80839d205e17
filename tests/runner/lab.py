# SPDX-License-Identifier: Apache-2.0
"""Lab scenarios: tests/lab/test_*.py (and long_*.py), each file in a process of its own."""
import os
import re

from . import tap
from .build import build
from .tally import TOP

LIMIT = re.compile(r'^TIME_LIMIT_S\s*=\s*(\d+)', re.M)
LIMIT_S = 300  # for a file that does not say TIME_LIMIT_S = ...


def files(options):
    folder = TOP / 'tests' / 'lab'
    found = sorted(folder.glob('test_*.py'))
    if options.long:
        found += sorted(folder.glob('long_*.py'))
    return found


def run(tally, options):
    tally.head('lab' + (' with the long tests' if options.long else ''))
    if os.geteuid() != 0:
        tally.fail('lab', 'runs as root', 'the lab makes namespaces and starts libvirtd: use "sudo make check"')
        return
    tree = build(tally, 'build-asan')
    environment = {
        'WATARI_BUILD': str(tree),
        'WATARI': str(tree / 'src' / 'cli' / 'watari'),
        'ASAN_OPTIONS': 'detect_leaks=1:abort_on_error=1',
        'UBSAN_OPTIONS': 'halt_on_error=1:abort_on_error=1:print_stacktrace=1',
    }
    for path in files(options):
        text = path.read_text()
        if options.only and options.only not in path.name and options.only not in text:
            continue
        limit = LIMIT.search(text)
        command = ['/usr/bin/python3', str(TOP / 'tests' / 'runner' / 'unittest_tap.py'), str(path)]
        if options.only and options.only not in path.name:
            command.append(options.only)
        cases, seconds, output = tap.run(command, int(limit[1]) if limit else LIMIT_S, environment)
        if not (options.only and [case.name for case in cases] == ['all of it']):
            tally.file('lab', path.name, cases, seconds, output)
