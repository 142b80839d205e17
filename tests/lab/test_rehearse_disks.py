#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`watari rehearse` of a VM whose disks are copied: a part of them crosses, within its bounds, and nothing of it is left.

The guest writes to its disks and verifies them throughout, and a client outside would notice if it stopped."""
import json
import os
import signal
import subprocess
import time
import unittest

from disklab import FAILED, MIB, RATE, DiskLab, disks, guest
from watari_lab import client

TIME_LIMIT_S = 400

RAW, QCOW2 = '/lab/images/r1.raw', '/lab/images/r1.qcow2'
NOISE_MIB = 48
OVERHEAD = 1.1  # of the wire, for what does not compress


class Rehearsed(DiskLab):
    """Two local disks, together larger than the bounds of most tests."""

    vm, lab_name = 'r1', 'rdisks'

    @classmethod
    def prepare(cls):
        here = cls.lab.host('hosta')
        disks.make(here, RAW, NOISE_MIB + 8, parts=disks.noise('rehearsal', NOISE_MIB))
        cls.start([guest.Disk(RAW), guest.Disk(disks.make(here, QCOW2, format='qcow2'), 'qcow2')])

    def ahead(self, *words):
        done = self.here.run(['watari', *words, '--json'], check=False, timeout=180)
        self.assertTrue(done.stdout, f'no report; it said: {done.stderr}')
        report = json.loads(done.stdout)
        self.assertEqual(done.returncode, 0, done.stderr)
        return report

    def rehearse(self, *options):
        """What was seen in it. It must leave the VM as it was, and the destination empty."""
        events = self.here.popen(['virsh', 'event', '--all', '--loop', '--timeout', '150', '--domain', self.vm],
                                 stdout=subprocess.PIPE, text=True)
        time.sleep(0.5)
        before = self.writes(self.vm)
        with client.Prober(self.lab, self.vm) as prober:
            report = self.ahead('rehearse', self.vm, self.there.name, *options)
        events.terminate()
        said, _ = events.communicate(timeout=20)
        print(f'# {" ".join(options)}: {report["rehearsal"]}, gap {prober.report["longest_gap"]["ms"]} ms')
        self.assertEqual(report['outcome'], 'rehearsed')
        for word in ('Suspended', 'Stopped'):
            self.assertNotIn(word, said)
        self.assertTrue(prober.report['session']['survived'])
        self.assertEqual(prober.report['http']['failed'], 0)
        self.assert_untouched(before)
        # memory's part was rehearsed as ever
        self.assertGreaterEqual(report['rehearsal']['left_pages'], 512)
        self.assertGreater(report['rehearsal']['pages'], 100)
        return report

    def assert_untouched(self, before):
        self.assertEqual(guest.where(self.lab, self.vm), {self.here.name: 'running'})
        self.assertEqual(disks.listing(self.there), self.before_there, 'images at the destination')
        self.assertEqual(disks.listing(self.here), self.before_here, 'images at the source')
        self.assert_clean()
        jobs = self.here.virsh('qemu-monitor-command', self.vm, '{"execute": "query-block-jobs"}').stdout
        self.assertEqual(json.loads(jobs)['return'], [])
        nodes = self.here.virsh('qemu-monitor-command', self.vm, '{"execute": "query-named-block-nodes"}').stdout
        self.assertNotIn('nbd', {node['drv'] for node in json.loads(nodes)['return']})
        self.assertNotIn('-incoming', ' '.join(line for _, line in self.there.processes('qemu-system')))
        time.sleep(0.3)
        for disk, count in self.writes(self.vm).items():
            self.assertGreater(count, before[disk], f'{disk} is not written to any more')
        guest.check(self.lab, self.vm)

    def test_1_a_part(self):
        report = self.rehearse('--max-disk', '16M')
        seen = report['rehearsal']['disks']
        self.assertFalse(seen['whole'])
        self.assertTrue(6 * MIB < seen['bytes'] <= 16 * MIB, seen)
        self.assertTrue(0 < seen['wire_bytes'] < 16 * MIB * OVERHEAD, seen)
        # both parts of it are in the whole
        self.assertGreater(report['bytes']['wire_sent'], seen['wire_bytes'] + report['rehearsal']['wire_bytes'] / 2)
        facts = report['forecast']['facts']
        self.assertAlmostEqual(facts['disk_rate'], seen['bytes'] / seen['ms'] * 1e3, delta=facts['disk_rate'] / 100)

    def test_2_all_of_them(self):
        """They are smaller than what would be copied: one migration, whose mirrors keep up as memory is copied."""
        seen = self.rehearse('--max-disk', '500M')['rehearsal']['disks']
        self.assertTrue(seen['whole'])
        self.assertGreater(seen['bytes'], NOISE_MIB * MIB)

    def test_3_traffic_counts_both(self):
        seen = self.rehearse('--max-traffic', '16M')['rehearsal']
        self.assertFalse(seen['disks']['whole'])
        self.assertLess(seen['disks']['wire_bytes'], 16 * MIB)  # half of it, and what was taken but not sent yet
        self.assertLess(seen['disks']['wire_bytes'] + seen['wire_bytes'], 24 * MIB)

    def test_4_time_counts_both(self):
        seen = self.rehearse('--bandwidth', '2M', '--max-time', '8s')['rehearsal']
        self.assertFalse(seen['disks']['whole'])
        self.assertTrue(2000 < seen['disks']['ms'] < 8000, seen)
        self.assertLess(seen['disks']['bytes'], 20 * MIB)
        self.assertLess(seen['copy_ms'], 12000)

    def test_4_time_over_between_two_writes(self):
        """Where the next one is long in coming, what was heard last has to do."""
        seen = self.rehearse('--disk-bandwidth', '64K', '--max-time', '6s')['rehearsal']['disks']
        self.assertFalse(seen['whole'])
        self.assertTrue(0 < seen['bytes'] < 4 * MIB, seen)
        self.assertLess(seen['wire_bytes'], 8 * MIB)

    def test_5_a_guest_that_writes_faster_than_the_cap(self):
        """Its writes do not wait for a copy that is held."""
        guest.load(self.lab, self.vm, disk_rate=30 * RATE)
        seen = self.rehearse('--bandwidth', '4M', '--max-disk', '8M')['rehearsal']['disks']
        self.assertFalse(seen['whole'])
        self.assertLessEqual(seen['bytes'], 8 * MIB)

    def test_6_cancelled_while_disks_are_copied(self):
        before = self.writes(self.vm)
        running = self.here.popen(['watari', 'rehearse', self.vm, self.there.name, '--bandwidth', '1M', '-q'])
        deadline = time.monotonic() + 30
        while not disks.listing(self.there) and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(3)
        running.terminate()
        running.wait(60)
        self.assertEqual(running.returncode, 6)
        self.assert_untouched(before)

    def test_7_killed_while_disks_are_copied(self):
        """What is left, `watari resolve` takes away."""
        before = self.writes(self.vm)
        running = self.here.popen(['watari', 'rehearse', self.vm, self.there.name, '--bandwidth', '1M', '-q'])
        deadline = time.monotonic() + 30
        while not disks.listing(self.there) and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(4)
        running.kill()
        running.wait(60)
        done = self.here.run(['watari', 'resolve', self.vm], check=False, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_untouched(before)

    def test_8_held_for_long(self):
        """A conductor that stands still does not end what the mover holds: the VM's own writes go on, and the mover lets go."""
        before = self.writes(self.vm)
        running = self.here.popen(['watari', 'rehearse', self.vm, self.there.name, '--bandwidth', '4M', '--max-disk', '6M', '-q'])
        self.addCleanup(running.wait, 60)
        deadline = time.monotonic() + 30
        while not (self.there.exists(RAW) and disks.allocated(self.there, RAW) > MIB) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(running.pid, signal.SIGSTOP)
        try:
            gaps = self.gaps_between_writes(13)
        finally:
            os.kill(running.pid, signal.SIGCONT)
        running.wait(90)
        print(f'# exit code {running.returncode}, longest time without a write {gaps} s')
        self.assertLess(max(gaps.values()), 1)
        self.assertIn(running.returncode, (0, FAILED))
        self.assert_untouched(before)

    def gaps_between_writes(self, seconds):
        """The longest time in which no write of the guest's came to its end, of each disk."""
        counts, since, gaps = self.writes(self.vm), {}, {}
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            for disk, count in self.writes(self.vm).items():
                if count != counts[disk]:
                    counts[disk], since[disk] = count, now
                gaps[disk] = max(gaps.get(disk, 0), now - since.setdefault(disk, now))
            time.sleep(0.02)
        return {disk: round(gap, 2) for disk, gap in gaps.items()}

    def test_9_then_it_moves(self):
        """The forecast starts from what was seen, and the move itself finds nothing in its way."""
        facts = self.ahead('plan', self.vm, self.there.name)['forecast']['facts']
        self.assertGreater(facts['disk_rate'], 0)
        self.assertGreater(facts['disk_share'], 0)
        self.addCleanup(self.forget, self.here, RAW, QCOW2)
        self.move('--verify-disks', 'full')
        for path in (RAW, QCOW2):
            self.assert_same(path, path)


del DiskLab  # or its (empty) self would be run too

if __name__ == '__main__':
    unittest.main()
