#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What belongs to a VM beside its memory and disks comes along: what libvirt itself loses on the way (docs/travels.md),
asked of real libvirts before and after moves of each kind, there and back."""
import json
import os
import pathlib
import sys
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / 'lab'), str(TOP / 'tests' / 'lab')]

import ticker  # noqa: E402
from watari_lab import HostSpec, Lab  # noqa: E402

TIME_LIMIT_S = 400
WATARI = os.environ.get('WATARI_TEST_BINARY', str(TOP / 'build-asan/src/cli/watari'))
SANITIZERS = {name: os.environ[name] for name in ('ASAN_OPTIONS', 'UBSAN_OPTIONS') if name in os.environ}
SHARED = '/lab/shared'
MIGRATED, REFUSED = 0, 3


def disk(path, kind='qcow2', target='vda', more=''):
    return (f"<disk type='file' device='disk'><driver name='qemu' type='{kind}'/><source file='{path}'/>"
            f"<target dev='{target}' bus='virtio'/>{more}</disk>")


class Belongings(unittest.TestCase):
    """Each test defines a VM of its own at hosta."""

    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(f'bel{os.getpid() % 10000}', [HostSpec('hosta'), HostSpec('hostb', unprivileged=True)], watari=WATARI,
                      watari_env=SANITIZERS)
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        cls.here, cls.there = cls.lab.host('hosta'), cls.lab.host('hostb')
        ticker.install(cls.lab)
        for node in cls.lab.hosts:
            node.run(['mkdir', '-p', '/lab/images'])

    # ---- a VM ----

    def define(self, name, start=True, **differences):
        self.vm, self.log = name, f'{SHARED}/ticks-{name}'
        self.here.write_text('/root/vm.xml', ticker.domain(name, log=self.log, **differences))
        self.here.virsh('define', '/root/vm.xml')
        self.addCleanup(self.forget)
        if start:
            self.here.virsh('start', name)

    def forget(self):
        for node in self.lab.hosts:
            node.virsh('destroy', self.vm, check=False)
            node.virsh('undefine', self.vm, '--snapshots-metadata', '--checkpoints-metadata', '--managed-save', '--nvram',
                       check=False)

    def image(self, path, size='16M', kind='qcow2', node=None):
        node = node or self.here
        node.run(['qemu-img', 'create', '-q', '-f', kind, path, size])
        self.addCleanup(lambda: [each.run(['rm', '-f', path]) for each in self.lab.hosts])
        return path

    # ---- moving ----

    def watari(self, command, *options, source=None, destination=None, code=MIGRATED):
        source, destination = source or self.here, destination or self.there
        words = ['watari', command, self.vm, destination.name, '--json', *options]
        if command in ('migrate', 'rehearse'):
            words += ['--max-downtime', '20s']
        done = source.run(words, check=False, timeout=150)
        self.assertEqual(done.returncode, code, done.stderr + done.stdout)
        report = json.loads(done.stdout)
        report['said'] = done.stderr
        return report

    def move(self, *options, back=False, command='migrate', off=False):
        source, destination = (self.there, self.here) if back else (self.here, self.there)
        report = self.watari(command, *options, source=source, destination=destination)
        self.assertEqual(report['outcome'], 'migrated')
        if not off:
            self.assertTrue(ticker.goes_on(self.lab, self.log))
        return report

    def findings(self, report, name):
        return [row for row in report['checks'] if row['check'] == name]

    # ---- looking ----

    def starts_with(self):
        """The hosts that would start the VM when they come up."""
        return [node.name for node in self.lab.hosts
                if self.vm in node.virsh('list', '--all', '--autostart', '--name').stdout.split()]

    def defined(self):
        return [node.name for node in self.lab.hosts
                if self.vm in node.virsh('list', '--all', '--persistent', '--name').stdout.split()]

    # ---- autostart ----

    def test_autostart(self):
        """It starts with the host where it lives, and with that one only, whichever way it came there."""
        self.define('auto')
        self.here.virsh('autostart', 'auto')
        report = self.move()
        self.assertEqual((self.starts_with(), report['carried']), (['hostb'], ['autostart']))
        self.assertIn('starts with its host', self.findings(report, 'autostart')[0]['what'])
        self.move('--yes', command='quick', back=True)
        self.assertEqual(self.starts_with(), ['hosta'])
        report = self.move('--persistent')  # the definition at the source stays
        self.assertEqual((self.defined(), self.starts_with()), (['hosta', 'hostb'], ['hostb']))
        self.here.virsh('undefine', 'auto')
        self.there.virsh('destroy', 'auto')
        self.move('--offline', back=True, off=True)
        self.assertEqual((self.defined(), self.starts_with()), (['hosta'], ['hosta']))
        self.move('--offline', '--persistent', off=True)
        self.assertEqual((self.defined(), self.starts_with()), (['hosta', 'hostb'], ['hostb']))

    def test_autostart_that_cannot_come_along(self):
        """That is said before: a VM that is not defined there cannot start with that host."""
        self.define('lost')
        self.here.virsh('autostart', 'lost')
        report = self.watari('plan', '--undefine-source')
        row, = self.findings(report, 'autostart')
        self.assertEqual(row['result'], 'warn')
        self.assertIn('not defined at hostb', row['what'])
        report = self.watari('rehearse')
        self.assertEqual((self.starts_with(), self.defined()), (['hosta'], ['hosta']))


if __name__ == '__main__':
    unittest.main()
