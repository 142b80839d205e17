# SPDX-License-Identifier: Apache-2.0
"""Refusals that are judgements: they are right about the hosts as they are, and who knows better overrules them by name."""
import contextlib
import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from refusals import Case, RefusalLab, ticker  # noqa: E402
from test_refusals import TOO_MUCH_MIB  # noqa: E402

TIME_LIMIT_S = 300
# As the kernel prints it: 32 GiB of which next to nothing is free, for most of the page cache is tmpfs.
FULL = '\n'.join(f'{name}: {kib} kB' for name, kib in {
    'MemTotal': 33554432, 'MemFree': 40960, 'MemAvailable': 81920, 'Buffers': 1024, 'Cached': 25165824, 'SwapCached': 0,
    'AnonPages': 8000000, 'Shmem': 25000000, 'CommitLimit': 16777216, 'Committed_AS': 1048576, 'HugePages_Total': 0,
    'Hugepagesize': 2048}.items()) + '\n'


@contextlib.contextmanager
def full_of_tmpfs(test):
    """hostb's processes read another /proc/meminfo, libvirt's as well."""
    test.there.write_text('/root/meminfo', FULL)
    test.there.run(['mount', '--bind', '/root/meminfo', '/proc/meminfo'])
    try:
        yield
    finally:
        test.there.run(['umount', '/proc/meminfo'])


def graphics(attributes, address):
    return f"<graphics type='vnc' {attributes}><listen type='address' address='{address}'/></graphics>"


def serial(host, port):
    return f"<serial type='tcp'><source mode='bind' host='{host}' service='{port}'/><protocol type='raw'/></serial>"


VSOCK_OR_RNG = "<rng model='virtio'><backend model='random'>/dev/onlyhere</backend></rng>"
# (name, what differs in the VM, its check, parts of the finding): a plan only, each of a VM that runs.
FINDINGS = [
    ('a display on an address of the source', graphics("port='-1' autoport='yes'", '10.20.0.11'), 'graphics', 'refuse',
     ('listens on 10.20.0.11, and hostb does not have that address',)),
    ('a display whose port is taken', graphics("port='5978' autoport='no'", '0.0.0.0'), 'graphics', 'refuse',
     ('listens on port 5978, which the process python3', 'has at hostb')),
    ('a display whose port is chosen', graphics("port='-1' autoport='yes'", '0.0.0.0'), 'socket', 'pass', ()),
    ('a serial line on an address of the source', serial('10.20.0.11', 4555), 'socket', 'refuse', ('10.20.0.11',)),
    ('a serial line whose port is taken', serial('127.0.0.1', 5977), 'socket', 'refuse', ('port 5977',)),
    ('a random source that is not there', VSOCK_OR_RNG, 'device', 'refuse', ('/dev/onlyhere', 'hostb does not have')),
    ('user-mode network', "<interface type='user'><model type='virtio'/></interface>", 'network:user', 'warn',
     ('a process at hosta',)),
]


