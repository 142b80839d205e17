#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs one unittest file and says the results as TAP: unittest_tap.py FILE [PATTERN|PATTERN...]

Sub-tests count as cases of their own. What the tests print goes through as it is. Tests named in WATARI_LEFT_OUT
("Class.test Class.test ...") do not run, and neither does what prepares a class of nothing but such.
"""
import importlib.util
import os
import pathlib
import sys
import time
import traceback
import unittest

sys.dont_write_bytecode = True


class TapResult(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.number = 0
        self.bad = 0
        self.subtests = False
        self.started = 0.0

    def line(self, word, test, directive=''):
        self.number += 1
        name = test.id()
        if '(' not in name.split('.')[0]:  # not "setUpClass (file.Class)"
            name = name.split('.', 1)[-1]
        name = name.replace('#', '').replace('\n', ' ')
        print(f'{word} {self.number} - {name}{directive}', flush=True)

    def startTest(self, test):
        super().startTest(test)
        self.subtests = False
        self.started = time.monotonic()
        print(f'# {test.id()} ...', flush=True)

    def stopTest(self, test):
        super().stopTest(test)
        print(f'# took {test.id()} {time.monotonic() - self.started:.1f} s', flush=True)

    def bad_case(self, test, error):
        self.bad += 1
        text = ''.join(traceback.format_exception(*error))
        print('\n'.join('# ' + line for line in text.splitlines()), flush=True)
        self.line('not ok', test)

    def addSuccess(self, test):
        if not self.subtests:
            self.line('ok', test)

    def addError(self, test, err):
        self.bad_case(test, err)

    def addFailure(self, test, err):
        self.bad_case(test, err)

    def addSkip(self, test, reason):
        self.line('ok', test, f' # SKIP {reason}')

    def addExpectedFailure(self, test, err):
        self.line('ok', test)

    def addUnexpectedSuccess(self, test):
        self.bad += 1
        self.line('not ok', test)

    def addSubTest(self, test, subtest, err):
        self.subtests = True
        if err:
            self.bad_case(subtest, err)
        else:
            self.line('ok', subtest)


def load(path):
    top = path.resolve().parents[2]
    sys.path[:0] = [str(path.parent), str(top)]
    specification = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(specification)
    sys.modules[path.stem] = module
    specification.loader.exec_module(module)
    return module


def leave_out(suite, names):
    """The suite without the tests of these names."""
    kept = unittest.TestSuite()
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            kept.addTest(leave_out(test, names))
        elif test.id().split('.', 1)[1] not in names:
            kept.addTest(test)
    return kept


def main():
    path = pathlib.Path(sys.argv[1])
    loader = unittest.TestLoader()
    if len(sys.argv) > 2 and sys.argv[2] != '-m':  # “-m slow” is for GLib's tests
        loader.testNamePatterns = [f'*{pattern}*' for pattern in sys.argv[2].split('|')]
    result = TapResult()
    left_out = os.environ.get('WATARI_LEFT_OUT', '').split()
    leave_out(loader.loadTestsFromModule(load(path)), left_out).run(result)
    if left_out and not result.number:
        print('1..0 # SKIP none of its tests was drawn')
        return 0
    print(f'1..{result.number}' if result.number else '1..0 # SKIP no test here has that name', flush=True)
    return 1 if result.bad else 0


if __name__ == '__main__':
    sys.exit(main())
