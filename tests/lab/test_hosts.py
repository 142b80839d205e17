# SPDX-License-Identifier: Apache-2.0
"""Three hosts that have no IPv4 and know no names but their own: a VM goes round, and between two others than where the command
runs. (Hosts without root login: test_logins.py; MTU and clocks: test_wires.py.)"""
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
VM = 'round'


class Round(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(f'round{os.getpid() % 10000}', [HostSpec('hosta'), HostSpec('hostb', unprivileged=True), HostSpec('hostc')],
                      watari=WATARI, watari_env=SANITIZERS, ipv6_only=True)
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        ticker.install(cls.lab, writes=56, checks_mib=4)
        kind = 'kvm' if ticker.runs_on_kvm() else 'qemu'
        text = ticker.domain(VM, kind=kind, cpu='' if kind == 'kvm' else ticker.CPU, log='/lab/images/serial-round.log')
        cls.lab.host('hosta').write_text('/root/round.xml', text)
        cls.lab.host('hosta').virsh('create', '/root/round.xml')

    def move(self, node, words, destination):
        """A command at a node, after which the VM is at that host, and there only, with its memory."""
        ceiling = ['--yes'] if words[0] == 'quick' else ['--max-downtime', '10s']
        done = node.run(['watari', *words, '--json', *ceiling], check=False, timeout=120)
        self.assertTrue(done.stdout, done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual((report['outcome'], done.returncode), ('migrated', 0), done.stderr)
        self.assertEqual(guest.where(self.lab, VM), {destination.name: 'running'})
        self.assertEqual(ticker.wait_passes(destination, VM).wrong, 0)
        for host in self.lab.hosts:
            self.assertEqual([line for _, line in host.processes('watari mover')], [], host.name)
        return report

    def test_1_round(self):
        """Addresses as people write them: bare, in brackets, in a URI."""
        hosta, hostb, hostc = self.lab.hosts
        self.assertNotEqual(hosta.run(['getent', 'hosts', 'hostb'], check=False).returncode, 0)
        report = self.move(hosta, ['migrate', VM, hostb.address()], hostb)
        self.assertEqual(report['link']['kind'], 'tcp')
        self.move(hostb, ['migrate', VM, f'root@[{hostc.address()}]'], hostc)
        self.move(hostc, ['migrate', VM, f'qemu+ssh://root@[{hosta.address()}]/system'], hosta)

    def test_2_from_a_machine_beside(self):
        """Source and destination named by the administrator's machine, data over the other network."""
        hosta, hostb, hostc = self.lab.hosts
        words = ['migrate', f'[{hosta.address()}]:{VM}', hostb.address(), '--link-address', hostb.address('migration')]
        self.move(self.lab.admin, words, hostb)
        self.move(hostc, ['quick', f'[{hostb.address()}]:{VM}', hosta.address()], hosta)


if __name__ == '__main__':
    unittest.main()
