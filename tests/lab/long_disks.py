#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Moving disks, what takes longer: storage that is shared for libvirt too (glusterfs), a huge thin disk, scattered writes,
a guest that writes more than the link carries."""
import time
import unittest

from disklab import FAILED, MIB, MIGRATED, DiskLab, disks, guest, words
from watari_lab import gluster

TIME_LIMIT_S = 1500


class Shared(DiskLab):
    """glusterfs over FUSE: libvirt itself takes it for shared, and the page cache is no danger to it."""

    lab_name = 'glust'
    vm = 's1'

    @classmethod
    def prepare(cls):
        place = gluster.raise_share(cls.lab)
        here = cls.lab.host('hosta')
        cls.start([guest.Disk(disks.make(here, f'{place}/s1.qcow2', format='qcow2'), 'qcow2'),
                   guest.Disk(disks.make(here, f'{place}/s1.raw'))])

    def test_1_left_alone(self):
        for _ in range(2):  # there and back
            self.setUp()
            report = self.move()
            self.assertEqual({disk['kind'] for disk in report['disks'].values()}, {'shared'})
            self.assertEqual(disks.listing(self.here, gluster.PLACE), disks.listing(self.there, gluster.PLACE))

    def test_2_not_copied_onto_itself(self):
        """--disks copy with nothing said of where to: each image would be its own destination."""
        before = disks.listing(self.here, gluster.PLACE)
        self.refused('--disks', 'copy', what=(gluster.PLACE,))
        self.assertEqual(disks.listing(self.here, gluster.PLACE), before)

    def test_3_copied_away(self):
        """From shared to local storage, because somebody says so."""
        report = self.move('--disks', 'copy', '--disk', 'vda=/lab/images/s1.qcow2', '--disk', 'vdb=/lab/images/s1.raw')
        self.assertEqual({disk['kind'] for disk in report['disks'].values()}, {'copied'})
        for name in ('s1.qcow2', 's1.raw'):
            self.assert_same(f'{gluster.PLACE}/{name}', f'/lab/images/{name}')


class Thin(DiskLab):
    """Disks with nothing in them but what the guest writes, which lies all over them. What a mirror sends besides is zeroes
    for the whole disk, and those must cost next to nothing, on the wire as in time."""

    lab_name = 'thin'
    vm = 't1'
    TIB = 1 << 20  # MiB
    HUGE, RAW, QCOW2 = '/lab/images/t1.qcow2', '/lab/images/t2.raw', '/lab/images/t2.qcow2'

    @classmethod
    def prepare(cls):
        here = cls.lab.host('hosta')
        disks.make(here, cls.HUGE, 8 * cls.TIB, 'qcow2', parts=[])
        disks.make(here, cls.RAW, cls.TIB, parts=[])
        disks.make(here, cls.QCOW2, cls.TIB, 'qcow2', parts=[])
        for vm, images in (('t1', [guest.Disk(cls.HUGE, 'qcow2')]), ('t2', [guest.Disk(cls.RAW), guest.Disk(cls.QCOW2, 'qcow2')])):
            guest.start(cls.lab, here, vm, memory_mib=96, disks=images, words=words(disk_spread=1, disk_set=1))

    def check_thin(self, vm, paths, seconds):
        strides = [disk['stride'] for disk in guest.state(self.lab, vm)['disks']]
        self.assertGreater(min(strides), 1 << 30, 'the premise: all over it')
        begun = time.monotonic()
        report = self.move(vm=vm)
        took = time.monotonic() - begun
        self.there.virsh('suspend', vm)
        for path, stride in zip(paths, strides):
            self.assertLess(disks.allocated(self.there, path), 64 * MIB)
            differ = disks.differing(self.here, path, self.there, path)
            self.assertEqual([offset for offset in differ if offset % stride], [])
        self.there.virsh('resume', vm)
        movers = [report[side]['mover']['rss_kib'] for side in ('source', 'destination')]
        copied = {target: disk['bytes'] for target, disk in report['disks'].items()}
        print(f'# {vm}: {took:.1f} s, {report["bytes"]["wire_sent"] / MIB:.1f} MiB sent, disks {copied}, movers {movers} KiB')
        # The memory, and at most a MiB that the guest has written or writes on each disk, a few times.
        self.assertLess(report['bytes']['wire_sent'], 45 * MIB)
        self.assertLess(max(movers), 768 << 10)
        self.assertLess(took, seconds)

    def test_1_eight_tib(self):
        self.check_thin('t1', [self.HUGE], 120)

    def test_2_two_at_a_time(self):
        """Their zeroes come in turn; they must not be dearer for that."""
        self.vm = 't2'
        self.setUp()
        self.check_thin('t2', [self.RAW, self.QCOW2], 60)


class Fast(DiskLab):
    """A guest that writes more than the link carries: it is slowed down, or the move ends clean; it is never wrong."""

    lab_name = 'fast'
    vm = 'f1'
    PATH = '/lab/images/f1.raw'

    @classmethod
    def prepare(cls):
        cls.start([guest.Disk(disks.make(cls.lab.host('hosta'), cls.PATH))])

    def test_more_than_the_link(self):
        self.lab.link(rate='10mbit')
        self.addCleanup(self.lab.link, rate=None)
        guest.load(self.lab, self.vm, disk_rate=2000)
        before, begun = self.writes(self.vm)['vda'], time.monotonic()
        time.sleep(5)
        pace = (self.writes(self.vm)['vda'] - before) / (time.monotonic() - begun)
        self.assertGreater(pace * disks.BLOCK, 10e6 / 8, 'the premise: more than the link carries')
        report = self.migrate('--link-address', self.there.address('migration'), timeout=300)
        guest.load(self.lab, self.vm, disk_rate=20)
        ends = {MIGRATED: self.there.name, FAILED: self.here.name}
        self.assertIn(report['exit_code'], ends, report['said'])
        self.assertEqual(guest.where(self.lab, self.vm), {ends[report['exit_code']]: 'running'})
        guest.check(self.lab, self.vm)
        self.assert_clean()
        if report['exit_code'] == MIGRATED:
            self.assert_same(self.PATH, self.PATH)
        else:
            self.assertEqual(disks.listing(self.there), self.before_there)
        print(f'# wrote {pace * disks.BLOCK / MIB:.1f} MiB/s before; {report["outcome"]}')


del DiskLab

if __name__ == '__main__':
    unittest.main()
