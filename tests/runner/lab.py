# SPDX-License-Identifier: Apache-2.0
"""Lab scenarios: tests/lab/test_*.py (and long_*.py), each file in a process of its own."""
import concurrent.futures
import os
import re

from . import durations, leftover, tap
from .build import build
from .tally import TOP, Case

LIMIT = re.compile(r'^TIME_LIMIT_S\s*=\s*(\d+)', re.M)
ALONE = re.compile(r'^ALONE\s*=\s*True', re.M)  # measures time: nothing may run beside it
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
        'WATARI_TEST_BINARY': str(tree / 'src' / 'cli' / 'watari'),
        'ASAN_OPTIONS': 'detect_leaks=1:abort_on_error=1',
        'UBSAN_OPTIONS': 'halt_on_error=1:abort_on_error=1:print_stacktrace=1',
    }
    chosen = [path for path in files(options)
              if not options.only or options.only in path.name or options.only in path.read_text()]
    alone = [path for path in chosen if ALONE.search(path.read_text())]
    beside = [path for path in chosen if path not in alone]
    if options.choice.left:
        print('  ' + options.choice.describe(), flush=True)
    jobs = options.jobs or 1
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for path, result in pool.map(lambda path: (path, run_file(path, options, environment)), beside):
            show(tally, options, path, *result)
    for path in alone:
        show(tally, options, path, *run_file(path, options, environment))


def run_file(path, options, environment):
    """Runs one file in a process of its own; returns what tap.run returns."""
    limit = LIMIT.search(path.read_text())
    command = ['/usr/bin/python3', str(TOP / 'tests' / 'runner' / 'unittest_tap.py'), str(path)]
    if options.only and options.only not in path.name:
        command.append(options.only)
    left = options.choice.left_of(path)
    if left:
        environment = {**environment, 'WATARI_LEFT_OUT': ' '.join(left)}
    before = leftover.snapshot()
    cases, seconds, output = tap.run(command, int(limit[1]) if limit else LIMIT_S, environment)
    if (options.jobs or 1) == 1 and not options.shared:
        left = leftover.wait_clean(before)
        if left:
            cases.append(Case('leaves nothing behind', 'failed', f'{left[0]}'))
            output += '\nleft behind:\n' + '\n'.join(left)
    return cases, seconds, output


def show(tally, options, path, cases, seconds, output):
    if not ((options.only or options.choice.left_of(path)) and [case.name for case in cases] == ['all of it']):  # no test of that name in it
        tally.file('lab', path.name, cases, seconds, output)
        tally.durations.update(durations.measured_in(path, seconds, output, options.choice.is_whole(path)))
