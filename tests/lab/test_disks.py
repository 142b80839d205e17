#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Disks that move with the VM: which of them do, where to, and that they are the same there, byte for byte.

The guest writes to all its disks and verifies them throughout. hosta's QEMU is root, hostb's is Debian's own user, so
each way the new images must be given to somebody else."""
import os
import unittest

from disklab import MIB, REFUSED, WRONG_WORDS, DiskLab, disks, guest, pool, small_place

TIME_LIMIT_S = 400

RAW, QCOW2 = '/lab/images/d1.raw', '/lab/images/d1.qcow2'


class Copied(DiskLab):
    """Two local disks, raw and qcow2."""

    @classmethod
    def prepare(cls):
        here = cls.lab.host('hosta')
        cls.start([guest.Disk(disks.make(here, RAW)), guest.Disk(disks.make(here, QCOW2, format='qcow2'), 'qcow2')])

    def move_copied(self, *options):
        """Both go along; where from and where to, as the hosts' libvirts say."""
        self.was = self.sources(self.here)
        self.addCleanup(self.forget, self.here, *self.was.values())
        report = self.move(*options)
        self.now = self.sources(self.there)
        self.assertEqual({target: (disk['kind'], disk['format'], disk['source'], disk['destination'])
                          for target, disk in report['disks'].items()},
                         {'vda': ('copied', 'raw', self.was['vda'], self.now['vda']),
                          'vdb': ('copied', 'qcow2', self.was['vdb'], self.now['vdb'])})
        return report

    def assert_both_same(self):
        for target in self.was:
            self.assert_same(self.was[target], self.now[target])
            self.assert_sparse(self.was[target], self.now[target])
            self.assertEqual(disks.info(self.there, self.now[target])['format'], 'raw' if target == 'vda' else 'qcow2')

    def test_1_copied(self):
        """The plain case: both are found to be local, and the old ones stay as they are. (The rate is said, for what
        travels would otherwise hang on how busy this machine is.)"""
        report = self.move_copied('--bandwidth', '30M')
        self.assertEqual(self.now, self.was)
        self.assert_both_same()
        self.assertEqual(disks.listing(self.here), self.before_here)
        # Holes, zeroes and what was there twice did not travel.
        self.assertLess(report['bytes']['wire_sent'], 40 * MIB)

    def test_2_back_verified_and_the_old_images_removed(self):
        self.move_copied('--verify-disks', 'full', '--remove-source-disks')
        self.assertEqual(disks.listing(self.here), self.before_here - set(self.was.values()))

    def test_3_whole_images_once_nothing_is_written_any_more(self):
        guest.load(self.lab, self.vm, disk_rate=2000)  # the area full of what does not compress
        while min(self.writes(self.vm).values()) < disks.AREA_MIB * MIB // disks.BLOCK:
            pass
        guest.load(self.lab, self.vm, disk_rate=0)
        was = self.sources(self.here)
        self.addCleanup(self.forget, self.here, *was.values())
        self.migrate_still()
        for target, path in was.items():
            self.assertEqual(self.assert_same(path, self.sources(self.there)[target]), [], 'inside the area, too')

    def migrate_still(self):
        """As move(), with a guest that does not write."""
        report = self.migrate()
        self.assertEqual(report['exit_code'], 0, report['said'])
        guest.check(self.lab, self.vm)
        self.assert_clean()

    def test_4_other_places(self):
        """A path of one's own and a pool; the definition says so there, and the next move goes from there."""
        place = pool(self.there, 'images', '/lab/pool')
        self.there.run(['mkdir', '-p', '/lab/images/other'])
        self.move_copied('--disk', 'vda=/lab/images/other/name.raw', '--disk', 'vdb=pool:images')
        self.assertEqual(self.now['vda'], '/lab/images/other/name.raw')
        self.assertTrue(self.now['vdb'].startswith(f'{place}/'), self.now['vdb'])
        self.there.virsh('pool-refresh', 'images')
        self.assertIn(self.now['vdb'], self.there.virsh('vol-list', 'images').stdout)
        self.assert_both_same()

    def test_5_back_from_other_places(self):
        self.move_copied('--disk', f'vda={RAW}', '--disk', f'vdb={QCOW2}', '--remove-source-disks')
        self.assertEqual(self.now, {'vda': RAW, 'vdb': QCOW2})

    # ---- what is refused beforehand ----

    def test_6_same_name_in_another_directory_is_another_file(self):
        """Both hosts have a file of that name and size: it is not the same one, and it is not overwritten."""
        path = self.sources(self.here)['vda']
        disks.make(self.there, path, parts=[(0, b'precious')])
        self.addCleanup(self.there.run, ['rm', path])
        self.before_there = disks.listing(self.there)
        for options in ((), ('--disks', 'copy')):
            with self.subTest(options=options):
                self.refused(*options, what=(path, self.there.name))
                with open(self.there.path(path), 'rb') as file:
                    self.assertEqual(file.read(8), b'precious')

    def test_7_no_room(self):
        place = small_place(self.there, '/lab/small', 6)
        self.addCleanup(self.there.run, ['umount', place])
        self.refused('--disk', f'vda={place}/d.raw', what=(place, self.there.name))
        self.assertEqual(disks.listing(self.there, place), set())

    def test_8_no_such_pool_directory_or_disk(self):
        for option, word, code in (('vda=pool:nowhere', 'nowhere', REFUSED), ('vda=/lab/nowhere/d.raw', '/lab/nowhere', REFUSED),
                                   ('vdx=/tmp/x', 'vdx', WRONG_WORDS)):
            with self.subTest(option):
                self.refused('--disk', option, what=(word,), exit_code=code)

    def test_9_post_copy(self):
        """The disks are whole at the destination before the VM runs there, whatever is still missing of its memory."""
        if self.there.name == 'hostb':  # whose QEMU's user may not
            self.move_copied('--remove-source-disks')
            self.setUp()
        guest.load(self.lab, self.vm, 'random', rate=6000, set_mib=12)  # or pre-copy is at its end before
        report = self.move_copied('--strategy', 'postcopy', '--allow-postcopy', '--bandwidth', '4M')
        guest.load(self.lab, self.vm, 'none')
        self.assertTrue(report['postcopy'])
        self.assert_both_same()


