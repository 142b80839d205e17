# SPDX-License-Identifier: Apache-2.0
"""What passed, failed and was skipped, and how that is shown."""
import pathlib
import re
import sys
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
LOGS = TOP / 'build' / 'test-logs'
SHOWN = 40  # lines of a failure


class Case:
    def __init__(self, name, result, why=''):
        self.name, self.result, self.why = name, result, why


class Tally:
    """Collects cases. Failures are printed at once with their output, and named again at the end."""

    def __init__(self, options):
        self.count = {'passed': 0, 'failed': 0, 'skipped': 0}
        self.failures = []
        self.skips = []
        self.durations = {}  # (part, file, test): seconds
        self.count_file = options.count_file
        self.started = time.monotonic()

    def head(self, text):
        print(f'\n== {text}', flush=True)

    def add(self, case, group):
        """Counts one case; a skip without a reason is a failure."""
        if case.result == 'skipped' and not case.why:
            case = Case(case.name, 'failed', 'skipped without saying why')
        self.count[case.result] += 1
        if case.result == 'failed':
            self.failures.append(f'{group}: {case.name}' + (f' ({case.why})' if case.why else ''))
        elif case.result == 'skipped':
            self.skips.append(f'{group}: {case.name} ({case.why})')

    def single(self, group, name, ok, why=''):
        """A check that is one case; prints its own line."""
        self.add(Case(name, 'passed' if ok else 'failed', '' if ok else why.strip().splitlines()[-1 if why.startswith('Traceback') else 0] if why else ''), group)
        print(f'  {"ok  " if ok else "FAIL"}  {name}', flush=True)
        if not ok and why:
            lines = why.splitlines()
            log = self.keep(group, name, why)
            print(indent('\n'.join(lines[:SHOWN])), flush=True)
            if len(lines) > SHOWN:
                print(f'        | ... and {len(lines) - SHOWN} more lines, all in {log}', flush=True)

    def fail(self, group, name, why):
        self.single(group, name, False, why)

    def skip(self, group, name, why):
        self.add(Case(name, 'skipped', why), group)
        print(f'  skip  {name}: {why}', flush=True)

    def file(self, group, name, cases, seconds, output):
        """A test file with its cases; its output is shown when one failed, and kept in any case."""
        for case in cases:
            self.add(Case(f'{name} {case.name}', case.result, case.why), group)
        bad = [case for case in cases if case.result == 'failed']
        passed = sum(case.result == 'passed' for case in cases)
        skipped = [case for case in cases if case.result == 'skipped']
        extra = (f', {len(bad)} FAILED' if bad else '') + (f', {len(skipped)} skipped' if skipped else '')
        print(f'  {"FAIL" if bad else "ok  "}  {name}: {passed} passed{extra}  ({seconds:.1f} s)', flush=True)
        for case in skipped:
            print(f'        skipped: {case.name}: {case.why}', flush=True)
        for case in bad:
            print(f'        failed: {case.name}{": " + case.why if case.why else ""}', flush=True)
        log = self.keep(group, name, output)
        if bad:
            print(indent('\n'.join(output.splitlines()[-3 * SHOWN:])), flush=True)
            print(f'        all of its output: {log}', flush=True)

    def keep(self, group, name, output):
        """Writes OUTPUT to its log; returns the log's name for people."""
        log = LOGS / group / (re.sub(r'[^\w.-]+', '_', name)[:80] + '.log')
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(output + '\n')
        return log.relative_to(TOP)

    def finish(self):
        """Prints the end and returns the exit status."""
        if self.skips:
            print('\nSkipped:')
            print('\n'.join('  ' + text for text in self.skips))
        if self.failures:
            print('\nFailed:')
            print('\n'.join('  ' + text for text in self.failures))
        print(f'\n{time.monotonic() - self.started:.0f} s')
        if not any(self.count.values()):
            self.count['failed'] = 1
            print('No test ran: that is a failure too.')
        line = '{passed} passed, {failed} failed, {skipped} skipped'.format(**self.count)
        if self.count_file:
            pathlib.Path(self.count_file).write_text(line + '\n')
        print(line)
        sys.stdout.flush()
        return 1 if self.count['failed'] else 0


def indent(text, by='        | '):
    return '\n'.join(by + line for line in text.splitlines())
