#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A VM that is off moves with its disks: the same there byte for byte, started nowhere meanwhile, and at exactly one host
afterwards, however it ends."""
import json
import signal
import subprocess
import time
import unittest

from disklab import FAILED, MIB, MIGRATED, REFUSED, DiskLab, disks, guest, small_place, words

TIME_LIMIT_S = 200

RAW, QCOW2 = '/lab/images/o1.raw', '/lab/images/o1.qcow2'
CANCELLED = 6


class Offline(DiskLab):
    """Two disks, raw and qcow2. Each test moves the VM from where it is defined, or tries to."""

    lab_name = 'off'
    vm = 'o1'

    @classmethod
    def prepare(cls):
        here = cls.lab.host('hosta')
        images = [guest.Disk(disks.make(here, RAW)), guest.Disk(disks.make(here, QCOW2, format='qcow2'), 'qcow2')]
        text = guest.small_xml(cls.lab, here, cls.vm, memory_mib=96, words=words(), disks=images)
        here.write_text('/tmp/o1.xml', text)
        here.virsh('define', '/tmp/o1.xml')

    def setUp(self):
        self.here, = (node for node in self.lab.hosts if self.state(node))
        self.there, = (node for node in self.lab.hosts if node is not self.here)
        self.before_here, self.before_there = disks.listing(self.here), disks.listing(self.there)
        self.was = self.sources(self.here)
        self.addCleanup(self.tidy)

    def tidy(self):
        """Old images would be in the way of the next move, and so would a second definition."""
        if all(self.states()):
            self.here.virsh('undefine', self.vm)
        for node in self.lab.hosts:
            if not self.state(node):
                node.run(['rm', '-f', RAW, QCOW2])

    def state(self, node):
        """Of the VM at a host: "shut off", "running"; "" if it is not known there."""
        return node.virsh('domstate', self.vm, check=False).stdout.strip()

    def states(self):
        return self.state(self.here), self.state(self.there)

    def assert_as_before(self):
        self.assertEqual(self.states(), ('shut off', ''))
        self.assertEqual(disks.listing(self.there), self.before_there, 'images at the destination')
        self.assertEqual(disks.listing(self.here), self.before_here, 'images at the source')
        self.assert_all_clean()

    def assert_all_clean(self):
        self.assert_clean()
        for node in self.lab.hosts:
            self.assertEqual([line for _, line in node.processes('qemu-storage-daemon')], [])
            self.assertEqual([line for _, line in node.processes('qemu-img')], [])

    def assert_moved(self, report):
        """It is there, off, with the same bytes; nothing of it is here but the old images."""
        self.assertEqual(report['exit_code'], MIGRATED, report['said'])
        self.assertEqual(report['kind'], 'offline')
        self.assertEqual(self.states(), ('', 'shut off'))
        self.assertIsNone(report['times']['downtime_ms'])
        now = self.sources(self.there)
        for disk in report['disks']:
            self.assertEqual((disk['kind'], disk['proven']), ('copied', True), disk)
            self.assertEqual(disk['destination'], now[disk['target']])
        self.assertTrue(report['proof']['stream'])
        self.assert_all_clean()
        return now

    def begin(self, *options, rate='1M'):
        """A move that lasts some seconds, once the copying has begun."""
        argv = ['watari', 'migrate', '--offline', self.vm, self.there.name, '--json', '--bandwidth', rate, *options]
        moving = self.here.popen(argv, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        end = time.monotonic() + 30
        while not [line for _, line in self.here.processes('qemu-img') if 'convert' in line]:
            self.assertLess(time.monotonic(), end, 'nothing is copied')
            if moving.poll() is not None:
                self.fail(''.join(moving.communicate()))
            time.sleep(0.02)
        return moving

    def ending(self, moving):
        out, said = moving.communicate(timeout=60)
        report = json.loads(out)
        report['said'] = said
        return report

    def test_1_moved(self):
        """There, and started there; the guest finds its disks as they were."""
        report = self.migrate('--offline')
        now = self.assert_moved(report)
        self.assertEqual(now, self.was)
        for target, path in self.was.items():
            self.assertEqual(disks.differing(self.here, path, self.there, now[target]), [], target)
            self.assert_sparse(path, now[target])
        self.assertEqual(disks.info(self.there, QCOW2)['format'], 'qcow2')
        self.assertLess(report['bytes']['wire_sent'], 20 * MIB, 'holes, zeroes and what is there twice do not travel')
        self.there.virsh('start', self.vm)
        guest.wait_ready(self.lab, self.vm)
        guest.check(self.lab, self.vm)
        self.there.virsh('destroy', self.vm)

    def test_2_back_verified_and_the_old_images_removed(self):
        """What the guest wrote goes along, and --verify-disks reads it back."""
        report = self.migrate('--offline', '--verify-disks', 'full', '--remove-source-disks')
        self.assert_moved(report)
        self.assertEqual(disks.listing(self.here), self.before_here - set(self.was.values()))
        for disk in report['disks']:
            self.assertGreater(disk['verified_blocks'], 0)

    def test_3_no_start_meanwhile(self):
        """Neither libvirt nor anybody else gets the images to write to; and a cancel leaves all as it was."""
        moving = self.begin()
        start = self.here.virsh('start', self.vm, check=False)
        self.assertNotEqual(start.returncode, 0, 'it started')
        self.assertIn('lock', start.stderr)
        for path, form in ((RAW, 'raw'), (QCOW2, 'qcow2')):
            write = self.here.run(['qemu-io', '-f', form, '-c', 'write 0 4k', path], check=False)
            self.assertIn('lock', write.stdout + write.stderr)
        self.assertEqual(self.state(self.there), '', 'it is not known there yet')
        moving.send_signal(signal.SIGINT)
        report = self.ending(moving)
        self.assertEqual((report['exit_code'], report['outcome']), (CANCELLED, 'cancelled'), report['said'])
        self.assert_as_before()

    def test_4_changed_meanwhile(self):
        """Whoever passes by the locks is found out."""
        moving = self.begin()
        with open(self.here.path(RAW), 'r+b') as file:
            file.write(b'changed')
        report = self.ending(moving)
        self.assertEqual(report['exit_code'], FAILED, report['said'])
        self.assertIn('changed the images', report['error']['what'])
        self.assert_as_before()

    def test_5_destination_full(self):
        place = small_place(self.there, '/lab/small', 18)
        self.addCleanup(self.there.run, ['umount', place])
        moving = self.begin('--disk', f'vda={place}/d.raw')
        self.there.run(['dd', 'if=/dev/zero', f'of={place}/fill', 'bs=1M'], check=False)
        report = self.ending(moving)
        self.assertEqual(report['exit_code'], FAILED, report['said'])
        self.assertIn('vda', report['error']['what'])
        self.assertEqual(disks.listing(self.there, place), {f'{place}/fill'})
        self.assert_as_before()

    def test_6_conductor_killed(self):
        """Nothing goes on by itself, and `watari resolve` removes what is left."""
        moving = self.begin()
        moving.kill()
        moving.communicate()
        end = time.monotonic() + 20
        while any(node.processes(name) for node in self.lab.hosts for name in ('qemu-img', 'qemu-storage-daemon', 'watari mover')):
            self.assertLess(time.monotonic(), end, 'something goes on')
            time.sleep(0.1)
        self.here.run(['watari', 'resolve', self.vm])
        self.assert_as_before()

    def test_7_refused(self):
        """What runs is not off, what is off does not run; and nothing that the destination has is written over."""
        report = self.migrate()
        self.assertEqual(report['exit_code'], REFUSED)
        self.assertIn('--offline', report['error']['next'])
        self.there.write_text('/tmp/old.xml', self.here.virsh('dumpxml', self.vm).stdout)
        self.there.virsh('define', '/tmp/old.xml')
        report = self.migrate('--offline')
        self.there.virsh('undefine', self.vm)
        self.assertEqual(report['exit_code'], REFUSED)
        self.assertIn(self.there.name, report['error']['what'])
        self.here.virsh('start', self.vm)
        report = self.migrate('--offline')
        self.here.virsh('destroy', self.vm)
        self.assertEqual(report['exit_code'], REFUSED)
        self.assertIn('--offline', report['error']['what'])
        self.assert_as_before()

    def test_8_kept_at_the_source_too(self):
        """--persistent alone leaves the definition, as for a VM that runs."""
        report = self.migrate('--offline', '--persistent')
        self.assertEqual(report['exit_code'], MIGRATED, report['said'])
        self.assertEqual(self.states(), ('shut off', 'shut off'))
        self.assert_all_clean()


del DiskLab  # or its (empty) self would be run too

if __name__ == '__main__':
    unittest.main()
