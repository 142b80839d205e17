#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`watari quick`: a VM that stands still while it moves, over the link and through a shared directory. However it ends, the
guest runs at exactly one host, with all it ever wrote; what fails leaves it at the source."""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import unittest
import xml.etree.ElementTree

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / 'lab'))
sys.dont_write_bytecode = True
from watari_lab import HostSpec, Lab, disks, guest  # noqa: E402

TIME_LIMIT_S = 1200
DRAWN_BY_ROW = ('ThroughADirectory',)
EVERY_RUN = ('OverTheLink.test_a_busy_guest', 'ThroughADirectory.test_1_there_and_back')
WATARI = os.environ.get('WATARI_TEST_BINARY', str(TOP / 'build-asan/src/cli/watari'))
SANITIZERS = {name: os.environ[name] for name in ('ASAN_OPTIONS', 'UBSAN_OPTIONS') if name in os.environ}
MIGRATED, WRONG_WORDS, REFUSED, FAILED, ATTENTION, CANCELLED = 0, 2, 3, 4, 5, 6
SHARED = '/lab/shared'
MIB = 1 << 20
SLOW = ('--bandwidth', '3M')  # its memory takes some ten seconds like that


def setUpModule():
    global lab
    lab = Lab(f'quick{os.getpid() % 10000}', [HostSpec('hosta'), HostSpec('hostb', unprivileged=True)], watari=WATARI,
              watari_env=SANITIZERS)
    unittest.addModuleCleanup(lab.down)
    lab.up()


class Quick(unittest.TestCase):
    """One guest serves all tests of a class; each moves it from where it is to the other host, or tries to."""

    vm = 'q1'
    persistent = shares = False

    @classmethod
    def setUpClass(cls):
        images = [guest.make_disk(lab, cls.vm)] if cls.shares else []
        guest.start(lab, 'hosta', cls.vm, memory_mib=128, disks=images, persistent=cls.persistent)
        cls.addClassCleanup(guest.stop, lab, None, cls.vm)

    def setUp(self):
        (name,) = guest.where(lab, self.vm)
        self.here = lab.host(name)
        (self.there,) = (node for node in lab.hosts if node is not self.here)
        guest.load(lab, self.vm, 'random', rate=200, set_mib=16)

    # ---- moving ----

    def words(self, *options):
        return ['watari', 'quick', self.vm, self.there.name, '--json', *options]

    def report(self, out, said, code):
        self.assertTrue(out, f'no report; it said: {said}')
        report = json.loads(out)
        report['said'] = said
        self.assertEqual(report['exit_code'], code)
        self.assertEqual(report['kind'], 'quick')
        return report

    def quick(self, *options):
        done = self.here.run(self.words(*options), check=False, timeout=180)
        return self.report(done.stdout, done.stderr, done.returncode)

    def begin(self, *options):
        self.moving = self.here.popen(self.words('--yes', *options), text=True, stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def ending(self):
        out, said = self.moving.communicate(timeout=120)
        return self.report(out, said, self.moving.returncode)

    def wait(self, condition, complaint, seconds=60):
        end = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), end, complaint)
            time.sleep(0.02)

    def state(self, node):
        return node.virsh('domstate', '--reason', self.vm, check=False).stdout.strip()

    def begin_and_stop(self, *options):
        """A slow move; it is in the middle of the stop now."""
        self.begin(*SLOW, *options)
        self.wait(lambda: self.state(self.here) == 'paused (migrating)', 'the VM does not stop')
        time.sleep(1)
        self.assertEqual(self.state(self.here), 'paused (migrating)', 'the stop was over at once')

    def mover(self, node):
        (pid,) = (pid for pid, line in node.processes(' mover') if line.split()[0].endswith('watari'))
        return pid

    def tell_journal(self, sql):
        if not self.here.exists('/var/lib/watari/journal.sqlite'):
            self.here.run(['watari', 'plan', self.vm, self.there.name])
        self.here.run(['/usr/bin/python3', '-c', 'import sqlite3, sys\nwith sqlite3.connect(sys.argv[1]) as journal:\n'
                       '    journal.execute(sys.argv[2])', '/var/lib/watari/journal.sqlite', sql])

    def break_journal(self, stage):
        """From here on, until the end of the test or the next one, this alone cannot be written."""
        self.tell_journal('DROP TRIGGER IF EXISTS broken')
        self.tell_journal(f"CREATE TRIGGER broken BEFORE INSERT ON events WHEN NEW.kind = '{stage}' "
                          "BEGIN SELECT RAISE(ABORT, 'no room on this disk'); END")
        self.addCleanup(self.tell_journal, 'DROP TRIGGER IF EXISTS broken')

    def assert_not_begun(self, report, code=FAILED):
        self.assertIn('could not be written down', report['error']['what'])
        self.assertIn('no room on this disk', report['error']['what'])
        self.assert_stayed(report, code)

    # ---- what must be true ----

    def assert_moved(self, report, state='running'):
        self.assertEqual((report['outcome'], report['exit_code']), ('migrated', MIGRATED), report['said'])
        self.assertEqual(guest.where(lab, self.vm), {self.there.name: state})
        self.assert_clean()

    def assert_stayed(self, report, code):
        self.assertEqual(report['exit_code'], code, report['said'])
        self.assert_at_source()

    def assert_at_source(self):
        self.assertEqual(guest.where(lab, self.vm), {self.here.name: 'running'})
        guest.check(lab, self.vm)
        self.assert_goes_on()
        self.assert_clean()

    def assert_goes_on(self):
        """It really runs: it changes its memory."""
        before = self.dirtied()
        self.wait(lambda: self.dirtied() > before, 'the guest stands still', 20)

    def dirtied(self):
        return guest.state(lab, self.vm)['memory']['dirtied_pages']

    def assert_clean(self):
        for node in lab.hosts:
            self.assertEqual([line for _, line in node.processes('watari mover')], [], node.name)
            self.assertFalse(node.exists('/run/watari'), node.name)
        self.assertEqual([name for name in os.listdir(self.here.path(SHARED)) if 'watari' in name], [])


class OverTheLink(Quick):
    def test_a_busy_guest(self):
        report = self.quick('--yes', '--verify-memory', 'full')
        self.assert_moved(report)
        self.assertEqual(report['proof']['memory'], 'full')
        self.assertTrue(report['proof']['stream'])
        # nothing is sent twice, whatever the guest did before
        self.assertLess(report['bytes']['pages_normal'] + report['bytes']['pages_zero'], 1.1 * (128 << 20) / 4096)
        guest.check(lab, self.vm)
        self.assert_goes_on()

    def test_the_stop_is_the_whole_copy_and_with_prewarm_it_is_not(self):
        times = self.quick('--yes', *SLOW)['times']
        self.assertGreater(times['downtime_ms'], times['migration_ms'] / 2)
        self.here, self.there = self.there, self.here
        report = self.quick('--yes', '--prewarm', *SLOW)
        self.assert_moved(report)
        self.assertLess(report['times']['downtime_ms'], report['times']['migration_ms'] / 2)
        self.assertGreaterEqual(report['bytes']['iterations'], 2)
        guest.check(lab, self.vm)

    def test_max_stop_that_is_known_to_be_missed(self):
        """Nothing is stopped for a limit that the forecast says will not do."""
        report = self.quick('--yes', '--bandwidth', '2M', '--max-stop', '4s')
        self.assertIn('would have to stand still for about', report['error']['what'])
        self.assertIn('--max-stop', report['error']['next'])
        self.assert_stayed(report, REFUSED)

    def begin_in_time(self, limit):
        """Over a link on which it fits into LIMIT, as far as can be foreseen; it is stopped now."""
        lab.link(rate='100mbit')
        self.addCleanup(lab.link, rate=None)
        self.begin('--max-stop', limit, '--link-address', self.there.address('migration'), '--connect-from', 'source')
        self.wait(lambda: self.state(self.here) == 'paused (migrating)', 'the VM does not stop')

    def test_max_stop_missed(self):
        self.begin_in_time('12s')
        lab.link(rate='2mbit')
        report = self.ending()
        self.assertIn('at the rate so far it would have taken about', report['error']['what'])
        self.assert_stayed(report, FAILED)

    def test_max_stop_is_kept_by_the_mover_when_nothing_moves(self):
        """Without progress there is no rate to reckon with, and the conductor says nothing."""
        self.begin_in_time('12s')
        lab.cut('migration')
        self.addCleanup(lab.restore)
        self.wait(lambda: self.state(self.here).startswith('running'), 'the VM does not go on', 30)
        lab.restore()
        self.assert_stayed(self.ending(), FAILED)

    def test_cancelled_during_the_stop(self):
        self.begin_and_stop()
        self.moving.send_signal(signal.SIGINT)
        self.assert_stayed(self.ending(), CANCELLED)

    def test_mover_killed_during_the_stop(self):
        for node in (self.here, self.there):
            self.begin_and_stop()
            os.kill(self.mover(node), signal.SIGKILL)
            self.assert_stayed(self.ending(), FAILED)

    # ---- with a first pass before ----

    def test_prewarm_and_the_stop_cannot_be_written_down(self):
        """Who found it stopped would take it for stopped by a person: so it is not stopped."""
        self.break_journal('suspending')
        self.assert_not_begun(self.quick('--yes', '--prewarm', *SLOW))

    def begin_prewarm(self, rate, *options):
        """The first pass is under way, and so much is dirtied in it that the stop after it lasts."""
        guest.load(lab, self.vm, 'random', rate=4000, set_mib=16)
        self.begin('--prewarm', '--bandwidth', rate, *options)
        self.wait(lambda: self.processed() > MIB, 'no memory moves')
        self.assertEqual(self.state(self.here).split()[0], 'running', 'the first pass is over')

    def processed(self):
        """Bytes of memory that QEMU has sent, as libvirt says."""
        stats = self.here.virsh('domjobinfo', '--rawstats', self.vm, check=False).stdout
        found = re.search(r'memory_processed:\s*(\d+)', stats)
        return int(found[1]) if found else 0

    def kill_incoming(self):
        """The QEMU at the destination that waits for the VM."""
        (pid,) = (pid for pid, line in self.there.processes('-incoming defer') if f'guest={self.vm}' in line)
        os.kill(pid, signal.SIGKILL)

    def assert_ran(self, report, code):
        """It was never stopped, so what the guest did meanwhile is there too."""
        self.assertIsNone(report['times']['downtime_ms'])
        self.assert_stayed(report, code)

    def test_prewarm_link_cut_in_the_first_pass(self):
        self.begin_prewarm('3M', '--link-timeout', '2s', '--link-address', self.there.address('migration'),
                           '--connect-from', 'source')
        lab.cut('migration')
        self.addCleanup(lab.restore)
        report = self.ending()
        lab.restore()
        self.assert_ran(report, FAILED)

    def test_prewarm_mover_killed_in_the_first_pass(self):
        self.begin_prewarm('3M')
        os.kill(self.mover(self.there), signal.SIGKILL)
        self.assert_ran(self.ending(), FAILED)

    def test_prewarm_destination_killed_during_the_stop(self):
        for kill in (lambda: os.kill(self.mover(self.there), signal.SIGKILL), self.kill_incoming):
            self.begin_prewarm('12M')
            self.wait(lambda: self.state(self.here) == 'paused (migrating)', 'the VM does not stop')
            kill()
            self.assert_stayed(self.ending(), FAILED)

    # ---- the conductor ----

    def test_conductor_killed_during_the_stop(self):
        self.begin_and_stop()
        os.kill(self.moving.inner_pid(), signal.SIGKILL)
        self.moving.communicate()
        done = self.here.run(['watari', 'resolve', self.vm], check=False, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_at_source()

    def test_paused_before(self):
        """It does not stop, so nobody is asked; and it is paused there."""
        self.here.virsh('suspend', self.vm)
        report = self.quick()
        self.assert_moved(report, 'paused')
        self.assertIsNone(report['times']['downtime_ms'])
        self.assertEqual(self.state(self.there), 'paused (user)')
        self.there.virsh('resume', self.vm)
        guest.check(lab, self.vm)

    def test_nobody_is_asked_without_a_terminal(self):
        report = self.quick()
        self.assert_stayed(report, REFUSED)
        self.assertIn('--yes', report['error']['next'])
        self.assertIn('stand still', report['error']['what'])
        self.assertTrue(self.state(self.here).startswith('running'))

    def ask(self, answer):
        command = ' '.join(self.words()[:4])
        return self.here.run(['script', '-qec', command, '/dev/null'], input=answer, check=False, timeout=60)

    def test_asked_at_a_terminal(self):
        done = self.ask('n\n')
        self.assertIn('Go on? [y/N]', done.stdout)
        self.assertEqual(done.returncode, REFUSED, done.stdout)
        self.assert_at_source()
        done = self.ask('y\n')
        self.assertEqual(done.returncode, MIGRATED, done.stdout)
        self.assertEqual(guest.where(lab, self.vm), {self.there.name: 'running'})
        guest.check(lab, self.vm)


    def test_resolve_from_elsewhere_leaves_it_alone(self):
        """Who does not own the move sees a stopped source and a copy that arrives; it is a healthy move all the same."""
        self.begin_and_stop()
        words = ['watari', 'resolve', self.vm, self.here.name, self.there.name, '--json']
        done = self.there.run(words, check=False, timeout=60)
        self.assertTrue(done.stdout, done.stderr)
        document = json.loads(done.stdout)
        self.assertEqual((done.returncode, document['situation'], document['acted']), (ATTENTION, 'moving', False), document)
        self.assert_moved(self.ending())
        guest.check(lab, self.vm)


class WithADisk(Quick):
    """A disk of the source alone, which the guest writes to: it is copied before the stop."""

    vm = 'q2'

    @classmethod
    def setUpClass(cls):
        image = disks.make(lab.host('hosta'), '/lab/images/q2.raw')
        words = f'watari.disk_set={disks.AREA_MIB} watari.disk_rate=40 watari.mem=16'
        guest.start(lab, 'hosta', cls.vm, memory_mib=96, disks=[guest.Disk(image)], words=words)
        cls.addClassCleanup(guest.stop, lab, None, cls.vm)

    def writes(self):
        return [disk['writes'] for disk in guest.state(lab, self.vm)['disks']]

    def test_copied_before_the_stop(self):
        (before,) = self.writes()
        report = self.quick('--yes', '--bandwidth', '8M', '--remove-source-disks')
        self.assert_moved(report)
        (after,) = self.writes()
        self.assertGreater(after, before, 'the guest did not write')
        self.assertEqual([disk['kind'] for disk in report['disks']], ['copied'])
        self.assertTrue(report['disks'][0]['proven'])
        guest.check(lab, self.vm)
        # what went over the link at that rate before the stop is the disk
        self.assertLess(report['times']['downtime_ms'], report['times']['migration_ms'] - 500)

    def test_through_a_directory_it_is_refused(self):
        report = self.quick('--yes', '--through', SHARED)
        self.assertEqual(report['exit_code'], REFUSED, report['said'])
        self.assertIn('vda', report['error']['what'])
        self.assert_at_source()


class ThroughADirectory(Quick):
    """The moment before the destination reads the saved state can be waited for: a remote shell of the test's own runs
    a script then."""

    vm = 'q3'
    persistent = shares = True

    def setUp(self):
        super().setUp()
        self.here.write_text('/usr/local/bin/hooked',
                             '#!/bin/sh\ncase "$*" in *--saved*check*) [ ! -e /tmp/hook ] || sh /tmp/hook ;; '
                             '*--saved*look*) [ ! -e /tmp/hook-look ] || sh /tmp/hook-look ;; esac\n'
                             'exec ssh "$@"\n', 0o755)
        self.addCleanup(self.here.run, ['rm', '-f', '/tmp/hook', '/tmp/hook-look', '/tmp/looks', '/tmp/reached'])
        self.here.virsh('autostart', self.vm)

    def through(self, *options):
        return self.quick('--yes', '--through', SHARED, '--rsh', 'hooked', *options)

    def hook(self, script):
        self.here.write_text('/tmp/hook', f'{script}\ntouch /tmp/reached\n')

    def defined(self):
        return [node.name for node in lab.hosts
                if self.vm in node.virsh('list', '--all', '--persistent', '--name').stdout.split()]

    def starts_with(self):
        return [node.name for node in lab.hosts
                if self.vm in node.virsh('list', '--all', '--autostart', '--name').stdout.split()]

    def emulator(self):
        document = xml.etree.ElementTree.fromstring(self.here.virsh('dumpxml', self.vm).stdout)
        return document.find('devices/emulator').text

    def replace_emulator(self, script):
        """At the destination alone, when the checks are over, and until the end of the test."""
        path = self.emulator()
        self.there.run(['cp', path, '/tmp/real-qemu'])
        self.there.write_text('/tmp/other-qemu', script, 0o755)
        self.hook(f'ssh {self.there.name} mount --bind /tmp/other-qemu {path}')
        self.addCleanup(self.there.run, ['umount', path], check=False)
        return path

    def test_1_there_and_back(self):
        self.hook(f'stat -c "%n %a %s" {SHARED}/watari-* >/tmp/seen')
        report = self.through()
        self.assert_moved(report)
        seen = [line.split() for line in self.here.read_text('/tmp/seen').splitlines()]
        self.assertEqual({(path.rsplit('.', 1)[1], mode) for path, mode, _ in seen}, {('state', '600'), ('digest', '600')})
        self.assertIn(str(report['state']['size']), [size for _, _, size in seen])
        self.assertEqual(len(report['state']['sha256']), 64)
        self.assertEqual(self.defined(), [self.there.name])
        self.assertEqual(self.starts_with(), [self.there.name])
        guest.check(lab, self.vm)
        self.here, self.there = self.there, self.here
        report = self.quick('--yes', '--through', SHARED)
        self.assert_moved(report)
        self.assertGreater(report['times']['downtime_ms'], 0)
        self.assertEqual(self.defined(), [self.there.name])
        guest.check(lab, self.vm)
        self.assert_goes_on()

    def test_2_a_damaged_state_is_found_before_anything_is_given_up(self):
        """The stopped VM goes on, so its memory is right whatever happened to the file; also where the digest that lies
        beside it was replaced with it."""
        damage = (f'f=$(ls {SHARED}/watari-*.state); printf X | dd of=$f bs=1 seek=30000000 conv=notrunc 2>/dev/null')
        forge = ('s=$(sha256sum $f | cut -d" " -f1); '
                 r'sed -i -E "s/(\"sha256\" *: *\")[0-9a-f]*/\1$s/" $f.digest')
        for script, word in ((damage, 'digest'), (f'{damage}; {forge}', 'replaced')):
            with self.subTest(word):
                self.here.run(['rm', '-f', '/tmp/reached'])
                self.hook(script)
                report = self.through()
                self.assertTrue(self.here.exists('/tmp/reached'))
                self.assertIn(word, report['error']['what'])
                self.assert_stayed(report, FAILED)
                self.assertEqual(self.defined(), [self.here.name])

    def test_8_a_stage_cannot_be_written_down(self):
        """What it names is not done; the VM goes on at the source, from its memory, or from its state when that is all."""
        for stage, code in (('through-stopped', REFUSED), ('through-digest', FAILED), ('through-left', FAILED),
                            ('through-resumed', FAILED)):
            with self.subTest(stage):
                self.break_journal(stage)
                self.assert_not_begun(self.through(), code)
                self.assertEqual(self.defined(), [self.here.name])
                self.assertEqual(self.state(self.there), '')

    def test_8_another_file_after_the_check(self):
        """The same bytes, but not the file that was checked: found while the copy at the source still stands, and also when
        it is ended; that one is restored from what the source finds to be whole."""
        for look in (1, 2):
            with self.subTest(look=look):
                self.here.run(['rm', '-f', '/tmp/looks'])
                self.here.write_text('/tmp/hook-look',
                                     f'echo >>/tmp/looks; [ $(wc -l </tmp/looks) = {look} ] || exit 0\n'
                                     f'f=$(ls {SHARED}/watari-*.state); cp -p $f $f.other; mv $f.other $f\n')
                report = self.through()
                self.assertEqual(len(self.here.read_text('/tmp/looks').splitlines()), look)
                self.assertIn('not the file any more', report['error']['what'])
                self.assert_stayed(report, FAILED)
                self.assertEqual(self.defined(), [self.here.name])
                self.assertEqual(self.state(self.there), '')

    def test_3_the_destination_cannot_restore_it(self):
        """The copy at the source is ended by then: the VM goes on there from its saved state."""
        self.replace_emulator('#!/bin/sh\ncase "$*" in *-incoming*) exit 1 ;; esac\nexec /tmp/real-qemu "$@"\n')
        report = self.through()
        self.assertTrue(self.here.exists('/tmp/reached'))
        self.assertIn('could not restore', report['error']['what'])
        self.assertIn('from its saved state', report['said'])
        self.assert_stayed(report, FAILED)
        self.assertEqual(self.defined(), [self.here.name])
        self.assertEqual(self.state(self.there), '')

    def test_4_paused_before(self):
        self.here.virsh('suspend', self.vm)
        report = self.quick('--through', SHARED)
        self.assert_moved(report, 'paused')
        self.there.virsh('resume', self.vm)
        guest.check(lab, self.vm)

    def test_5_cancelled(self):
        self.hook('touch /tmp/reached; sleep 3')
        self.begin('--through', SHARED, '--rsh', 'hooked')
        self.wait(lambda: self.here.exists('/tmp/reached'), 'the state is never read')
        self.assertEqual(self.state(self.here), 'paused (user)')
        self.moving.send_signal(signal.SIGINT)
        self.assert_stayed(self.ending(), CANCELLED)

    def kill_conductor(self):
        os.kill(self.moving.inner_pid(), signal.SIGKILL)
        self.moving.communicate()

    def resolve(self, code=MIGRATED):
        done = self.here.run(['watari', 'resolve', self.vm], check=False, timeout=150)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stderr

    def lose_destination(self):
        """Its sshd and all sessions; until the end of the test."""
        self.there.stop_sshd()
        self.addCleanup(self.there.start_sshd)

    def begin_until_read(self, seconds):
        """The stop was ours, the source has the whole VM, and the destination is just asked to read the state."""
        self.hook(f'touch /tmp/reached; sleep {seconds}')
        self.begin('--through', SHARED, '--rsh', 'hooked')
        self.wait(lambda: self.here.exists('/tmp/reached'), 'the state is never read')
        self.assertEqual(self.state(self.here), 'paused (user)')

    def test_6_conductor_killed_while_the_source_has_the_vm(self):
        """The stop was ours: resolve knows that from the journal. The destination was not asked for anything yet, so
        the VM goes on at once without it."""
        self.begin_until_read(5)
        self.kill_conductor()
        self.lose_destination()
        began = time.monotonic()
        self.resolve()
        self.assertLess(time.monotonic() - began, 40, 'it waited for a host that it does not need')
        self.assert_at_source()
        self.assertEqual(self.states(), 0)

    def test_a_destination_lost_while_the_source_has_the_vm(self):
        self.begin_until_read(3)
        self.lose_destination()
        self.assert_stayed(self.ending(), FAILED)

    def kill_while_only_the_file_has_it(self):
        path = self.replace_emulator('#!/bin/sh\ncase "$*" in *-incoming*) touch /tmp/starts; sleep 5 ;; esac\n'
                                     'exec /tmp/real-qemu "$@"\n')
        self.addCleanup(self.there.run, ['rm', '-f', '/tmp/starts'])
        self.begin('--through', SHARED, '--rsh', 'hooked')
        self.wait(lambda: self.there.exists('/tmp/starts') or self.moving.poll() is not None, f'{path} is not started')
        self.assertEqual(self.state(self.here), 'shut off (destroyed)', 'the moment is over')
        self.kill_conductor()

    def test_7_conductor_killed_while_only_the_file_has_it(self):
        """What was restored has not run, and goes on there."""
        self.kill_while_only_the_file_has_it()
        self.resolve()
        self.assertEqual(guest.where(lab, self.vm), {self.there.name: 'running'})
        self.assertEqual(self.defined(), [self.there.name])
        self.assertEqual(self.starts_with(), [self.there.name])
        guest.check(lab, self.vm)
        self.assert_goes_on()
        self.assert_clean()

    def states(self):
        return sum(name.endswith('.state') for name in self.here.run(['ls', SHARED]).stdout.split())

    def test_z_what_ran_is_never_restored(self):
        """resolve lets the VM go on at the destination and then cannot finish. The VM runs, ends, and the state that it
        left lies there still: nobody goes on from that."""
        self.kill_while_only_the_file_has_it()
        definition = f'/etc/libvirt/qemu/{self.vm}.xml'
        self.here.run(['mount', '--bind', definition, definition])  # so libvirt cannot remove it
        self.addCleanup(self.here.run, ['umount', definition], check=False)
        self.resolve(ATTENTION)
        self.assertEqual(guest.where(lab, self.vm), {self.there.name: 'running'})
        self.assertEqual(self.states(), 1, 'the premise: the state is still there')
        self.there.virsh('destroy', self.vm)
        said = self.resolve(ATTENTION)
        self.assertIn('newer than the saved state', said)
        self.assertEqual(guest.where(lab, self.vm), {})
        self.here.run(['umount', definition])
        self.there.virsh('start', self.vm)
        self.resolve()
        self.assertEqual(self.defined(), [self.there.name])
        self.assertEqual(self.states(), 0)
        self.assertIn('"migrated"', self.here.run(['watari', 'status', self.vm, '--json']).stdout, 'the move is not over')

    def test_9_max_stop_missed(self):
        """While the stopped copy is there, giving up costs nothing."""
        self.hook('sleep 9')
        report = self.through('--max-stop', '8s')
        self.assertTrue(self.here.exists('/tmp/reached'), 'it was given up before the state was read')
        self.assertIn('longer than', report['error']['what'])
        self.assert_stayed(report, FAILED)

    def test_8_refused(self):
        """Before anything is stopped."""
        for directory, word in (('/lab/images', 'does not see'), ('/lab/nowhere', 'no directory'), ('relative', 'absolute')):
            report = self.quick('--yes', '--through', directory)
            self.assertIn(report['exit_code'], (REFUSED, WRONG_WORDS), report['said'])
            self.assertIn(word, report['error']['what'])
        for mode, owner, word in (('0777', 'root', 'others may write'), ('0755', 'nobody', 'belongs to user')):
            open_to_others = f'{SHARED}/open'
            self.here.run(['install', '-d', '-m', mode, '-o', owner, open_to_others])
            report = self.quick('--yes', '--through', open_to_others)
            self.assertEqual(report['exit_code'], REFUSED, report['said'])
            self.assertIn(word, report['error']['what'])
        report = self.quick('--yes', '--through', SHARED, '--prewarm')
        self.assertEqual(report['exit_code'], WRONG_WORDS)
        self.assert_at_source()


del Quick  # or its (empty) self would be run too

if __name__ == '__main__':
    unittest.main()
