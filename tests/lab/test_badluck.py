# SPDX-License-Identifier: Apache-2.0
"""Bad luck in the middle of a move: each kind once at its most dangerous moment, the movers' deaths at all three. The
whole table is that of the fault matrix, tests/faults/table.py."""
import glob
import json
import os
import re
import signal
import subprocess
import time
import unittest

from badluck import BadLuck, add_tests
from answers import ATTENTION, KILLED
from judge import assert_clean
from moments import BEHIND
from proven import wait_until
from scene import VM
from witness import Witness
from watari_lab import guest

TIME_LIMIT_S = 900
DRAWN_BY_ROW = ('Chosen',)

ROWS = [
    ('early', 'kill -9 of the source mover'),
    ('mid pre-copy', 'kill -9 of the source mover'),
    ('during switchover', 'kill -9 of the source mover'),
    ('early', 'kill -9 of the destination mover'),
    ('mid pre-copy', 'kill -9 of the destination mover'),
    ('during switchover', 'kill -9 of the destination mover'),
    ('during switchover', 'kill -9 of the conductor', 'source'),
    ('mid pre-copy', 'kill -9 of the conductor', 'destination'),
    ('behind the gate', 'kill -9 of the conductor'),
    ('during switchover', 'kill -9 of the source libvirtd'),
    ('during switchover', 'kill -9 of the destination libvirtd'),
    ('during switchover', 'sshd gone at the source'),
    ('during switchover', 'sshd gone at the destination'),
    ('during switchover', 'link cut for 5 s'),
    ('mid pre-copy', 'link cut for longer than the limit'),
    ('mid pre-copy', 'all networks cut for 45 s'),
    ('mid pre-copy', 'corrupted bytes'),
    ('during switchover', 'SIGINT'),
    ('during switchover', 'SIGHUP'),
]


