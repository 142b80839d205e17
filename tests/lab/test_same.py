#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What both hosts have under one name is the same only if its content is: images that others stand on, CDs, kernels, block
devices with one identity, a file that is mounted over another one. What differs is refused before anything moves."""
import os
import time
import unittest

from disklab import MIB, REFUSED, SANITIZERS, WRONG_WORDS, DiskLab, disks, guest, pool

TIME_LIMIT_S = 400


def overwrite(node, path, at_mib, data=None):
    """Other bytes in the middle of a file, which keeps its size and its times; what was there."""
    with open(node.path(path), 'r+b') as file:
        times = os.fstat(file.fileno())
        file.seek(at_mib * MIB)
        was = file.read(MIB)
        file.seek(at_mib * MIB)
        file.write(data or os.urandom(MIB))
    os.utime(node.path(path), ns=(times.st_atime_ns, times.st_mtime_ns))
    return was


class Same(DiskLab):
    """One guest with a shared overlay on a template of each host's own, a shared file, a shared block device and a CD."""

    lab_name = 'same'
    vm = 's1'
    BASE, LARGE, CD = '/lab/images/base.raw', '/lab/images/large.raw', '/lab/images/cd.iso'
    OVER, FILE, OTHER = '/lab/shared/disks/over.qcow2', '/lab/shared/disks/file.raw', '/lab/images/other.raw'
    OVER_LARGE = '/lab/shared/disks/over-large.qcow2'
    LUN, TWIN = '/dev/lun', '/dev/twin'

    @classmethod
    def prepare(cls):
        here, there = cls.lab.hosts
        for node in cls.lab.hosts:
            for path in (cls.BASE, cls.CD):
                disks.make(node, path)
            # more than is read whole: 400 MiB with 15 in the middle
            disks.make(node, cls.LARGE, 400, parts=[(200 * MIB, data) for _, data in disks.contents('large', 32)[:1]])
            disks.make(node, '/lab/images/twin.raw', parts=disks.noise(node.name, 2))
            cls.lab.block_device('/lab/images/twin.raw', cls.TWIN, [node.name], 'LVM-lun')
        disks.make(here, '/lab/images/lun.raw')
        cls.lab.block_device('/lab/images/lun.raw', cls.LUN, ['hosta', 'hostb'], 'LVM-lun')
        disks.make(here, cls.OVER, format='qcow2', backing=cls.BASE)
        disks.make(here, cls.OVER_LARGE, format='qcow2', backing=cls.LARGE)
        disks.make(here, cls.FILE)
        disks.make(there, cls.OTHER, parts=disks.noise('other', 2))
        cls.start([guest.Disk(cls.OVER, 'qcow2'), guest.Disk(cls.FILE), guest.Disk(cls.LUN),
                   guest.Disk(cls.CD, device='cdrom'), guest.Disk(cls.OVER_LARGE, 'qcow2')])

    def change(self, path, at_mib=5):
        """One MiB of the destination's file is another one, until the end of the test."""
        self.addCleanup(overwrite, self.there, path, at_mib, overwrite(self.there, path, at_mib))

    def assert_refused(self, *what, options=(), step='--trust'):
        report = self.refused(*options, what=(*what, self.here.name, self.there.name))
        self.assertIn(step, report['error']['next'])

    def plan(self, *options):
        done = self.here.run(['watari', 'plan', self.vm, self.there.name, *options], check=False, timeout=60)
        return done.returncode, done.stdout + done.stderr

    def test_1_a_template_that_was_made_anew(self):
        self.change(self.BASE)
        self.assert_refused(self.BASE, 'vda')
        self.assert_refused(self.BASE, 'vda', options=('--disks', 'shared'))
        code, said = self.plan()
        self.assertEqual(code, REFUSED, said)
        self.assertIn(self.BASE, said)
        # who knows better is believed, and that is said
        code, said = self.plan('--trust', 'vda')
        self.assertEqual(code, 0, said)
        self.assertIn('--trust vda', said)
        code, said = self.plan('--trust', 'vdz')
        self.assertEqual(code, WRONG_WORDS, said)

    def test_2_a_cd_of_the_same_size(self):
        self.change(self.CD)
        self.assert_refused(self.CD, 'sdd', step='--trust sdd')

    def test_3_a_file_that_is_mounted_over_the_shared_one(self):
        """The directory is the same, and the file is not."""
        self.there.run(['mount', '--bind', self.OTHER, self.FILE])
        self.addCleanup(self.there.run, ['umount', self.FILE])
        self.assert_refused(self.FILE, 'vdb')

    def test_4_two_devices_with_one_identity(self):
        """Both kernels say that it is the same volume, and its size is equal."""
        self.there.run(['mount', '--bind', self.TWIN, self.LUN])
        self.addCleanup(self.there.run, ['umount', self.LUN])
        self.assert_refused(self.LUN, 'vdc')

    def test_4_a_device_that_another_vm_has_under_another_name(self):
        """It may be overwritten, as the user says; but it is the disk of a VM that is off."""
        self.there.write_text('/tmp/s3.xml', guest.small_xml(self.lab, self.there, 's3', disks=[guest.Disk(self.TWIN)]))
        self.there.virsh('define', '/tmp/s3.xml')
        self.addCleanup(self.there.virsh, 'undefine', 's3')
        self.there.run(['ln', '-s', self.TWIN, '/dev/alias'])
        self.addCleanup(self.there.run, ['rm', '/dev/alias'])
        self.refused('--disk', 'vdb=/dev/alias', what=('s3', '/dev/alias'))

    def test_5_a_kernel_made_anew(self):
        kernel = next(word for word in self.here.virsh('dumpxml', self.vm).stdout.split('\n') if '<kernel>' in word)
        kernel = kernel.strip().removeprefix('<kernel>').removesuffix('</kernel>')
        self.there.run(['cp', kernel, '/tmp/kernel'])
        overwrite(self.there, '/tmp/kernel', 1)
        self.there.run(['mount', '--bind', '/tmp/kernel', kernel])
        self.addCleanup(self.there.run, ['umount', kernel])
        self.assert_refused(kernel, 'kernel', step='--trust kernel')

    def test_6_all_is_the_same(self):
        """The guest writes to all of them while they are compared."""
        report = self.move()
        self.assertEqual({target: (disk['kind'], disk['proven']) for target, disk in report['disks'].items()},
                         {'vda': ('shared', True), 'vdb': ('shared', True), 'vdc': ('shared', True),
                          'vde': ('shared', True), 'sdd': ('read-only', False)})  # fmt: skip
        self.assertFalse(any(disk['trusted'] for disk in report['disks'].values()))

    def test_6_what_is_too_large_is_known_the_next_time(self):
        """It is read while memory is copied, by both movers; then one block tells that no sample would find."""
        env = {**SANITIZERS, 'WATARI_TEST_FAULTS': 'slow-read'}
        by = []
        for number in range(3):
            self.setUp()
            if number == 2:
                end = self.there
                was = overwrite(end, self.LARGE, 300, bytes(4096 * 7) + b'another template')
                self.addCleanup(overwrite, end, self.LARGE, 300, was)
                time.sleep(2.5)  # what was changed just now is not kept
            report = self.move('--bandwidth', '20M', env=env)
            by.append({row['path']: row['by'] for row in report['compared']}[self.LARGE])
        self.assertEqual(by, ['sample', 'kept', 'sample'])
        self.setUp()
        report = self.refused(what=(self.LARGE, 'vde', 'digests of earlier moves'), env=env)
        self.assertIn('--trust vde', report['error']['next'])

    def test_7_a_large_template_of_a_vm_that_is_off(self):
        """libvirt does not say what its overlay stands on. Of 400 MiB 4 hold something, and one is another one."""
        over = '/lab/shared/disks/off.qcow2'
        self.here.run(['qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', self.LARGE, over])
        text = guest.small_xml(self.lab, self.here, 's2', disks=[guest.Disk(over, 'qcow2')])
        self.here.write_text('/tmp/s2.xml', text)
        self.here.virsh('define', '/tmp/s2.xml')
        self.change(self.LARGE, 201)
        move = ['watari', 'migrate', 's2', self.there.name, '--offline']
        done = self.here.run(move, check=False, timeout=60)
        self.assertEqual(done.returncode, REFUSED, done.stderr)
        self.assertIn(self.LARGE, done.stderr)
        self.doCleanups()
        done = self.here.run(move, check=False, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_8_a_pool_of_one_name_that_is_another_place(self):
        """The volume is shared, but the destination's libvirt would open another file, which is its like so far."""
        shared, local = '/lab/shared/vols', '/lab/images/vols'
        for node, place in ((self.here, shared), (self.there, local)):
            disks.make(node, f'{place}/v.raw')
            pool(node, 'vols', place)
        text = guest.small_xml(self.lab, self.here, 's4', disks=[guest.Disk(f'{shared}/v.raw')])
        text = text.replace("type='file' device='disk'", "type='volume' device='disk'")
        text = text.replace(f"<source file='{shared}/v.raw'/>", "<source pool='vols' volume='v.raw'/>")
        self.here.write_text('/tmp/s4.xml', text)
        self.here.virsh('define', '/tmp/s4.xml')
        move = ['watari', 'migrate', 's4', self.there.name, '--offline']
        done = self.here.run(move, check=False, timeout=60)
        self.assertEqual(done.returncode, REFUSED, done.stderr)
        for path in (f'{shared}/v.raw', f'{local}/v.raw'):
            self.assertIn(path, done.stderr)
        self.there.virsh('pool-destroy', 'vols')
        pool(self.there, 'vols', shared)
        done = self.here.run(move, check=False, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)


del DiskLab  # or its (empty) self would be run too

if __name__ == '__main__':
    unittest.main()
