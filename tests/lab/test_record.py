#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What is written down of a move, and by what it is found again: a new move looks back at a broken one, `resolve` finds the
move between its machines, a journal that cannot be written costs no standstill, a mark that cannot be written no VM."""
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.dont_write_bytecode = True
from disklab import MIGRATED, REFUSED, DiskLab, disks, guest  # noqa: E402

TIME_LIMIT_S = 600
ATTENTION = 5
TOP = '/lab/shared/disks/top.qcow2'
JOURNAL = '/var/lib/watari/journal.sqlite'
SQL = """import json, sqlite3, sys
with sqlite3.connect(sys.argv[1], timeout=20) as journal:
    print(json.dumps(journal.execute(sys.argv[2], json.loads(sys.argv[3])).fetchall()))"""

# Takes the lock of the journal as soon as a move is about to begin, and keeps it for so many seconds.
LOCK = """import os, sqlite3, sys, time
print('ready')
end = time.monotonic() + 60
while not os.path.exists(sys.argv[1]) and time.monotonic() < end:
    time.sleep(0.1)
journal = sqlite3.connect(sys.argv[1], timeout=20, isolation_level=None)
def begins():
    try:
        return journal.execute("SELECT 1 FROM events JOIN moves ON moves.id = move"
                               " WHERE kind = 'before' AND outcome IS NULL").fetchone()
    except sqlite3.OperationalError:  # it is just being made
        return None
while not begins() and time.monotonic() < end:
    time.sleep(0.005)
