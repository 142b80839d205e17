# SPDX-License-Identifier: Apache-2.0
"""A process that hangs (SIGSTOP) where the VM stands still: a mover, or the conductor. The ceiling holds all the same, for
the source's mover has a child that ends it, and the conductor looks too. The cells are those of tests/faults/table.py."""
import os
import signal
import unittest

from badluck import BadLuck, add_tests
from answers import CANCELLED
from judge import assert_clean
from moments import BEGIN
from proven import wait_until
from scene import VM
from watari_lab import guest

TIME_LIMIT_S = 600
DRAWN_BY_ROW = ('Hung',)

ROWS = [
    ('during switchover', 'SIGSTOP of the source mover'),
    ('during switchover', 'SIGSTOP of the source mover and its child'),
    ('behind the gate', 'SIGSTOP of the source mover'),
    ('during switchover', 'SIGSTOP of the destination mover'),
    ('during switchover', 'SIGSTOP of the conductor for 8 s'),
    ('behind the gate', 'SIGSTOP of the conductor for 8 s'),
    ('during switchover', 'SIGSTOP of the conductor for good'),
    ('behind the gate', 'SIGSTOP of the conductor for good'),
]


class Hung(BadLuck):
    lab_name = 'hung'

    def test_90_libvirtd_does_not_answer(self):
        """It is said, and does not hold whoever cancels."""
        scene = self.scene
        scene.take_sides()
        libvirtd = scene.hosts['destination'].libvirtd_pid()
        os.kill(libvirtd, signal.SIGSTOP)
        try:
            scene.launch(BEGIN)
            wait_until(lambda: 'waiting for an answer' in ''.join(scene.said), 60, 'it is not said that nobody answers')
            scene.cli.send_signal(signal.SIGINT)
            self.assertEqual(scene.cli.wait(30), CANCELLED, ''.join(scene.said))
        finally:
            os.kill(libvirtd, signal.SIGCONT)
        scene.wait_cli()
        self.assertEqual(list(guest.where(scene.lab, VM).values()), ['running'])
        assert_clean(scene, 'source')


add_tests(Hung, ROWS)
del BadLuck

if __name__ == '__main__':
    unittest.main()
