# SPDX-License-Identifier: Apache-2.0
"""Which slow tests a run has (tests/runner/durations.py): a third, by the seed, and all of them over seeds."""
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from runner import durations  # noqa: E402

TABLE = {
    ('lab', 'test_a.py', '-'): 100.0,
    ('lab', 'test_a.py', 'Steps.test_1_there'): 12.0,
    ('lab', 'test_a.py', 'Steps.test_2_back'): 12.0,
    ('lab', 'test_a.py', 'Alone.test_quick'): durations.SLOW_S - 1.0,
    ('lab', 'test_a.py', 'Alone.test_kept'): 50.0,
    ('lab', 'test_a.py', 'Kept.test_1'): 50.0,
    ('lab', 'test_a.py', 'Table.test_1_cut'): 29.0,
    ('lab', 'test_a.py', 'Table.test_2_kill'): 1.0,
    **{('lab', 'test_a.py', f'Alone.test_slow{number:02}'): 30.0 + number for number in range(10)},
}


class SlowDraw(unittest.TestCase):
    def setUp(self):
        with tempfile.TemporaryDirectory() as folder:
            self.path = pathlib.Path(folder) / 'test_a.py'
            self.path.write_text('EVERY_RUN = ("Kept", "Alone.test_kept")\nDRAWN_BY_ROW = ("Table",)\n    def test_new(self):\n')
            self.slow = durations.slow_units([self.path], TABLE)
            self.known = durations.seconds_of_file(self.path, TABLE, [], 0)
            self.guessed = durations.seconds_of_file(self.path, TABLE, ['Alone.test_kept'], 7)

    def test_what_is_slow(self):
        names = [unit for _, _, unit, _ in self.slow]
        self.assertEqual(names[-2:], ['Table.test_1_cut', 'Steps'])  # a row alone; steps together
        self.assertEqual(len(names), 12)
        self.assertNotIn('Alone.test_quick', names)
        self.assertNotIn('Alone.test_kept', names)
        self.assertNotIn('Kept', names)
        self.assertNotIn('Table.test_2_kill', names)

    def test_a_third_by_the_seed(self):
        for seed in ('one', 'two'):
            chosen, left = durations.draw(self.slow, seed)
            self.assertEqual((len(chosen), len(left)), (4, 8))
            self.assertEqual(sorted(chosen + left, reverse=True), self.slow)
            self.assertEqual(durations.draw(self.slow, seed), (chosen, left))
        self.assertNotEqual(durations.draw(self.slow, 'one'), durations.draw(self.slow, 'two'))

    def test_every_one_has_its_turn(self):
        seen = {unit for number in range(60) for _, _, unit, _ in durations.draw(self.slow, str(number))[0]}
        self.assertEqual(seen, {unit for _, _, unit, _ in self.slow})

    def test_how_long(self):
        self.assertEqual(self.known, sum(TABLE.values()))
        self.assertEqual(self.guessed, sum(TABLE.values()) - 50 + 7)


if __name__ == '__main__':
    unittest.main()
