# SPDX-License-Identifier: Apache-2.0
"""Cells of the fault matrix (tests/faults/) as unit tests: the sample of it that runs always.

A test file names cells by moment, fault and where the conductor runs; what may be answered then stands in tests/faults/table.py.
"""
import pathlib
import sys
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / 'tests' / 'faults'), str(TOP / 'lab')]
sys.dont_write_bytecode = True

import table  # noqa: E402
from ways import Live  # noqa: E402


class BadLuck(unittest.TestCase):
    """One test for each cell that add_tests() gives; they share one lab."""

    lab_name = 'badluck'
    way = Live

    @classmethod
    def setUpClass(cls):
        cls.scene = cls.way(cls.lab_name)
        cls.scene.lab.up()
        cls.addClassCleanup(cls.scene.lab.down)
        cls.scene.start_guest()

    def run_cell(self, cell):
        try:
            self.scene.play(cell)
        except BaseException:
            print(f'# {cell.name}: {"; ".join(self.scene.notes)}', flush=True)
            self.scene.mend()
            raise
        print(f'# {cell.name}: {"; ".join(self.scene.notes)}', flush=True)


def add_tests(case, rows):
    """ROWS: (moment, fault) or (moment, fault, place)."""
    for number, row in enumerate(rows):
        cell = table.find(case.way.name, *row)
        assert not cell.why_not, f'{cell.name}: {cell.why_not}'

        def test(self, cell=cell):
            self.run_cell(cell)
        where = f', conductor at the {cell.place}' if cell.place != 'admin' else ''
        words = ''.join(letter if letter.isalnum() else '_' for letter in f'{cell.fault.name}, {cell.moment.name}{where}')
        test.__doc__ = cell.name
        setattr(case, f'test_{number + 1:02}_{words}', test)