class Judgements(RefusalLab):
    def plan(self, *words):
        done = self.here.run(['watari', 'plan', 'v', 'hostb', '--json', *words], check=False, timeout=120)
        return done, json.loads(done.stdout)

    def move(self, *words, at='hosta', code=0):
        done = self.watari(*words, '--json', at=at)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertTrue(ticker.goes_on(self.lab, self.log))
        return json.loads(done.stdout), done.stderr

    def test_memory(self):
        """Page cache that is tmpfs is not free; the refusal names its option, which moves the VM, in a plan's file too."""
        with full_of_tmpfs(self):
            self.check(Case('full of tmpfs', what=('needs about 192 MiB of memory', 'hostb has 80.0 MiB free', 'tmpfs'),
                            next=('Make room there', '--accept memory')))
            done, report = self.plan()
            self.assertEqual(done.returncode, 3)
            rows = {row['check']: row for row in report['checks']}
            self.assertEqual((rows['memory']['result'], rows['memory']['can_accept'], rows['memory']['accepted']),
                             ('refuse', True, False))
            self.assertFalse(rows['vm']['can_accept'])
            page = self.here.run(['watari', 'plan', 'v', 'hostb'], check=False, timeout=120).stdout
            self.assertIn('--accept memory overrules this', page)
            done, report = self.plan('--accept', 'memory', '--max-downtime', '20s', '--link-address', 'hostb-mig', '--output', '/tmp/judged.plan')
            self.assertEqual((done.returncode, report['accepted']), (0, ['memory']), done.stderr)
            report, said = self.move('--plan', '/tmp/judged.plan')
            self.assertEqual((report['outcome'], report['accepted']), ('migrated', ['memory']))
            self.assertIn('(accepted: memory)', said)
        report, said = self.move('v', 'hosta', '--accept', 'memory', '--max-downtime', '20s', at='hostb')
        self.assertEqual(report['accepted'], [])
        self.assertIn('--accept memory was not needed', said)

    def test_findings(self):
        """Things of the source that the destination does not have, or that somebody has there."""
        self.here.run(['sh', '-c', 'mknod -m 666 /dev/onlyhere c 1 9'])
        for port in (5977, 5978):
            code = f'import socket, time; s = socket.create_server(("0.0.0.0", {port})); time.sleep(600)'
            taken = self.there.popen(['python3', '-c', code])
            self.addCleanup(taken.wait)
            self.addCleanup(taken.kill)
        for number, (name, devices, check, result, parts) in enumerate(FINDINGS):
            with self.subTest(name):
                vm = f'w{number}'
                self.here.write_text('/root/w.xml', ticker.domain(vm, log=f'/lab/shared/ticks-{vm}', devices=devices))
                self.here.virsh('create', '/root/w.xml')
                self.addCleanup(self.here.virsh, 'destroy', vm)
                done = self.here.run(['watari', 'plan', vm, 'hostb', '--json'], check=False, timeout=120)
                rows = {row['check']: row for row in json.loads(done.stdout)['checks']}
                self.assertEqual((rows[check]['result'], rows[check]['can_accept']), (result, True), rows[check])
                self.assertEqual(done.returncode, 3 if result == 'refuse' else 0, done.stderr)
                for part in parts:
                    self.assertIn(part, rows[check]['what'])

    def test_closed_directory_for_the_state(self):
        """Nobody but root may enter it: libvirt opens the state, and QEMU's own user need not come there."""
        self.here.run(['mkdir', '-m', '700', '/lab/shared/closed'])
        self.addCleanup(self.here.run, ['rm', '-rf', '/lab/shared/closed'])
        for node, other in ((self.here, 'hostb'), (self.there, 'hosta')):
            done = node.run(['watari', 'quick', 'v', other, '--yes', '--through', '/lab/shared/closed', '--json'], check=False, timeout=120)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertTrue(ticker.goes_on(self.lab, self.log))

    def test_balloon(self):
        """A VM that has been asked to give most of its memory up: what it holds counts, and its maximum is said."""
        text = ticker.domain('b', memory=TOO_MUCH_MIB, log='/lab/shared/ticks-b', backing="<memoryBacking><source type='file'/>"
                             "<access mode='shared'/></memoryBacking>")
        text = text.replace("<memballoon model='none'/>", "<memballoon model='virtio'/>")
        self.here.write_text('/root/b.xml', text.replace('<vcpu>', "<currentMemory unit='MiB'>64</currentMemory><vcpu>"))
        self.here.virsh('define', '/root/b.xml')
        self.addCleanup(self.here.virsh, 'undefine', 'b')
        self.here.virsh('start', 'b')
        self.addCleanup(self.here.virsh, 'destroy', 'b')
        done = self.here.run(['watari', 'plan', 'b', 'hostb', '--json', '--accept', 'memory'], check=False, timeout=120)
        row = {row['check']: row for row in json.loads(done.stdout)['checks']}['memory']
        self.assertEqual((row['result'], row['accepted']), ('warn', False), row)
        self.assertIn('(balloon)', row['what'])

    def test_no_such_judgement(self):
        """What keeps the VM safe cannot be overruled, and the reason is said before any host is asked."""
        for word, part in (('disk:vda', 'lose its disk'), ('uuid', 'two copies of one VM'), ('memor', 'there is no check “memor”')):
            done = self.watari('v', 'nosuchhost', '--accept', word)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(part, done.stderr)


if __name__ == '__main__':
    unittest.main()
