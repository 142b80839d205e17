# SPDX-License-Identifier: Apache-2.0
"""A VM on KVM, there and back by every kind of move. Where KVM takes no 64-bit guest it takes one in real mode: a ROM that
rewrites its memory and checks it (ticker.S), whose findings are read out of the VM. (The guard's window: test_guard.py.)"""
import json
import os
import pathlib
import sys
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / 'lab'))
sys.dont_write_bytecode = True
from watari_lab import HostSpec, Lab, guest  # noqa: E402
import ticker  # noqa: E402

TIME_LIMIT_S = 300
WATARI = os.environ.get('WATARI_TEST_BINARY', str(TOP / 'build-asan/src/cli/watari'))
SANITIZERS = {name: os.environ[name] for name in ('ASAN_OPTIONS', 'UBSAN_OPTIONS') if name in os.environ}
VM = 'real'
MIGRATED, FAILED = 0, 4
WRITES, AREA_MIB, MEMORY_MIB = 112, 8, 128  # 2000 pages a second, each of them once a second
FULL = ('--verify-memory', 'full')


def setUpModule():
    global lab
    if not ticker.runs_on_kvm():
        raise unittest.SkipTest('KVM does not run even a guest of a few bytes here')
    lab = Lab(f'kvm{os.getpid() % 100000}', [HostSpec('hosta'), HostSpec('hostb', unprivileged=True)], watari=WATARI,
              watari_env=SANITIZERS)
    unittest.addModuleCleanup(lab.down)
    lab.up()
    ticker.install(lab, WRITES, AREA_MIB)
    hosta = lab.host('hosta')
    hosta.write_text('/root/real.xml', ticker.domain(VM, kind='kvm', cpu='', memory=MEMORY_MIB, log='/lab/images/serial-real.log'))
    hosta.virsh('create', '/root/real.xml')


class Real(unittest.TestCase):
    """One guest serves all tests, in this order; each moves it from where it is to the other host, or tries to."""

    def setUp(self):
        (name,) = guest.where(lab, VM)
        self.here = lab.host(name)
        (self.there,) = (node for node in lab.hosts if node is not self.here)
        self.before = self.assert_right()

    def watari(self, command, *options, environment=None):
        done = self.here.run(['watari', command, VM, self.there.name, '--json', *options], check=False, timeout=120,
                             env=environment)
        self.assertTrue(done.stdout, f'no report; it said: {done.stderr}')
        report = json.loads(done.stdout)
        report['said'] = done.stderr
        return report

    def move(self, command, *options):
        """To the other host, where it must go on with the memory that it had; the report."""
        report = self.watari(command, *options)
        self.assertEqual((report['outcome'], report['exit_code']), ('migrated', MIGRATED), report['said'])
        self.assertTrue(report['proof']['stream'])
        self.here, self.there = self.there, self.here
        self.assert_goes_on()
        return report

    def assert_right(self):
        self.assertEqual(guest.where(lab, VM), {self.here.name: 'running'})
        self.assertIn("type='kvm'", self.here.virsh('dumpxml', VM).stdout)
        found = ticker.status(self.here, VM)
        self.assertEqual(found.wrong, 0, f'page {found.address:#x} was wrong')
        return found

    def assert_goes_on(self):
        """It did not start anew, and all its pages are looked at again: none is wrong."""
        found = ticker.wait_passes(self.here, VM)
        self.assertEqual(found.wrong, 0, f'page {found.address:#x} is wrong after the move')
        self.assertGreater(found.ticks, self.before.ticks)
        self.before = found
        for node in lab.hosts:
            self.assertEqual([line for _, line in node.processes('watari mover')], [], node.name)
            self.assertFalse(node.exists('/run/watari'), node.name)

    def test_1_live_with_all_memory_compared(self):
        report = self.move('migrate', '--max-downtime', '5s', *FULL)
        self.assertEqual(report['proof']['memory'], 'full')
        self.assertGreaterEqual(report['proof']['memory_bytes'], MEMORY_MIB << 20)
        self.assertEqual(report['proof']['memory_skipped'], [])

    def test_2_post_copy(self):
        """Back to the host whose QEMU may do it."""
        self.assertFalse(self.there.plan.unprivileged)
        self.addCleanup(lab.link, rate=None)
        lab.link(rate='500kbit')  # far less than what it changes, so that nothing fits into the ceiling
        report = self.move('migrate', '--allow-postcopy', '--strategy', 'postcopy', '--max-downtime', '1s',
                           '--link-address', self.there.address('migration'))
        self.assertIsNotNone(report['postcopy'], 'it arrived without post-copy')
        print(f"# post-copy: {report['postcopy']}")

    def test_3_quick_there_and_back(self):
        report = self.move('quick', '--yes', *FULL)
        self.assertEqual(report['proof']['memory'], 'full')
        self.move('quick', '--yes', '--prewarm')

    def test_4_planned_with_dirtied_pages_counted(self):
        facts = self.watari('plan')['forecast']['facts']
        counted = self.here.virsh('qemu-monitor-command', VM, '{"execute": "query-dirty-rate"}').stdout
        self.assertEqual(json.loads(counted)['return']['mode'], 'dirty-bitmap')
        pages = (AREA_MIB << 20) // 4096  # that many in a second
        self.assertTrue(0.7 * pages < facts['dirtied_rate'] < 1.3 * pages, facts)
        self.assert_goes_on()

    def test_5_what_the_gate_refuses(self):
        """The VM goes on at the source, from where it was stopped."""
        for fault, words in (('page', 'differs from what the source sent'), ('gate', 'broken off'),
                             ('late-page', 'memory differs')):
            with self.subTest(fault):
                report = self.watari('migrate', '--max-downtime', '1s', *FULL, environment={'WATARI_TEST_FAULTS': fault})
                self.assertEqual(report['exit_code'], FAILED, report['said'])
                self.assertIn(words, report['error']['what'])
                self.assertEqual(guest.where(lab, VM), {self.here.name: 'running'})
                self.assert_goes_on()

    def test_9_the_guest_finds_a_page_that_is_spoilt(self):
        """What all of the above rests on: one that is written at every pass, and one that never is."""
        begin = ticker.FIRST + (AREA_MIB << 20)
        for address in (ticker.FIRST + 4096, begin + 3 * 4096):
            wrong = ticker.status(self.here, VM).wrong
            ticker.spoil(self.here, VM, address, MEMORY_MIB)
            found = ticker.wait_passes(self.here, VM)
            self.assertGreater(found.wrong, wrong)
            self.assertEqual(found.address, address if address < begin else address - (AREA_MIB << 20))


if __name__ == '__main__':
    unittest.main()
