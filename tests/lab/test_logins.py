# SPDX-License-Identifier: Apache-2.0
"""Hosts as people log in to them: nobody comes as root, sudo stands in for that, and the login shells print what they like."""
import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from refusals import SANITIZERS, UUID, WATARI, ticker  # noqa: E402
from watari_lab import HostSpec, Lab, disks  # noqa: E402

TIME_LIMIT_S = 300
NOISE = "echo 'Welcome to the machine'; printf 'no newline'"
DISK = ("<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/lab/images/v.raw'/>"
        "<target dev='vda' bus='virtio'/></disk>")
SUDOERS = '/etc/sudoers.d/ops'


class Logins(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = Lab('logins', [HostSpec('hosta', root_login=False), HostSpec('hostb', root_login=False, unprivileged=True)],
                      watari=WATARI, watari_env=SANITIZERS)
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        cls.here, cls.there = cls.lab.hosts
        ticker.install(cls.lab)
        for host in cls.lab.hosts:
            host.run(['sh', '-c', 'cat >~ops/.bashrc'], input=NOISE + '\n')
        disks.make(cls.here, '/lab/images/v.raw', 16, parts=disks.noise('v', 2))
        cls.there.run(['mkdir', '-p', '/lab/images'])
        cls.here.write_text('/root/vm.xml', ticker.domain('v', uuid=UUID, devices=DISK))
        cls.here.virsh('create', '/root/vm.xml')

    def watari(self, *words, user=None, at=None):
        return (at or self.lab.admin).run(['watari', *words], check=False, timeout=150, **({'user': user} if user else {}))

    def move(self, vm, host, *words):
        done = self.watari('migrate', vm, host, '--json', '--max-downtime', '20s', '--remove-source-disks', *words)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(ticker.goes_on(self.lab))
        report = json.loads(done.stdout)
        self.assertEqual(report['disks'][0]['kind'], 'copied')
        return report

    def test_1_there_and_back(self):
        """The disk is made, read, given to QEMU's user and removed as root; the link goes directly, then by two shells."""
        self.assertIn('Permission denied', self.lab.admin.run(['ssh', 'root@hostb', 'true'], check=False).stderr)
        self.assertIn('Welcome', self.lab.admin.run(['ssh', 'ops@hostb', 'true']).stdout)
        self.assertEqual(self.move('ops@hosta:v', 'ops@hostb')['link']['kind'], 'tcp')
        self.assertFalse(self.here.exists('/lab/images/v.raw'))
        self.assertEqual(self.move('ops@hostb:v', 'ops@hosta', '--link', 'ssh')['link']['kind'], 'ssh')

    def test_2_doctor(self):
        done = self.watari('doctor', '--json', 'ops@hosta', 'ops@hostb')
        for host in json.loads(done.stdout)['hosts']:
            rows = {row['check']: row for row in host['checks']}
            self.assertNotIn('refuse', {row['result'] for row in host['checks']}, rows)
            self.assertIn('Welcome to the machine no newline', rows['shell']['what'])
            self.assertIn('ops is root there by sudo', rows['ssh']['what'])
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_3_a_command_of_its_own(self):
        """What runs watari may be more than a path; and who is not in the group libvirt reaches libvirt by sudo as well."""
        self.there.run(['gpasswd', '-d', 'ops', 'libvirt'])
        self.addCleanup(self.there.run, ['gpasswd', '-a', 'ops', 'libvirt'])
        done = self.watari('plan', 'ops@hosta:v', 'ops@hostb', '--remote-watari', 'sudo -n /usr/local/bin/watari', '-q')
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_4_from_a_host_itself(self):
        """The program runs as an ordinary user where the VM is, and its own half becomes root."""
        done = self.watari('plan', 'v', 'ops@hostb', '-q', user='ops', at=self.here)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_5_without_sudo(self):
        """Neither root nor sudo: said, with the line that sudo needs."""
        before = self.there.read_text(SUDOERS)
        self.there.run(['rm', SUDOERS])
        self.addCleanup(self.there.write_text, SUDOERS, before, 0o440)
        done = self.watari('doctor', 'ops@hostb')
        self.assertEqual(done.returncode, 3)
        self.assertIn('ops ALL=(root) NOPASSWD: ALL', done.stdout)
        done = self.watari('migrate', 'ops@hosta:v', 'ops@hostb')
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn('let sudo ask no password', done.stderr)
        self.assertTrue(ticker.goes_on(self.lab))


if __name__ == '__main__':
    unittest.main()
