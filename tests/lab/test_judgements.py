# SPDX-License-Identifier: Apache-2.0
"""Refusals that are judgements: they are right about the hosts as they are, and who knows better overrules them by name."""
import contextlib
import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from refusals import LINK, TOP, UUID, Case, RefusalLab, ticker  # noqa: E402,F401

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


class Judgements(RefusalLab):
    def plan(self, *words):
        done = self.here.run(['watari', 'plan', 'v', 'hostb', '--json', *words], check=False, timeout=120)
        return done, json.loads(done.stdout)

    def move(self, *words, at='hosta', code=0):
        done = self.watari(*words, '--json', '--max-downtime', '20s', '--link-address',
                           'hostb-mig' if at == 'hosta' else 'hosta-mig', at=at)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertTrue(ticker.goes_on(self.lab, self.log))
        return json.loads(done.stdout), done.stderr

    def test_memory(self):
        """Page cache that is tmpfs is not free; the refusal names its option, which moves the VM, in a plan's file too."""
        with full_of_tmpfs(self):
            self.check(Case('full of tmpfs', what=('needs about 192.0 MiB of memory', 'hostb has 80.0 MiB free', 'tmpfs'),
                            next=('Make room there', '--accept memory')))
            done, report = self.plan()
            self.assertEqual(done.returncode, 3)
            rows = {row['check']: row for row in report['checks']}
            self.assertEqual((rows['memory']['result'], rows['memory']['can_accept'], rows['memory']['accepted']),
                             ('refuse', True, False))
            self.assertFalse(rows['vm']['can_accept'])
            page = self.here.run(['watari', 'plan', 'v', 'hostb'], check=False, timeout=120).stdout
            self.assertIn('--accept memory overrules this', page)
            done, report = self.plan('--accept', 'memory', '--max-downtime', '20s', '--output', '/tmp/judged.plan')
            self.assertEqual((done.returncode, report['accepted']), (0, ['memory']), done.stderr)
            report, said = self.move('--plan', '/tmp/judged.plan')
            self.assertEqual((report['outcome'], report['accepted']), ('migrated', ['memory']))
            self.assertIn('(accepted: memory)', said)
        report, said = self.move('v', 'hosta', '--accept', 'memory', at='hostb')
        self.assertEqual(report['accepted'], [])
        self.assertIn('--accept memory was not needed', said)

    def test_no_such_judgement(self):
        """What keeps the VM safe cannot be overruled, and the reason is said before any host is asked."""
        for word, part in (('disk:vda', 'lose its disk'), ('uuid', 'two copies of one VM'), ('memor', 'there is no check “memor”')):
            done = self.watari('v', 'nosuchhost', '--accept', word)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(part, done.stderr)


if __name__ == '__main__':
    unittest.main()
