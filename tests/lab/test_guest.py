# SPDX-License-Identifier: Apache-2.0
"""The measuring tools themselves: the small guest finds what is wrong with it, and the prober sees an outage as long as it was."""
import json
import os
import pathlib
import sys
import time
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / 'lab'))

from watari_lab import HostSpec, Lab, client, disks, guest  # noqa: E402

TIME_LIMIT_S = 400
PAGE = 4096
VM = 'g1'


class GuestTest(unittest.TestCase):
    """One lab and one guest serve all tests of the healthy guest; the spoiled ones are started anew."""

    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(Lab('guest', [HostSpec('hosta', unprivileged=True)]))
        cls.host = cls.lab.host('hosta')
        cls.disk, cls.second = guest.make_disk(cls.lab, 'd1', 16), guest.make_disk(cls.lab, 'd2', 8)
        guest.start(cls.lab, 'hosta', VM, memory_mib=192, words='watari.mem=48', disks=[cls.disk, cls.second])

    def memory(self):
        return guest.state(self.lab, VM)['memory']

    def dirtied_in(self, seconds):
        """(pages, bytes) dirtied in a while."""
        before = self.memory()
        time.sleep(seconds)
        after = self.memory()
        return tuple(after[f'dirtied_{what}'] - before[f'dirtied_{what}'] for what in ('pages', 'bytes'))

    def test_1_serves(self):
        told = guest.state(self.lab, VM)
        self.assertEqual(told['name'], VM)
        self.assertEqual(told['memory']['filled'], 48 * 256)
        self.assertEqual([(disk['name'], disk['blocks']) for disk in told['disks']], [('vda', 16 * 256), ('vdb', 8 * 256)])
        self.assertTrue(guest.check(self.lab, VM)['ok'])

    def test_2_dirties_nothing_when_told_so(self):
        guest.load(self.lab, VM, 'none')
        self.assertEqual(self.dirtied_in(1), (0, 0))

    def test_2_each_pattern_dirties_what_it_says(self):
        for pattern, least, most in (('few', 16, 16), ('text', PAGE, PAGE), ('random', PAGE, PAGE),
                                     ('zero', PAGE, PAGE), ('same', 8, 8), ('mixed', 8, PAGE)):
            with self.subTest(pattern=pattern):
                guest.load(self.lab, VM, 'text', rate='max', set_mib=1)  # no zero pages for "few" to grow from
                while self.dirtied_in(0.2)[0] < 512:
                    pass
                guest.load(self.lab, VM, pattern, rate=300, set_mib=1)
                pages, size = self.dirtied_in(2)
                self.assertGreater(pages, 100)
                self.assertLess(pages, 2000)
                self.assertGreaterEqual(size, pages * least)
                self.assertLessEqual(size, pages * most)
                self.assertEqual(self.memory()['set_pages'], 256)
        guest.load(self.lab, VM, 'none')
        self.assertTrue(guest.check(self.lab, VM)['ok'])

    def test_2_refuses_an_unknown_pattern(self):
        with self.assertRaisesRegex(guest.GuestError, 'no such pattern'):
            guest.load(self.lab, VM, 'nonsense')

    def test_2_dirties_what_the_hypervisor_sees(self):
        """The premise of every move under load: QEMU itself must see other bytes, and "same" must change none."""
        for pattern, changes in (('none', False), ('same', False), ('random', True)):
            with self.subTest(pattern=pattern):
                guest.load(self.lab, VM, pattern, rate=2000, set_mib=40)
                self.assertEqual(self.changed_mib() > 4, changes)
        guest.load(self.lab, VM, 'none')

    def changed_mib(self):
        """How much of the guest's memory differs between two looks from outside, a second apart."""
        looks = []
        directory = '/lab/shared/look'
        os.makedirs(self.host.path(directory), exist_ok=True)
        os.chmod(self.host.path(directory), 0o777)  # for the unprivileged QEMU
        for look in ('one', 'two'):
            where = {'val': 0, 'size': 192 << 20, 'filename': f'{directory}/{look}'}
            self.host.virsh('qemu-monitor-command', VM, json.dumps({'execute': 'pmemsave', 'arguments': where}))
            with open(self.host.path(f'{directory}/{look}'), 'rb') as file:
                looks.append(file.read())
            time.sleep(1)
        one, two = looks
        return sum(one[at:at + PAGE] != two[at:at + PAGE] for at in range(0, len(one), PAGE)) * PAGE / (1 << 20)

    def test_3_prober_sees_an_outage(self):
        """A pause of known length is the longest gap, and no session is lost by it."""
        with client.Prober(self.lab, VM) as prober:
            time.sleep(2)
            quiet = prober.reset()
            begun = time.monotonic()
            self.host.virsh('suspend', VM)
            paused = time.monotonic()
            time.sleep(0.5)
            resuming = time.monotonic()
            self.host.virsh('resume', VM)
            resumed = time.monotonic()
            time.sleep(2)
            seen = prober.snapshot()
        self.assertLess(quiet['longest_gap']['ms'], 400)
        self.assertTrue(quiet['own']['realtime'])
        self.assertGreater(seen['longest_gap']['ms'], (resuming - paused) * 1000 - 5)
        self.assertLess(seen['longest_gap']['ms'], (resumed - begun) * 1000 + 300)  # a busy machine wakes it late
        report = prober.report
        self.assertTrue(report['session']['survived'], report['session'])
        self.assertGreater(report['session']['longest_stall_ms'], 400)
        self.assertEqual(report['http']['failed'], 0, report['http'])
        self.assertGreater(report['udp']['received'], 500)

    def test_4_prober_tells_a_dead_guest(self):
        """A guest that dies: the gap stays open to the end, and the session has not survived."""
        guest.start(self.lab, 'hosta', 'dead', memory_mib=128, words='watari.mem=8')
        with client.Prober(self.lab, 'dead') as prober:
            time.sleep(0.5)
            self.host.virsh('destroy', 'dead')
            time.sleep(1)
        guest.stop(self.lab, 'hosta', 'dead')
        self.assertTrue(prober.report['longest_gap'].get('open'))
        self.assertGreater(prober.report['longest_gap']['ms'], 900)
        self.assertFalse(prober.report['session']['survived'])

    def test_5_finds_every_kind_of_wrong_page(self):
        """One guest a kind of damage would take long: /check tells how many are wrong, and names the first ever."""
        spoilt = []
        for wrong, (page, how) in enumerate(((1003, 'bit'), (77, 'stale'), (5, 'other'), (2000, 'zero')), 1):
            spoilt.append(self.spoil(page, how, spoilt))
            answer = guest.http(self.lab, VM, '/check', timeout=60)
            self.assertFalse(answer['ok'])
            self.assertEqual(answer['memory_wrong'], wrong)
            self.assertEqual(answer['disk_wrong'], 0)
        bit, stale, _, _ = spoilt
        self.assertIn(f'page {bit} ', self.memory()['first_error'])
        self.assertIn(f'WRONG memory page {stale} ', guest.serial(self.lab, VM))
        with self.assertRaisesRegex(guest.GuestError, f'memory page {min(spoilt)} '):  # the first in order, of this pass
            guest.check(self.lab, VM)

    def spoil(self, page, how, spoilt):
        """Spoils the first page from here on that it changes: a zero page stays one as another's, and zeroed.

        Which pages are zero is up to how far the load of an earlier test came."""
        while True:
            try:
                if page not in spoilt:
                    guest.corrupt(self.lab, VM, page=page, how=how)
                    return page
            except guest.GuestError as error:
                if 'is so already' not in str(error):
                    raise
            page += 1

    def test_6_finds_a_wrong_disk_block(self):
        """Spoilt from outside, as by a bad mirror: a block that was damaged, and one that belongs on the other disk."""
        while min(disk['writes'] for disk in guest.state(self.lab, VM)['disks']) < 20:
            time.sleep(0.1)
        with open(self.host.path(self.disk), 'r+b') as image:
            image.seek(9 * PAGE + 100)
            image.write(b'\x55')
            image.seek(12 * PAGE)
            block = image.read(PAGE)
        with open(self.host.path(self.second), 'r+b') as image:
            image.seek(12 * PAGE)
            image.write(block)
        answer = guest.http(self.lab, VM, '/check', timeout=60)
        self.assertEqual(answer['disk_wrong'], 2)
        first, second = guest.state(self.lab, VM)['disks']
        self.assertIn('disk vda block 9 ', first['first_error'])
        self.assertIn('disk vdb block 12 ', second['first_error'])


    def test_7_images_are_compared_byte_for_byte(self):
        """What the tests of moving disks rely on: formats and holes make no difference, one bit does."""
        raw, qcow2 = '/lab/images/c.raw', '/lab/images/c.qcow2'
        disks.make(self.host, raw)
        self.host.run(['qemu-img', 'convert', '-O', 'qcow2', raw, qcow2])
        self.assertLess(disks.allocated(self.host, qcow2), disks.allocated(self.host, raw), 'written zeroes are holes there')
        self.assertEqual(disks.differing(self.host, raw, self.host, qcow2), [])
        at = 7 * PAGE + (disks.AREA_MIB << 20)
        with open(self.host.path(raw), 'r+b') as image:
            image.seek(at)
            byte = image.read(1)[0]
            image.seek(at)
            image.write(bytes([byte ^ 4]))
            image.seek(31 << 20)  # in a hole
            image.write(b'x')
        differ = disks.differing(self.host, raw, self.host, qcow2)
        self.assertEqual(differ, [at, 31 << 20])
        self.assertEqual(disks.outside_area([PAGE, *differ]), differ)


if __name__ == '__main__':
    unittest.main()
