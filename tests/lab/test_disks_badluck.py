# SPDX-License-Identifier: Apache-2.0
"""Bad luck in the middle of copying disks: each kind once, cells of tests/faults/table.py. And a disk that cannot be
read: the VM must not care about it any more than it did before."""
import os
import unittest

from badluck import BadLuck, add_tests
from disklab import FAILED as EXIT_FAILED
from disklab import MIB, DiskLab, disks, guest
from way_disks import LiveWithDisks

TIME_LIMIT_S = 500
DRAWN_BY_ROW = ('Chosen',)

ROWS = [
    ('while disks are copied', 'kill -9 of the source mover'),
    ('while disks are copied', 'kill -9 of the destination mover'),
    ('while disks are copied', 'destination disk full'),
    ('while disks are copied', 'SIGINT'),
    ('while disks are copied', 'link cut for 5 s'),
]


class Chosen(BadLuck):
    lab_name = 'baddisks'
    way = LiveWithDisks


add_tests(Chosen, ROWS)


class Torn(DiskLab):
    """A read error at the source. A compressed cluster of a qcow2 whose data is spoilt is one: QEMU answers EIO for it,
    each time, and for nothing else; so it needs no device mapper, which not every kernel has."""

    lab_name = 'torn'
    TORN = '/lab/images/torn.qcow2'
    AT = 16 * MIB

    @classmethod
    def prepare(cls):
        here = cls.lab.host('hosta')
        disks.make(here, cls.TORN, 24, 'qcow2', parts=[])
        here.run(['qemu-io', '-f', 'qcow2', '-c', f'write -c -P 0x77 {cls.AT} 64k', cls.TORN])
        with open(here.path(cls.TORN), 'r+b') as file:  # what was compressed is all there is behind the last whole cluster
            file.seek(os.fstat(file.fileno()).st_size // 65536 * 65536)
            file.write(b'\xff' * 64)
        cls.start([guest.Disk(cls.TORN, 'qcow2')])

    def test_read_error_at_the_source(self):
        tried = self.here.run(['qemu-io', '-U', '-r', '-f', 'qcow2', '-c', f'read {self.AT} 64k', self.TORN], check=False)
        self.assertIn('Input/output error', tried.stdout + tried.stderr, 'it can be read all the same')
        report = self.refused(exit_code=EXIT_FAILED, what=('vda',))
        print(f'# {report["error"]["what"]}')


del BadLuck, DiskLab  # or their (empty) selves would be run too

if __name__ == '__main__':
    unittest.main()
