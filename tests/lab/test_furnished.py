#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A VM with everything that people's VMs have, there and back: what libvirt says of it afterwards, and its next cold start,
are as before, whether its disks are shared or copied, and whether it runs, stands still or is off while it moves."""
import json
import os
import pathlib
import re
import sys
import unittest
import xml.etree.ElementTree

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / 'lab'))

from watari_lab import HostSpec, Lab, furnished, guest  # noqa: E402

TIME_LIMIT_S = 600
WATARI = os.environ.get('WATARI_TEST_BINARY', str(TOP / 'build-asan/src/cli/watari'))
SANITIZERS = {name: os.environ[name] for name in ('ASAN_OPTIONS', 'UBSAN_OPTIONS') if name in os.environ}
# Of a copied disk: it stands on nothing any more, which libvirt reads from the image.
BACKING = re.compile(r'<backingStore.*</backingStore>')


class Furnished(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(f'fur{os.getpid() % 10000}', [HostSpec('hosta'), HostSpec('hostb', unprivileged=True)], watari=WATARI,
                      watari_env=SANITIZERS)
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()

    def move(self, command, *options, vm):
        """From where it is to the other host."""
        here, = (node for node in self.lab.hosts if vm in node.virsh('list', '--all', '--name').stdout.split())
        there, = (node for node in self.lab.hosts if node is not here)
        done = here.run(['watari', command, vm, there.name, '--json', *options], check=False, timeout=240)
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)
        self.assertNotIn('Not all that belongs', done.stderr)
        left = here.virsh('list', '--all', '--name').stdout.split()
        self.assertNotIn(vm, left)
        return there, report

    def inventory(self, node, vm, live=True):
        """The running VM's devices in the order of their words: libvirt puts controllers in another order there, and numbers
        a console anew."""
        found = furnished.inventory(node, vm, live)
        root = xml.etree.ElementTree.fromstring(BACKING.sub('', found.get('live definition', '<domain/>')))
        for target in root.iterfind('devices/console/target'):
            target.attrib.pop('port', None)
        devices = [xml.etree.ElementTree.tostring(device, 'unicode') for device in root.iterfind('devices/*')]
        found['live definition'] = sorted(devices)
        found['beside devices'] = [xml.etree.ElementTree.tostring(part, 'unicode') for part in root if part.tag != 'devices']
        return found

    def compare(self, before, now, but=()):
        for what, value in before.items():
            if what not in but:
                self.assertEqual(now[what], value, what)

    def there_and_back(self, vm, shared):
        furnished.start(self.lab, 'hosta', vm, shared)
        self.addCleanup(guest.stop, self.lab, None, vm)
        before = self.inventory(self.lab.host('hosta'), vm)
        self.assertEqual((before['autostart'], before['checkpoints']), ('enable', [furnished.CHECKPOINT]))
        self.assertTrue(before['tpm'] and before['bitmaps'])
        variables = furnished.variables(self.lab.host('hosta'), vm)
        self.assertIn('BootOrder', variables)
        again = () if shared else ('--remove-source-disks',)  # or they would be in the way back
        for words in (('migrate', '--max-downtime', '20s'), ('quick', '--yes')):
            with self.subTest(words[0]):
                node, report = self.move(*words, *again, vm=vm)
                self.assertEqual(report['carried'], ['autostart', 'checkpoints'])
                self.compare(before, self.inventory(node, vm))
                guest.wait_ready(self.lab, vm)
                guest.check(self.lab, vm)
        node.virsh('destroy', vm)
        off = self.inventory(node, vm, live=False)
        node, report = self.move('migrate', '--offline', '--accept', 'checkpoints', *again, vm=vm)
        # libvirt takes no checkpoint of a VM that is off: that was said, and accepted
        self.compare(off, self.inventory(node, vm, live=False), but=('checkpoints',))
        node.virsh('start', vm)
        guest.wait_ready(self.lab, vm)
        guest.check(self.lab, vm)
        now = self.inventory(node, vm)
        self.compare(before, now, but=('checkpoints', 'bitmaps', 'nvram', 'tpm', 'live definition'))
        # the firmware and the TPM count their starts; what they keep is the same
        self.assertEqual(furnished.variables(node, vm), variables)
        self.assertEqual(set(now['tpm']), set(off['tpm']))
        # the device that only the definition had is there since this start, and nothing else has changed
        more = [device for device in now['live definition'] if device not in before['live definition']]
        less = [device for device in before['live definition'] if device not in now['live definition']]
        self.assertEqual((len(more), less), (1, []), more)
        self.assertIn('52:54:00:66:00:01', more[0])

    def test_through_a_directory(self):
        """Variables and TPM come with the state; neither settings nor keys stay at the source."""
        furnished.start(self.lab, 'hosta', 'furt', True)
        self.addCleanup(guest.stop, self.lab, None, 'furt')
        here, there = self.lab.hosts
        uuid = here.virsh('domuuid', 'furt').stdout.strip()
        private = (furnished.nvram('furt'), f'/var/lib/libvirt/swtpm/{uuid}')
        variables = furnished.variables(here, 'furt')
        self.assertEqual([here.exists(path) for path in private], [True, True])
        node, _ = self.move('quick', '--yes', '--through', '/lab/shared', '--accept', 'checkpoints', vm='furt')
        self.assertIs(node, there)
        self.assertEqual([here.exists(path) for path in private], [False, False])
        guest.check(self.lab, 'furt')
        self.assertEqual(furnished.variables(there, 'furt'), variables)
        there.virsh('destroy', 'furt')
        self.assertEqual([there.exists(path) for path in private], [True, True])
        there.virsh('start', 'furt')
        guest.wait_ready(self.lab, 'furt')
        self.assertEqual(furnished.variables(there, 'furt'), variables)

    def test_firmware_of_another_version(self):
        """It is refused, with what to do; a running VM keeps the firmware that it has, so who knows better may move it."""
        here, there = self.lab.hosts
        with open(there.path(furnished.FIRMWARE), 'rb') as file:
            code = file.read()
        there.write_bytes('/root/other.fd', code[:-64] + bytes(48) + code[-16:])
        there.run(['mount', '--bind', '/root/other.fd', furnished.FIRMWARE])
        self.addCleanup(there.run, ['umount', furnished.FIRMWARE])
        furnished.start(self.lab, 'hosta', 'furf', True)
        self.addCleanup(guest.stop, self.lab, None, 'furf')
        done = here.run(['watari', 'migrate', 'furf', 'hostb', '--json'], check=False, timeout=120)
        error = json.loads(done.stdout)['error']
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn(f'{furnished.FIRMWARE} (loader) at hostb is another one', error['what'])
        for part in ('the same version of its package', 'until it is started next', '--trust loader'):
            self.assertIn(part, error['next'])
        _, report = self.move('migrate', '--trust', 'loader', '--max-downtime', '20s', vm='furf')
        self.assertTrue(any('from its next start on' in note for note in report['notes']), report['notes'])
        guest.check(self.lab, 'furf')

    def test_copied(self):
        self.there_and_back('furc', False)

    def test_shared(self):
        self.there_and_back('furs', True)


if __name__ == '__main__':
    unittest.main()
