# SPDX-License-Identifier: Apache-2.0
"""Runs one test program that speaks TAP and says what came of it."""
import os
import re
import signal
import subprocess
import time

from .tally import TOP, Case

LINE = re.compile(r'^(not )?ok\b\s*(\d+)?\s*(?:- )?(.*?)(?:\s*#\s*(SKIP|TODO)\b:?\s*(.*))?$', re.I)
PLAN = re.compile(r'^1\.\.(\d+)(?:\s*#\s*SKIP\b\s*(.*))?', re.I)


def parse(text):
    """The cases in TEXT, and how many were promised (None: no plan)."""
    cases, promised = [], None
    for line in text.splitlines():
        plan = PLAN.match(line)
        if plan:
            promised = int(plan[1])
            if promised == 0:
                cases.append(Case('all of it', 'skipped', plan[2] or ''))
                promised = 1
            continue
        match = LINE.match(line)
        if not match:
            continue
        failed, _, name, directive, why = match.groups()
        if directive and directive.upper() == 'SKIP' and not failed:
            cases.append(Case(name, 'skipped', why))
        else:
            cases.append(Case(name, 'failed' if failed else 'passed'))
    return cases, promised


def judge(cases, promised, status, timed_out):
    """Adds a failed case for what the lines alone do not say: a crash, a time-out, a broken plan."""
    if timed_out:
        cases.append(Case('in time', 'failed', timed_out))
    elif status < 0:
        cases.append(Case('ends by itself', 'failed', f'killed by {signal.Signals(-status).name}'))
    elif promised is None:
        cases.append(Case('says its plan', 'failed', f'no plan in its output, exit status {status}'))
    elif len(cases) != promised:
        cases.append(Case('keeps its plan', 'failed', f'{len(cases)} of {promised} cases ran, exit status {status}'))
    elif status and not any(case.result == 'failed' for case in cases):
        cases.append(Case('exit status', 'failed', f'exit status {status} though no case failed'))
    return cases


def by_status(status):
    """The one case of a program that says with its exit status alone what came of it (77: skipped)."""
    if status == 77:
        return [Case('all of it', 'skipped', 'it says that it cannot run here')]
    return [Case('all of it', 'failed' if status else 'passed', f'exit status {status}' if status else '')]


class Stop:
    """^C or SIGTERM for the runner: what runs is ended, nothing more begins."""
    asked = False
    children = set()

    @classmethod
    def ask(cls, *_):
        cls.asked = True
        for child in list(cls.children):
            try:
                os.killpg(child.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass


def run(command, limit_s, environment=None, directory=None, speaks_tap=True):
    """Runs COMMAND in its own session. Returns (cases, seconds, output)."""
    if Stop.asked:
        raise KeyboardInterrupt
    started = time.monotonic()
    child = subprocess.Popen(command, cwd=directory or TOP, env={**os.environ, **(environment or {})},
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True, errors='replace', start_new_session=True)
    Stop.children.add(child)
    timed_out = ''
    try:
        output, _ = child.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        timed_out = f'not finished after {limit_s} s'
        output = end(child)
    finally:
        Stop.children.discard(child)
    seconds = time.monotonic() - started
    if not speaks_tap and not timed_out and child.returncode >= 0:
        return by_status(child.returncode), seconds, output
    cases, promised = parse(output)
    return judge(cases, promised, child.returncode, timed_out), seconds, output


def end(child):
    """Ends the program and what it started: first kindly, so that it can clean up."""
    for sign, patience_s in ((signal.SIGTERM, 15), (signal.SIGKILL, 5)):
        try:
            os.killpg(child.pid, sign)
        except ProcessLookupError:
            pass
        try:
            return child.communicate(timeout=patience_s)[0]
        except subprocess.TimeoutExpired:
            continue
    child.stdout.close()
    return '(its output was held open by a process that did not end)\n'
