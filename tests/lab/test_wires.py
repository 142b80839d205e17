#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Networks and clocks that are not as they seem: packets that pass only when they are short, before a move and in the middle
of one, and hosts that do not agree on the time."""
import json
import os
import pathlib
import subprocess
import sys
import time
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / 'lab'))
sys.dont_write_bytecode = True
from watari_lab import HostSpec, Lab, guest  # noqa: E402

TIME_LIMIT_S = 400
WATARI = os.environ.get('WATARI_TEST_BINARY', str(TOP / 'build-asan/src/cli/watari'))
SANITIZERS = {name: os.environ[name] for name in ('ASAN_OPTIONS', 'UBSAN_OPTIONS') if name in os.environ}
VM = 'w1'
MIGRATED, FAILED = 0, 4
HAND_OVER_MS = 3000  # of libvirt, on a machine that is busy


def setUpModule():
    global lab
    lab = Lab(f'wires{os.getpid() % 10000}', [HostSpec('hosta'), HostSpec('hostb', clock_s=0.0)], watari=WATARI,
              watari_env=SANITIZERS)
    unittest.addModuleCleanup(lab.down)
    lab.up()


class Wires(unittest.TestCase):
    """One guest, moved from where it is to the other host."""

    @classmethod
    def setUpClass(cls):
        guest.start(lab, 'hosta', VM, memory_mib=96)

    def setUp(self):
        self.addCleanup(lab.link, mtu=1500, drop_above=0)
        (name,) = guest.where(lab, VM)
        self.here = lab.host(name)
        (self.there,) = (node for node in lab.hosts if node is not self.here)

    def words(self, *options):
        return ['watari', 'migrate', VM, self.there.name, '--json', '--max-downtime', '20s', '--link-address',
                self.there.address('migration'), *options]

    def move(self, *options):
        done = self.here.run(self.words(*options), check=False, timeout=180)
        self.assertTrue(done.stdout, done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual(report['exit_code'], done.returncode, done.stderr)
        return report

    def test_1_clocks_that_differ(self):
        """libvirt's word on the standstill is the difference of two clocks; the report's is not. There and back, so that
        each offset is once ahead and once behind."""
        for seconds in (3600, 0.4, -7):
            lab.host('hostb').set_clock(seconds)
            for _ in range(2):
                with self.subTest(ahead=seconds, source=self.here.name):
                    report = self.move('--link', 'tcp')
                    self.assertEqual(report['exit_code'], MIGRATED, report['error'])
                    times = report['times']
                    self.assertLess(times['downtime_ms'], times['stop_to_release_ms'] + HAND_OVER_MS, times)
                    said = times['libvirt_downtime_ms']
                    if said is None:  # libvirt subtracts nothing that would be negative
                        self.assertTrue((seconds < 0) == (self.there.name == 'hostb'), 'it was thrown away')
                    else:
                        self.assertGreaterEqual(said, times['stop_to_release_ms'] - 150, times)
                    self.assertFalse([note for note in report['notes'] if 'stood still' in note], report['notes'])
                self.here, self.there = self.there, self.here
        lab.host('hostb').set_clock(0)

    def test_2_large_packets_do_not_pass(self):
        """The hosts believe in an MTU that the switch between them does not have: the next way is taken, and it is said
        why."""
        lab.link(mtu=9000, drop_above=1500)
        began = time.monotonic()
        report = self.move()
        self.assertEqual(report['exit_code'], MIGRATED, report['error'])
        self.assertEqual(report['link']['kind'], 'ssh')
        self.assertTrue([note for note in report['notes'] if 'MTU' in note], report['notes'])
        self.assertLess(time.monotonic() - began, 90)

    def test_3_and_do_not_any_more_in_the_middle(self):
        """Connections come up again and again and nothing arrives over them: --link-timeout ends it."""
        lab.link(mtu=9000)
        before, others = self.received(), self.listeners()
        moving = self.here.popen(self.words('--link', 'tcp', '--bandwidth', '3M', '--link-timeout', '6s'), text=True,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        end = time.monotonic() + 60
        while self.received() - before < 9 << 20 and time.monotonic() < end and moving.poll() is None:
            time.sleep(0.05)
        self.assertIsNone(moving.poll(), 'it was over before the wire changed')
        # and nobody can come but to the address that was named
        self.assertEqual({address for address, _ in self.listeners() - others}, {self.there.address('migration')})
        lab.link(drop_above=1500)
        began = time.monotonic()
        out, said = moving.communicate(timeout=120)
        self.assertEqual(moving.returncode, FAILED, said)
        self.assertLess(time.monotonic() - began, 30)
        self.assertIn('MTU', json.dumps(json.loads(out)['error']))
        self.assertEqual(guest.where(lab, VM), {self.here.name: 'running'})

    def listeners(self):
        """(address, port) of TCP sockets that listen at the destination."""
        text = self.there.run(['ss', '-Hltn']).stdout
        return {tuple(line.split()[3].rsplit(':', 1)) for line in text.splitlines()}

    def received(self):
        with open(f'/proc/{self.there.pid}/net/dev', encoding='utf-8') as file:
            return next(int(line.split(':')[1].split()[0]) for line in file if line.strip().startswith('mig0:'))


if __name__ == '__main__':
    unittest.main()