class Chosen(BadLuck):
    def test_00_premise_the_witness_sees_a_double_run(self):
        """Two copies that really run, made by hand: he must see them, or his word in the other tests is worth nothing."""
        lab = self.scene.lab
        text = guest.small_xml(lab, 'hostb', VM, memory_mib=128, pattern='random', rate=150, set_mib=8)
        text = re.sub('<interface.*</interface>', '', text, flags=re.S)  # the true one keeps its address
        lab.host('hostb').write_text('/tmp/double.xml', text)
        witness = Witness(lab.hosts, VM)
        try:
            time.sleep(2)
            self.assertEqual(witness.double, 0)
            lab.host('hostb').virsh('create', '/tmp/double.xml')
            wait_until(lambda: witness.double, 30, 'two running copies, and the witness saw nothing')
        finally:
            witness.end()
            lab.host('hostb').virsh('destroy', VM, check=False)

    def run_there_unknown(self, *options, paused=False):
        """The CLI is killed after Finish was sent and carried out, before it heard the answer."""
        scene = self.scene
        scene.take_sides()
        if paused:
            scene.hosts['source'].virsh('suspend', VM)
        scene.launch(BEHIND, options=options)
        scene.wait_moment(BEHIND)
        libvirtd = scene.hosts['destination'].libvirtd_pid()
        os.kill(libvirtd, signal.SIGSTOP)
        try:
            wait_until(lambda: self.marks() == ['s'], 30, f'Finish was not sent: {self.marks()}')
            scene.cli.send_signal(signal.SIGSTOP)
        finally:
            os.kill(libvirtd, signal.SIGCONT)
        wait_until(lambda: self.state('destination') == ('paused (user)' if paused else 'running (migrated)'), 30,
                   'Finish was not carried out')
        os.kill(scene.cli.inner_pid(), signal.SIGKILL)
        os.kill(scene.cli.pid, signal.SIGCONT)  # nsenter stops with its child
        self.assertEqual(scene.wait_cli(), KILLED)

    def state(self, side):
        asked = self.scene.hosts[side].virsh('domstate', VM, '--reason', check=False)
        return asked.stdout.strip() if asked.returncode == 0 else 'absent'

    def marks(self):
        """What the conductor has written down of Finish."""
        paths = [path for place in ('/run/watari', '/var/lib/watari')
                 for path in glob.glob(self.scene.conductor.path(f'{place}/*.finish'))]
        return [open(path, encoding='utf-8').read().split()[1] for path in paths]

    def assert_asks(self):
        code, document = self.scene.ask_resolve()
        self.assertEqual((code, document['situation'], document['acted']), (ATTENTION, 'may-have-run', False))
        for option in ('--ran', '--never-ran'):
            self.assertIn(option, document['error']['next'])
        self.assertEqual(self.state('source'), 'paused (migrating)')

    def test_98_ended_at_the_destination_where_it_is_defined(self):
        """A VM that ran at the destination and ended there must not go on at the source with what it was before, unless a
        person says that it never ran."""
        self.run_there_unknown('--persistent')
        there = self.scene.hosts['destination']
        self.addCleanup(there.virsh, 'undefine', VM, check=False)
        there.virsh('destroy', VM)
        self.assertTrue(self.state('destination').startswith('shut off'))
        self.assert_asks()
        code, document = self.scene.ask_resolve('--never-ran')
        self.assertEqual((code, document['situation']), (0, 'source-stopped'))
        self.assertEqual(self.state('source').split()[0], 'running')
        self.assertEqual(self.marks(), [])

    def test_97_paused_before_and_the_answer_is_lost(self):
        """Both copies stand still, and that is neither “nowhere” nor a state that has changed for ever."""
        self.run_there_unknown(paused=True)
        source = self.state('source')
        code, document = self.scene.ask_resolve()
        print(f'# source {source}, then {self.state("source")}: {document["situation"]}', flush=True)
        if source == 'paused (user)':
            self.assertEqual((code, document['situation'], document['acted']), (ATTENTION, 'both-paused', False))
            self.scene.hosts['source'].virsh('destroy', VM)
            code, document = self.scene.ask_resolve()
            self.assertEqual((code, document['situation']), (0, 'migrated'))
        else:
            self.assertEqual((code, document['situation']), (0, 'handed-over'))
        self.assertEqual(guest.where(self.scene.lab, VM), {self.scene.hosts['destination'].name: 'paused'})
        self.scene.hosts['destination'].virsh('resume', VM)
        self.assertEqual(self.marks(), [])

    def test_96_the_destination_is_gone_and_was_never_told(self):
        """The CLI is killed before Finish, and the destination cannot be asked: the source need not wait for it."""
        scene = self.scene
        scene.take_sides()
        scene.launch(BEHIND)
        scene.wait_moment(BEHIND)
        os.kill(scene.cli.inner_pid(), signal.SIGKILL)
        self.assertEqual(scene.wait_cli(), KILLED)
        scene.hosts['destination'].stop_sshd()
        try:
            wait_until(lambda: self.state('source') == 'paused (migrating)', 30, 'the hand-over was not decided')
            self.assertEqual(self.marks(), ['n'])
            began = time.monotonic()
            resolving = scene.conductor.popen(['watari', 'resolve', VM, '--json'], text=True, stdin=subprocess.DEVNULL,
                                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            wait_until(lambda: self.state('source').startswith('running'), 60, 'the VM does not go on')
            print(f'# it goes on after {time.monotonic() - began:.1f} s', flush=True)
            self.assertLess(time.monotonic() - began, 30)
        finally:
            scene.hosts['destination'].start_sshd()
        out, said = resolving.communicate(timeout=150)
        self.assertEqual((resolving.returncode, json.loads(out)['acted']), (0, True), said)
        self.assertEqual(list(guest.where(scene.lab, VM)), [scene.hosts['source'].name])
        self.assertEqual(self.marks(), [])
        scene.assert_intact()
        assert_clean(scene, 'source')

    def test_99_ended_at_the_destination_where_nothing_is_left(self):
        """The same without a definition; and a person says that it ran."""
        self.run_there_unknown()
        self.scene.hosts['destination'].virsh('destroy', VM)
        self.assertEqual(self.state('destination'), 'absent')
        self.assert_asks()
        code, document = self.scene.ask_resolve('--ran')
        self.assertEqual((code, document['situation']), (0, 'ran-there'))
        self.assertEqual(self.state('source'), 'absent')
        self.assertEqual(self.marks(), [])
        self.scene.start_guest()


add_tests(Chosen, ROWS)
del BadLuck  # or its (empty) self would be run too

if __name__ == '__main__':
    unittest.main()
