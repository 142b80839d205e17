# SPDX-License-Identifier: Apache-2.0
"""Fuzz targets: the kept corpus first, then a while of new inputs; coverage is printed.

The corpus of the tree (tests/fuzz/corpus/SUBJECT) is read, never written. What is found beyond it is
kept in build/fuzz-corpus/SUBJECT and used again by the next run; an input that fails is kept in
build/test-logs/fuzz.
"""
import concurrent.futures
import os
import re
import subprocess
import time

from .build import build
from .tally import LOGS, TOP, Case

ENVIRONMENT = {
    'ASAN_OPTIONS': 'detect_leaks=1:abort_on_error=1',
    'UBSAN_OPTIONS': 'halt_on_error=1:abort_on_error=1:print_stacktrace=1',
}
COVERED = re.compile(r'\bcov: (\d+)')
COUNTERS = re.compile(r'\((\d+) (?:inline 8-bit counters|guards)\)')
SPEED = re.compile(r'stat::number_of_executed_units:\s*(\d+)')


def fuzz_one(program, options):
    subject = program.name.removeprefix('fuzz-')
    kept = TOP / 'tests' / 'fuzz' / 'corpus' / subject
    grown = TOP / 'build' / 'fuzz-corpus' / subject
    findings = LOGS / 'fuzz' / subject
    for directory in (grown, findings):
        directory.mkdir(parents=True, exist_ok=True)
    folders = [str(folder) for folder in (grown, kept) if folder.is_dir()]
    command = [str(program), f'-max_total_time={options.fuzz_seconds}', '-timeout=10', '-rss_limit_mb=1024',
               '-print_final_stats=1', f'-artifact_prefix={findings}/', *folders]
    started = time.monotonic()
    try:
        done = subprocess.run(command, env={**os.environ, **ENVIRONMENT}, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace',
                              timeout=options.fuzz_seconds + 60, check=False)
        status, output = done.returncode, done.stdout
    except subprocess.TimeoutExpired as late:
        status, output = 1, (late.stdout or b'').decode(errors='replace') + '\ndid not end in time\n'
    seeds = sum(1 for _ in kept.iterdir()) if kept.is_dir() else 0
    return program.name, status, output, time.monotonic() - started, seeds


def describe(output, seeds):
    """Coverage in edges, as libFuzzer counts them."""
    covered = [int(match) for match in COVERED.findall(output)]
    counters = COUNTERS.search(output)
    runs = SPEED.search(output)
    edges = f'{covered[-1]} of {counters[1]} edges' if covered and counters else 'coverage unknown'
    return f'{edges} covered, {runs[1] if runs else "?"} inputs tried, {seeds} in the corpus'


def run(tally, options):
    tally.head(f'fuzz targets, {options.fuzz_seconds} s each')
    tree = build(tally, 'build-fuzz', ['fuzz'])
    programs = [path for path in sorted((tree / 'tests' / 'fuzz').glob('fuzz-*'))
                if path.is_file() and os.access(path, os.X_OK) and (not options.only or options.only in path.name)]
    with concurrent.futures.ThreadPoolExecutor(options.jobs or os.cpu_count()) as pool:
        for name, status, output, seconds, seeds in pool.map(lambda path: fuzz_one(path, options), programs):
            tally.file('fuzz', name, [
                Case('kept corpus and new inputs', 'failed' if status else 'passed',
                     f'exit status {status}' if status else ''),
                Case('has a corpus', 'passed' if seeds else 'failed',
                     '' if seeds else f'tests/fuzz/corpus/{name.removeprefix("fuzz-")} is missing or empty'),
            ], seconds, output)
            print(f'        {describe(output, seeds)}', flush=True)
