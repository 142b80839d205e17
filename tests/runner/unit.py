# SPDX-License-Identifier: Apache-2.0
"""The unit tests that meson knows, run from a sanitizer build."""
import concurrent.futures
import json
import os
import pathlib
import re

from . import program, tap
from .build import build, run_command
from .tally import TOP

# Data races are looked for where threads share data without GLib's locks, which ThreadSanitizer
# cannot see into: the link and the pipelines.
THREADED = re.compile(r'^(?!man ).*(?:link|lane|mover|pipeline|ring|relay|guard|window|stage)')
# The pipelines as they really run, these classes of the lab's tests: the movers between two QEMUs, and with disks.
PIPELINES = (('tests/lab/test_mover.py', 'Moves|Proofs|Refusals'), ('tests/lab/test_mover_disks.py', 'Copies|Verified|Seeds'))
SLOWNESS = 3  # what the sanitizers cost; meson's limits are for plain builds
SANITIZERS = {
    'ASAN_OPTIONS': 'detect_leaks=1:abort_on_error=1:detect_stack_use_after_return=1',
    'UBSAN_OPTIONS': 'halt_on_error=1:abort_on_error=1:print_stacktrace=1',
    'TSAN_OPTIONS': f'halt_on_error=1:second_deadlock_stack=1:suppressions={TOP}/tests/runner/tsan.supp',
    'G_SLICE': 'always-malloc',
    'MALLOC_PERTURB_': '165',
}


def tests_of(tree):
    """meson's tests, as "meson introspect --tests" describes them."""
    status, output = run_command(['meson', 'introspect', '--tests', str(tree)])
    if status:
        raise RuntimeError(output)
    for test in json.loads(output):
        yield test


def run_one(test, tree, slow):
    """Runs one of meson's tests; returns (name, cases, seconds, output)."""
    speaks_tap = test['protocol'] == 'tap'
    command = [*test['cmd'], *(['-m', 'slow'] if slow and speaks_tap else [])]
    cases, seconds, output = tap.run(command, SLOWNESS * test['timeout'], {**SANITIZERS, **test['env']}, test['workdir'] or tree,
                                     speaks_tap)
    return test['name'], cases, seconds, output


def run_tests(tally, options, group, tree, wanted):
    tests = [test for test in tests_of(tree) if wanted(test['name'])]
    if options.only:
        tests = [test for test in tests if options.only in test['name']]
    slow = not options.part  # check-unit must be quick, the whole check need not
    with concurrent.futures.ThreadPoolExecutor(options.jobs or os.cpu_count()) as pool:
        for result in pool.map(lambda test: run_one(test, tree, slow), [test for test in tests if test['is_parallel']]):
            tally.file(group, *result)
    for test in tests:
        if not test['is_parallel']:
            tally.file(group, *run_one(test, tree, slow))


def run_asan(tally, options):
    tally.head('unit tests (AddressSanitizer, UndefinedBehaviorSanitizer)')
    tree = build(tally, 'build-asan')
    run_tests(tally, options, 'unit', tree, lambda name: True)
    program.run(tally, options, tree)


def run_tsan(tally, options):
    tally.head('link and pipelines (ThreadSanitizer)')
    tree = build(tally, 'build-tsan', ['meson-test-prereq', 'src/cli/watari'])
    run_tests(tally, options, 'tsan', tree, THREADED.search)
    for file, pattern in PIPELINES:
        if options.only and options.only not in file:
            continue
        command = ['/usr/bin/python3', str(TOP / 'tests/runner/unittest_tap.py'), str(TOP / file), pattern]
        environment = {**SANITIZERS, 'WATARI_TEST_BINARY': str(tree / 'src/cli/watari')}
        tally.file('tsan', pathlib.Path(file).stem, *tap.run(command, 300, environment))
