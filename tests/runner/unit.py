# SPDX-License-Identifier: Apache-2.0
"""The unit tests that meson knows, run from a sanitizer build."""
import concurrent.futures
import json
import os
import re

from . import program, tap
from .build import build, run_command

# Data races are looked for where threads share data without GLib's locks, which ThreadSanitizer
# cannot see into: the link and the pipelines.
THREADED = re.compile(r'link|lane|mover|pipeline|ring|relay|window|stage')
SANITIZERS = {
    'ASAN_OPTIONS': 'detect_leaks=1:abort_on_error=1:detect_stack_use_after_return=1',
    'UBSAN_OPTIONS': 'halt_on_error=1:abort_on_error=1:print_stacktrace=1',
    'TSAN_OPTIONS': 'halt_on_error=1:second_deadlock_stack=1',
    'G_SLICE': 'always-malloc',
    'MALLOC_PERTURB_': '165',
}


def tests_of(tree):
    """meson's tests as (name, command, environment, limit in seconds, may run beside others)."""
    status, output = run_command(['meson', 'introspect', '--tests', str(tree)])
    if status:
        raise RuntimeError(output)
    for test in json.loads(output):
        yield test['name'], test['cmd'], test['env'], test['timeout'], test['is_parallel'], test['workdir']


def run_tests(tally, options, group, tree, wanted):
    tests = [test for test in tests_of(tree) if wanted(test[0])]
    if options.only:
        tests = [test for test in tests if options.only in test[0]]

    slow = [] if options.part else ['-m', 'slow']  # check-unit must be quick, the whole check need not

    def one(test):
        name, command, environment, limit_s, _, directory = test
        return name, *tap.run([*command, *slow], limit_s, {**SANITIZERS, **environment}, directory)

    beside, alone = [t for t in tests if t[4]], [t for t in tests if not t[4]]
    with concurrent.futures.ThreadPoolExecutor(options.jobs or os.cpu_count()) as pool:
        for name, cases, seconds, output in pool.map(one, beside):
            tally.file(group, name, cases, seconds, output)
    for name, cases, seconds, output in map(one, alone):
        tally.file(group, name, cases, seconds, output)


def run_asan(tally, options):
    tally.head('unit tests (AddressSanitizer, UndefinedBehaviorSanitizer)')
    tree = build(tally, 'build-asan')
    run_tests(tally, options, 'unit', tree, lambda name: True)
    program.run(tally, options, tree)


def run_tsan(tally, options):
    tally.head('link and pipelines (ThreadSanitizer)')
    run_tests(tally, options, 'tsan', build(tally, 'build-tsan', ['meson-test-prereq']), THREADED.search)
