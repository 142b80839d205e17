# SPDX-License-Identifier: Apache-2.0
"""Bad luck in the middle of a move, the whole table: each kill and cut at three moments. For `make check-long`; the rows
of test_badluck.py are not run again."""
import unittest

import test_badluck
from badluck import (ATTENTION, CANCELLED, DECIDED, EARLY, FAILED, KILLED, MID, MOMENTS, MOVED, REFUSED, SWITCHOVER, BadLuck, Row,
                     add_tests)

TIME_LIMIT_S = 3600

SOURCE, DESTINATION, EITHER = ('source',), ('destination',), ('source', 'destination')
BACK = {EARLY: (REFUSED, FAILED), MID: (FAILED,), SWITCHOVER: (FAILED,)}
BACK_AND_DECIDED = {**BACK, DECIDED: (FAILED, MOVED)}
DIED = dict.fromkeys(MOMENTS, (KILLED,))
CANCEL = {**dict.fromkeys(MOMENTS, (CANCELLED,)), DECIDED: (CANCELLED, MOVED)}
GOES_ON = dict.fromkeys(MOMENTS, (MOVED,))
WAITS = {**GOES_ON, EARLY: (MOVED, REFUSED)}  # the first connection is not waited for that long
CUT = {EARLY: (REFUSED, FAILED), MID: (FAILED, ATTENTION), SWITCHOVER: (FAILED, ATTENTION), DECIDED: (FAILED, ATTENTION)}

# event, exit codes at each moment, where the guest may run then, where the CLI runs, options
TABLE = [
    ('kill -9 of the source mover', BACK_AND_DECIDED, SOURCE, ('admin', 'source'), ()),
    ('kill -9 of the destination mover', BACK_AND_DECIDED, SOURCE, ('admin', 'destination'), ()),
    ('kill -9 of the CLI', DIED, SOURCE, ('admin', 'source', 'destination'), ()),
    ('kill -9 of the source libvirtd', BACK_AND_DECIDED, SOURCE, ('admin', 'source'), ()),
    ('kill -9 of the destination libvirtd', BACK_AND_DECIDED, SOURCE, ('admin', 'source'), ()),
    ('sshd gone at the source', BACK_AND_DECIDED, SOURCE, ('admin', 'destination'), ()),
    ('sshd gone at the destination', BACK_AND_DECIDED, SOURCE, ('admin', 'source'), ()),
    ('link cut for 5 s', WAITS, DESTINATION, ('admin',), ()),
    ('link cut for longer than the limit', BACK, SOURCE, ('admin',), ('--link-timeout', '4s')),
    ('all networks cut for 45 s', CUT, EITHER, ('admin', 'source'), ()),
    ('corrupted bytes', {EARLY: (MOVED,), MID: (MOVED,)}, DESTINATION, ('admin',), ()),
    ('SIGINT', CANCEL, SOURCE, ('admin', 'source'), ()),
    ('SIGTERM', CANCEL, SOURCE, ('admin',), ()),
    ('SIGHUP', GOES_ON, DESTINATION, ('admin',), ()),
]


def all_rows():
    for event, codes, ends, conductors, options in TABLE:
        for moment in codes:
            for conductor in conductors:
                # Where the code decides, or behind the gate, both ends are right, as long as there is one.
                both = moment == DECIDED or {MOVED, REFUSED} <= set(codes[moment])
                yield Row(event, moment, codes[moment], EITHER if both else ends, conductor, options,
                          probe=moment == SWITCHOVER and ends == SOURCE)


class Whole(BadLuck):
    lab_name = 'badlong'


DONE = {row.name for row in test_badluck.ROWS}
add_tests(Whole, [row for row in all_rows() if row.name not in DONE])
del BadLuck

if __name__ == '__main__':
    unittest.main()
