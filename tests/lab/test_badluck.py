# SPDX-License-Identifier: Apache-2.0
"""Bad luck in the middle of a move: each kind once at its most dangerous moment, the movers' deaths at all three. The
whole table is in long_badluck.py; what a scenario is and what it asserts, in badluck.py."""
import re
import time
import unittest

from badluck import (CANCELLED, DECIDED, EARLY, FAILED, KILLED, MID, MOVED, REFUSED, SWITCHOVER, VM, BadLuck, Row, Witness,
                     add_tests, guest, wait_until)

TIME_LIMIT_S = 900

BOTH = ('source', 'destination')

ROWS = [
    Row('kill -9 of the source mover', EARLY, (REFUSED, FAILED)),
    Row('kill -9 of the source mover', MID, (FAILED,)),
    Row('kill -9 of the source mover', SWITCHOVER, (FAILED,)),
    Row('kill -9 of the destination mover', EARLY, (REFUSED, FAILED)),
    Row('kill -9 of the destination mover', MID, (FAILED,)),
    Row('kill -9 of the destination mover', SWITCHOVER, (FAILED,), probe=True),
    Row('kill -9 of the CLI', SWITCHOVER, (KILLED,), conductor='source'),
    Row('kill -9 of the CLI', MID, (KILLED,), conductor='destination'),
    Row('kill -9 of the CLI', DECIDED, (KILLED,), BOTH),
    Row('kill -9 of the source libvirtd', SWITCHOVER, (FAILED,)),
    Row('kill -9 of the destination libvirtd', SWITCHOVER, (FAILED,)),
    Row('sshd gone at the source', SWITCHOVER, (FAILED,)),
    Row('sshd gone at the destination', SWITCHOVER, (FAILED,)),
    Row('link cut for 5 s', SWITCHOVER, (MOVED,), ('destination',)),
    Row('link cut for longer than the limit', MID, (FAILED,), options=('--link-timeout', '4s')),
    Row('all networks cut for 45 s', MID, (FAILED,), BOTH),
    Row('corrupted bytes', MID, (MOVED,), ('destination',)),
    Row('SIGINT', SWITCHOVER, (CANCELLED,)),
    Row('SIGHUP', SWITCHOVER, (MOVED,), ('destination',)),
]


class Chosen(BadLuck):
    def test_00_premise_the_witness_sees_a_double_run(self):
        """Two copies that really run, made by hand: he must see them, or his word in the other tests is worth nothing."""
        lab = self.scene.lab
        text = guest.small_xml(lab, 'hostb', VM, memory_mib=128, pattern='random', rate=150, set_mib=8)
        text = re.sub('<interface.*</interface>', '', text, flags=re.S)  # the true one keeps its address
        lab.host('hostb').write_text('/tmp/double.xml', text)
        witness = Witness(lab.hosts)
        try:
            time.sleep(2)
            self.assertEqual(witness.double, 0)
            lab.host('hostb').virsh('create', '/tmp/double.xml')
            wait_until(lambda: witness.double, 30, 'two running copies, and the witness saw nothing')
        finally:
            witness.end()
            lab.host('hostb').virsh('destroy', VM, check=False)


add_tests(Chosen, ROWS)
del BadLuck  # or its (empty) self would be run too

if __name__ == '__main__':
    unittest.main()