class Mixed(DiskLab):
    """What is shared, what nobody writes to, and what stands on a backing file, in one VM."""

    vm = 'm1'
    BASE, TOP = '/lab/images/base.raw', '/lab/images/top.qcow2'
    SECRET, FORGED = '/lab/images/secret.raw', '/lab/images/forged.qcow2'
    SHARED, FIXED, IMAGE = '/lab/shared/disks/m1.raw', '/lab/images/fixed.raw', '/lab/images/cd.iso'

    @classmethod
    def prepare(cls):
        here = cls.lab.host('hosta')
        for node in cls.lab.hosts:  # templates, as each host has them
            for path in (cls.BASE, cls.FIXED, cls.IMAGE):
                disks.make(node, path)
            cls.forge(node)
        disks.make(here, cls.TOP, format='qcow2', backing=cls.BASE)
        disks.make(here, cls.SHARED)
        cls.start([guest.Disk(cls.TOP, 'qcow2'), guest.Disk(cls.SHARED), guest.Disk(cls.FIXED, readonly=True),
                   guest.Disk(cls.IMAGE, device='cdrom')])

    @classmethod
    def forge(cls, node):
        """The template is raw, and a VM that had it once wrote something into it that looks like a qcow2 which stands on
        another file of the host."""
        disks.make(node, cls.SECRET, parts=[(0, b'secret')])
        node.run(['qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', cls.SECRET, cls.FORGED])
        with open(node.path(cls.FORGED), 'rb') as forged, open(node.path(cls.BASE), 'r+b') as base:
            base.write(forged.read())
        os.unlink(node.path(cls.FORGED))

    def kinds(self, report):
        return {target: disk['kind'] for target, disk in report['disks'].items()}

    def assert_only_the_top_moved(self, report):
        kinds = self.kinds(report)
        self.assertEqual((kinds['vda'], kinds['vdb']), ('copied', 'shared'), kinds)
        self.assertNotIn('copied', (kinds.get('vdc'), kinds.get('sdd')), kinds)
        self.assertEqual(self.sources(self.there),
                         {'vda': self.TOP, 'vdb': self.SHARED, 'vdc': self.FIXED, 'sdd': self.IMAGE})
        self.assertTrue(self.here.exists(self.SHARED))

    def test_1_backing_file_kept(self):
        """The little that lies on top is all that is copied. What the template below is says the image at the source, not
        what a VM wrote into it."""
        self.addCleanup(self.forget, self.here, self.TOP)
        report = self.move('--keep-backing')
        self.assert_only_the_top_moved(report)
        self.assertEqual(disks.info(self.there, self.TOP)['backing-filename-format'], 'raw')
        self.assertNotIn(self.SECRET, self.there.virsh('dumpxml', self.vm).stdout)
        self.assertEqual(disks.info(self.there, self.TOP)['backing-filename'], self.BASE)
        self.assertLess(disks.allocated(self.there, self.TOP), 6 * MIB)
        self.assert_same(self.TOP, self.TOP)

    def test_2_flattened_back(self):
        """Nothing said: one image that stands by itself, and does so even without the template."""
        report = self.move('--remove-source-disks')
        self.assert_only_the_top_moved(report)
        self.assertNotIn('backing-filename', disks.info(self.there, self.TOP))
        self.assertEqual(disks.listing(self.here), self.before_here - {self.TOP}, 'what stays in use there was left alone')

    def test_3_shared_needs_the_image_to_be_there(self):
        """Whoever says that all disks are shared is believed as far as can be, which is not for a file that is not there."""
        self.refused('--disks', 'shared', what=(self.TOP, self.there.name))


del DiskLab  # or its (empty) self would be run too

if __name__ == '__main__':
    unittest.main()
