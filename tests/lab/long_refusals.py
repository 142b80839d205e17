# SPDX-License-Identifier: Apache-2.0
"""What a destination refuses because its QEMU or libvirt is older: VMs of Debian 13 that Debian 12 cannot run; and the other
way round, because it is newer."""
import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from refusals import Case, RefusalLab, add_cases  # noqa: E402
from watari_lab import HostSpec  # noqa: E402

TIME_LIMIT_S = 900
LATER = 'it takes effect when it is started again'
MODEL = 'Give the VM the CPU model “kvm64”, which both hosts have'
CASES = [
    Case('a machine type that is too new', ('hosta:v', 'hostb'),
         ('hostb (QEMU 7.2', 'cannot run the machine type pc-q35-10.0'), ('Update QEMU there', 'an older machine type'),
         vm={'machine': 'pc-q35-10.0'}, at='hostb'),
    Case('a CPU feature that is not there', ('hosta:v', 'hostb'), ('the CPU of hostb lacks features', 'sha-ni'),
         (MODEL, LATER), at='hostb',
         vm={'cpu': "<cpu mode='custom' match='exact'><model>qemu64</model><feature policy='require' name='sha-ni'/></cpu>"}),
    # emulated by QEMU 10.0, not known to libvirt 9.0
    Case('a CPU feature that is not known', ('hosta:v', 'hostb'), ('the CPU of hostb cannot run', 'cmpccxadd'),
         (MODEL, LATER), at='hostb',
         vm={'cpu': "<cpu mode='custom' match='exact'><model>qemu64</model>"
                    "<feature policy='require' name='cmpccxadd'/></cpu>"}),
]


class OlderDestination(RefusalLab):
    hosts = [HostSpec('hosta', release='trixie'), HostSpec('hostb', unprivileged=True)]

    def test_versions(self):
        """That libvirt and QEMU are older there is said with both versions."""
        rows = {row['check']: row for row in self.check(CASES[0])['checks']}
        for check, versions in (('libvirt-version', ('9.0.0', '11.3.0')), ('qemu-version', ('7.2.', '10.0.'))):
            self.assertEqual(rows[check]['result'], 'warn', rows)
            for version in versions:
                self.assertIn(version, rows[check]['what'])
            self.assertIn('at hostb if you can', rows[check]['next'])


    def test_what_only_the_definition_needs(self):
        """A program that starts with the VM the next time: said, and no reason to refuse. (libvirt knows passt from 9.1 on.)"""
        self.there.run(['rm', '-f', '/usr/bin/passt'])
        self.start_vm('p', 'define')
        self.addCleanup(self.back_to_v)
        self.addCleanup(self.here.virsh, 'undefine', 'p')
        self.here.virsh('start', 'p')
        self.addCleanup(self.here.virsh, 'destroy', 'p')
        self.here.write_text('/root/passt.xml', "<interface type='user'><backend type='passt'/><model type='virtio'/></interface>")
        self.here.virsh('attach-device', 'p', '/root/passt.xml', '--config')
        done = self.here.run(['watari', 'plan', 'p', 'hostb', '--json'], check=False, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = [row for row in json.loads(done.stdout)['checks'] if row['check'] == 'network:passt']
        self.assertEqual([row['result'] for row in rows], ['warn'], done.stdout)
        self.assertIn('when it is started next', rows[0]['what'])
        self.assertIn('Install passt', rows[0]['next'])


class NewerDestination(RefusalLab):
    """What was dropped meanwhile has the opposite cure."""
    hosts = [HostSpec('hosta'), HostSpec('hostb', release='trixie', unprivileged=True)]


add_cases(OlderDestination, CASES)
add_cases(NewerDestination, [
    Case('a machine type that was dropped', what=('hostb (QEMU 10.0', 'cannot run the machine type pc-i440fx-2.1', 'has dropped it'),
         next=('a newer machine type, which both hosts have',), vm={'machine': 'pc-i440fx-2.1'})])

if __name__ == '__main__':
    unittest.main()
