# SPDX-License-Identifier: Apache-2.0
"""Bad luck in the middle of a move: each kind once at its most dangerous moment, the movers' deaths at all three. The
whole table is in long_badluck.py; what a scenario is and what it asserts, in badluck.py."""
import unittest

from badluck import (CANCELLED, DECIDED, EARLY, FAILED, KILLED, MID, MOVED, REFUSED, SWITCHOVER, BadLuck, Row,
                     add_tests)

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
    pass


add_tests(Chosen, ROWS)
del BadLuck  # or its (empty) self would be run too

if __name__ == '__main__':
    unittest.main()