journal.execute('BEGIN EXCLUSIVE')
print('locked')
time.sleep(float(sys.argv[2]))
journal.execute('COMMIT')"""


class Record(DiskLab):
    """One guest on a shared qcow2 image with an internal snapshot; the journal that counts is hosta's."""

    lab_name = 'record'

    @classmethod
    def prepare(cls):
        here = cls.lab.host('hosta')
        cls.start([guest.Disk(disks.make(here, TOP, format='qcow2'), 'qcow2')], persistent=True)

    def watari(self, *words, node=None, code=0):
        done = (node or self.here).run(['watari', *words], check=False, timeout=180)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def journal(self, sql, *values, node=None):
        """What the journal of a host answers."""
        done = (node or self.here).run(['/usr/bin/python3', '-c', SQL, JOURNAL, sql, json.dumps(values)])
        return [tuple(row) for row in json.loads(done.stdout)]

    def rows(self, node=None):
        return self.journal('SELECT id, outcome FROM moves ORDER BY rowid', node=node)

    def wait_for(self, condition, seconds=60):
        deadline = time.monotonic() + seconds
        while not (result := condition()):
            self.assertLess(time.monotonic(), deadline, 'it did not come to that')
            time.sleep(0.1)
        return result

    def slow(self, *options):
        """A move that will take a minute, once memory is under way; its process."""
        move = self.here.popen(['watari', 'migrate', self.vm, self.there.name, '--json', '--bandwidth', '1M', *options],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.reap, move)

        def is_under_way():
            self.assertIsNone(move.poll(), 'it has ended')
            moves = json.loads(self.watari('status', self.vm, '--json').stdout)['moves']
            live = moves[0]['live'] if moves else None
            return live and live['phase'] == 'perform' and live['bytes'] > 1 << 20
        self.wait_for(is_under_way)
        return move

    @staticmethod
    def reap(move):
        if move.poll() is None:
            move.kill()
        move.communicate()

    def kill(self, move):
        for pid, _ in self.here.processes(f'watari migrate {self.vm}'):
            os.kill(pid, signal.SIGKILL)
        move.communicate(timeout=60)
        self.wait_for(lambda: guest.where(self.lab, self.vm) == {self.here.name: 'running'})

    def snapshots(self, node):
        return node.virsh('snapshot-list', self.vm, '--name', check=False).stdout.split()

    def downtime_limit(self):
        return self.here.virsh('migrate-getmaxdowntime', self.vm).stdout.strip()

    def test_1_a_new_move_looks_back(self):
        """Beside a living one it is refused; after a killed one, too, until `resolve` has given back what that took."""
        self.here.virsh('snapshot-create-as', self.vm, 'before')
        limit = self.downtime_limit()
        move = self.slow()
        report = self.migrate()
        self.assertEqual(report['exit_code'], REFUSED)
        self.assertIn('being moved already', report['error']['what'])
        self.assertIn('watari watch', report['error']['next'])
        self.assertNotIn('offline', report['said'])
        self.kill(move)
        self.assertEqual(self.snapshots(self.here), [])  # the premise: they were taken off
        self.assertNotEqual(self.downtime_limit(), limit)
        report = self.migrate()
        self.assertEqual(report['exit_code'], REFUSED)
        self.assertIn('broken off', report['error']['what'])
        self.assertIn('watari resolve', report['error']['next'])
        self.assertIn('earlier-move', [finding['check'] for finding in report['checks'] if finding['result'] == 'refuse'])
        self.watari('resolve', self.vm)
        self.assertEqual(self.snapshots(self.here), ['before'])
        self.assertEqual(self.downtime_limit(), limit)
        self.assertNotIn(None, [outcome for _, outcome in self.rows()])
        report = self.migrate('--bandwidth', '30M')
        self.assertEqual(report['exit_code'], MIGRATED, report['said'])
        self.assertEqual(self.snapshots(self.there), ['before'])
        self.there.virsh('snapshot-delete', self.vm, 'before')
        self.assert_clean()

    def test_2_found_by_its_machines(self):
        """The journal at hosta has a move from there, killed; the guest has come back in between."""
        home, other = self.lab.hosts
        if self.here is not home:
            self.assertEqual(self.migrate('--bandwidth', '30M')['exit_code'], MIGRATED)
            self.setUp()
        move = self.slow()
        self.kill(move)
        (killed, _), = self.rows()[-1:]
        # the other way round the journal has nothing to say
        said = self.watari('resolve', self.vm, other.name, home.name, '--dry-run', '--json', code=0)
        self.assertIn('none from hostb to hosta', str(json.loads(said.stdout)['notes']))
        # under other names it is the same pair of machines
        said = self.watari('resolve', self.vm, 'hosta-svc', 'hostb-svc', '--dry-run', '--json')
        self.assertEqual(json.loads(said.stdout)['id'], killed)
        # two that are unfinished: which one?
        other_id = ('0' if killed[0] == 'f' else 'f') + killed[1:]
        self.journal('INSERT INTO moves SELECT ?, vm_name, vm_uuid, source, destination, options, phase,'
                     ' outcome, numbers, pid, started - 1000000, ended FROM moves WHERE id = ?', other_id, killed)
        said = self.watari('resolve', self.vm, code=REFUSED).stderr
        self.assertIn(killed, said)
        self.assertIn(other_id, said)
        self.watari('resolve', other_id)
        self.watari('resolve', self.vm)
        self.assertNotIn(None, [outcome for _, outcome in self.rows()])
        self.assert_clean()

    def name_another(self, node, uuid):
        """Its libvirtd says another UUID of its host from now on; until the test ends."""
        text = node.read_text('/etc/libvirt/libvirtd.conf')
        kept = ''.join(line + '\n' for line in text.splitlines() if 'host_uuid' not in line)
        node.write_text('/etc/libvirt/libvirtd.conf', kept + f'host_uuid = "{uuid}"\n')
        self.addCleanup(self.restart_libvirtd, node)
        self.addCleanup(node.write_text, '/etc/libvirt/libvirtd.conf', text)
        self.restart_libvirtd(node)

    def test_2_the_address_of_another_machine(self):
        """The destination's address was given to another machine meanwhile: what that says is not believed."""
        self.kill(self.slow())
        self.name_another(self.there, '5ba1a1ad-0000-4000-8000-00000000a002')
        said = self.watari('resolve', self.vm, code=ATTENTION).stderr
        self.assertIn('another machine', said)
        self.assertIn('5ba1a1ad', said)
        self.assertEqual(guest.where(self.lab, self.vm), {self.here.name: 'running'})
        self.assertEqual(self.rows()[-1][1], None)
        self.doCleanups()
        self.watari('resolve', self.vm)
        self.assert_clean()

    def test_3_two_machines_of_one_uuid(self):
        """libvirt takes them for one; the words do not."""
        uuid = self.here.virsh('capabilities').stdout.split('<uuid>')[1].split('</uuid>')[0]
        self.name_another(self.there, uuid)
        report = self.migrate()
        self.assertEqual(report['exit_code'], REFUSED)
        self.assertIn('two machines', report['error']['what'])
        self.assertIn('host_uuid', report['error']['next'])
        said = self.watari('doctor', self.here.name, self.there.name, code=REFUSED).stdout
        self.assertIn('host_uuid', said)
        report = json.loads(self.here.run(['watari', 'migrate', self.vm, 'hosta-svc', '--json'], check=False).stdout)
        self.assertIn('the same host', report['error']['what'])

    def test_4_a_locked_journal_costs_no_standstill(self):
        """Somebody else holds the journal from before the stop until long after it, and the link is cut: the VM is back
        within the limit all the same, and what was said meanwhile is written afterwards."""
        home = self.lab.hosts[0]
        if self.here is not home:
            self.assertEqual(self.migrate('--bandwidth', '30M')['exit_code'], MIGRATED)
            self.setUp()
        locker = self.here.popen(['/usr/bin/python3', '-uc', LOCK, JOURNAL, '13'], stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.reap, locker)
        self.addCleanup(self.lab.restore)
        self.assertEqual(locker.stdout.readline(), 'ready\n')
        move = self.here.popen(['watari', 'quick', self.vm, self.there.name, '--json', '--yes', '--max-stop', '10s',
                                '--link-address', self.there.address('migration')],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.reap, move)
        self.wait_for(lambda: select.select([locker.stdout], [], [], 0)[0] or move.poll() is not None)
        self.assertIsNone(move.poll(), move.poll() is not None and move.communicate())
        self.assertEqual(locker.stdout.readline(), 'locked\n')
        self.lab.cut('migration')
        stood_s = self.standstill()
        self.assertLess(stood_s, 12.5)
        self.lab.restore()
        out, said = move.communicate(timeout=120)
        report = json.loads(out)
        self.assertEqual(report['outcome'], 'failed', said)
        kinds = [kind for (kind,) in self.journal('SELECT kind FROM events WHERE move = ? ORDER BY id', report['id'])]
        self.assertLess(kinds.index('before'), kinds.index('still'))
        self.assertIn('mover-refused', kinds)
        self.assertEqual(self.rows()[-1], (report['id'], 'failed'))
        self.assert_clean()

    def standstill(self):
        """How long the guest is paused, the next time that it is."""
        def is_paused():
            return self.here.virsh('domstate', self.vm).stdout.strip() == 'paused'
        self.wait_for(is_paused)
        begin = time.monotonic()
        self.wait_for(lambda: not is_paused())
        return time.monotonic() - begin

    def restart_libvirtd(self, node):
        node.kill_libvirtd()
        node.start_libvirtd()


if __name__ == '__main__':
    unittest.main()
