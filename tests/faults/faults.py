# SPDX-License-Identifier: Apache-2.0
"""What happens to a move: kills, hangs, cut networks, spoiled journals, stepped clocks. Each strikes for real and proves it."""
import json
import os
import signal
import subprocess
import time

import journal
from answers import ATTENTION, DECIDED, MOVED, REFUSED, STOPPED
from proven import Premise, continue_if_there, fill_up, is_alive, kill_proven, stop_proven, wait_until
from witness import Witness, vcpu_ns

MIB = 1 << 20


KILLS = tuple(f'kill -9 of the {victim}' for victim in (
    'source mover', 'destination mover', 'conductor', 'source libvirtd', 'destination libvirtd', 'destination QEMU'))  # of the table


class Event:
    """`act` strikes and proves it; `undo` puts the lab right again, `after_s` later; `follow` is what people do when the
    conductor has ended."""

    after_s = 0.0
    holds_conductor = False  # a conductor that the moment has frozen stays so until undo()
    spoils_journal = False

    def prepare(self, scene, cell):
        """Before the move begins."""

    def act(self, scene):
        raise NotImplementedError

    def undo(self, scene):
        pass

    def follow(self, scene):
        pass

    def verify(self, scene, document):
        """What the closing report must say of it besides."""

    def tidy(self, scene):
        """At the end, also after a failure."""


# ---- processes end ----


class KillMover(Event):
    def __init__(self, side):
        self.side = side

    def act(self, scene):
        pids = scene.movers(self.side)
        if len(pids) != 1:
            raise Premise(f'{len(pids)} movers at the {self.side}')
        kill_proven(pids[0])


class KillConductor(Event):
    def act(self, scene):
        kill_proven(scene.conductor_pid())


class KillLibvirtd(Event):
    """As a crash; whoever watches over it (systemd, here the test) starts it again."""

    after_s = 2.0

    def __init__(self, side):
        self.side = side

    def act(self, scene):
        pid = scene.hosts[self.side].libvirtd_pid()
        if pid is None:
            raise Premise('libvirtd did not run')
        kill_proven(pid)

    def undo(self, scene):
        scene.hosts[self.side].start_libvirtd()


class KillQemu(Event):
    def __init__(self, side):
        self.side = side

    def act(self, scene):
        pids = scene.qemus(self.side)
        if len(pids) != 1:
            raise Premise(f'{len(pids)} QEMUs at the {self.side}')
        kill_proven(pids[0])


class SshdGone(Event):
    """sshd and all its sessions: the conductor loses its libvirt connection and its mover there."""

    after_s = 3.0

    def __init__(self, side):
        self.side = side

    def act(self, scene):
        node = scene.hosts[self.side]
        sessions = [pid for pid, line in node.processes('sshd') if line.startswith('sshd')]
        if len(sessions) < scene.least_sshd:
            raise Premise(f'only {len(sessions)} sshd processes: the conductor does not use them')
        node.stop_sshd()
        wait_until(lambda: not any(is_alive(pid) for pid in sessions), 5, 'sshd still runs')

    def undo(self, scene):
        scene.hosts[self.side].start_sshd()


class Signal(Event):
    def __init__(self, number):
        self.number = number

    def act(self, scene):
        scene.conductor_pid()
        scene.cli.send_signal(self.number)


# ---- the network ----


class Cut(Event):
    """A network drops everything for some seconds; nobody is told."""

    def __init__(self, network, seconds):
        self.network, self.after_s = network, float(seconds)

    def act(self, scene):
        for network in ('migration', 'management') if self.network == 'all' else (self.network,):
            scene.lab.cut(network)  # not that of the guests: the client keeps asking
        time.sleep(0.3)
        self.seen = scene.received('mig0')

    def undo(self, scene):
        now = scene.received('mig0')
        scene.lab.restore()
        if now != self.seen:
            raise Premise(f'{now - self.seen} bytes passed the cut')


class Corrupt(Event):
    """Bits flip on the wire, and TCP does not notice: the first layer that can is TLS."""

    after_s = 3.0

    def prepare(self, scene, cell):
        scene.lab.link(delay_ms=0.5)  # so that the packet device is in the way from the start

    def act(self, scene):
        scene.lab.link(corrupt_every=100)

    def undo(self, scene):
        spoiled = scene.lab.describe()['link']['corrupted']
        scene.lab.link(corrupt_every=0)
        if not spoiled:
            raise Premise('no segment was spoiled')
        scene.say(f'{spoiled} segments spoiled')

    def verify(self, scene, document):
        assert document['link']['reconnects'] > 0, 'no connection was given up, so nobody noticed'

    def tidy(self, scene):
        scene.lab.link(corrupt_every=0, delay_ms=0)


# ---- processes hang ----


class Hang(Event):
    """Stopped for some seconds, or, with None, until the move has ended; then continued."""

    def __init__(self, what, side, seconds, and_child=False):
        self.what, self.side, self.and_child = what, side, and_child
        self.seconds, self.after_s = seconds, seconds or 0.0

    def find(self, scene):
        if self.what == 'libvirtd':
            return [scene.hosts[self.side].libvirtd_pid()]
        if self.what == 'QEMU':
            return scene.qemus(self.side)
        movers = scene.movers(self.side)
        if len(movers) != 1:
            raise Premise(f'{len(movers)} movers at the {self.side}')
        children = [pid for pid, line in scene.hosts[self.side].processes('watari guard')]
        if self.and_child and len(children) != 1:
            raise Premise(f'{len(children)} watchdogs at the {self.side}')
        return [*children, *movers] if self.and_child else movers

    def act(self, scene):
        self.pids = self.find(scene)
        if not self.pids or None in self.pids:
            raise Premise(f'no {self.what} at the {self.side}')
        for pid in self.pids:
            stop_proven(pid)

    def undo(self, scene):
        if self.seconds is not None:
            continue_if_there(*self.pids)

    def follow(self, scene):
        if self.what != 'mover':  # a mover must be ended by its conductor
            continue_if_there(*self.pids)

    tidy = undo


class Away:
    """How long the guest is away from the source after something there was stopped."""

    def __init__(self, scene):
        self.scene, self.began, self.before = scene, time.monotonic(), self.used(scene)
        time.sleep(0.2)
        if self.used(scene) - self.before > Witness.BUSY_NS:
            raise Premise('the guest was not stopped')

    @staticmethod
    def used(scene):
        return sum(vcpu_ns(scene.hosts['source'], scene.vm).values())

    def end_within(self, seconds):
        try:
            wait_until(lambda: self.used(self.scene) - self.before > 20_000_000, 60, 'the guest does not come back')
        except Premise as never:
            raise AssertionError(str(never)) from None
        away = time.monotonic() - self.began
        self.scene.say(f'the guest is back after {away:.2f} s')
        assert away < seconds, f'the guest was away for {away:.2f} s'


BACK_S = 2.0  # beyond the ceiling, until the guest computes again


class HangMover(Hang):
    """It is never continued. Where the guest stands still it must compute again, at the source, within the ceiling and a bit;
    without the child that watches over the mover, too."""

    def __init__(self, side, and_child=False):
        super().__init__('mover', side, None, and_child)

    def act(self, scene):
        super().act(scene)
        self.stood = scene.moment.kind in (STOPPED, DECIDED)
        if self.stood:
            Away(scene).end_within(scene.ceiling_s + BACK_S)

    def verify(self, scene, document):
        if self.stood and self.side == 'source':
            what = document['error']['what']
            word = 'neither handed over' if self.and_child else 'hung'
            # where much is still to be sent that is said earlier (src/conductor/quick/quick_limit.h)
            assert word in what or 'at the rate so far' in what, what


class HangConductor(Event):
    """Stopped for some seconds, then it goes on as if nothing had been."""

    holds_conductor = True

    def __init__(self, seconds):
        self.after_s = float(seconds)

    def act(self, scene):
        self.pid = scene.conductor_pid()
        stop_proven(self.pid)

    def undo(self, scene):
        continue_if_there(self.pid, scene.cli.pid)


class HangConductorForGood(HangConductor):
    """Where the guest stands still and the gate is closed it must compute again at the source, for the mover there asks the
    conductor before it passes the gate. Else it is stopped until libvirt at both hosts has given it up; then it is killed."""

    CEILING_S = 5.0  # longer than the gate is held by the test
    CEILING = ('--max-downtime', f'{CEILING_S:.0f}s')
    GIVEN_UP_S = 40.0

    def __init__(self):
        super().__init__(self.GIVEN_UP_S)

    def act(self, scene):
        super().act(scene)
        self.after_s = self.GIVEN_UP_S
        if scene.moment.kind == STOPPED:
            Away(scene).end_within(self.CEILING_S + BACK_S)
            self.after_s = 0.0

    def undo(self, scene):
        os.kill(self.pid, signal.SIGKILL)
        super().undo(scene)


# ---- the journal ----


class SpoiledJournal(Event):
    """The conductor's journal lies on a file system of its own, which has room for little more."""

    SIZE = '2m'
    spoils_journal = True

    def prepare(self, scene, cell):
        self.node = scene.node_of(cell.place)
        self.node.run(['mkdir', '-p', journal.FOLDER])
        self.node.run(['mount', '-t', 'tmpfs', '-o', f'size={self.SIZE},mode=0700', 'tmpfs', journal.FOLDER])

    def tidy(self, scene):
        self.node.run(['umount', '-l', journal.FOLDER], check=False)


class JournalFull(SpoiledJournal):
    def act(self, scene):
        fill_up(f'{self.node.path(journal.FOLDER)}/filler', (65536, 4096, 1))


class JournalReadOnly(SpoiledJournal):
    """From the beginning: what is open for writing cannot be made read-only."""

    def prepare(self, scene, cell):
        super().prepare(scene, cell)
        self.node.run(['mount', '-o', 'remount,ro', journal.FOLDER])

    def act(self, scene):
        if not os.statvfs(self.node.path(journal.FOLDER)).f_flag & os.ST_RDONLY:
            raise Premise('it can be written to')


class JournalLocked(Event):
    """Another process is in the middle of writing. Who waits for longer than the journal is waited for (10 s) cannot close the
    move there; that must be said, and `watari resolve` does it later."""

    PATIENCE_S = 10

    def __init__(self, seconds):
        self.after_s = float(seconds)

    def act(self, scene):
        self.holder = scene.conductor.popen(['/usr/bin/python3', '-c', journal.HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            text=True)
        if self.holder.stdout.readline() != 'held\n':
            raise Premise('the journal cannot be locked')

    def undo(self, scene):
        self.holder.communicate()

    def verify(self, scene, document):
        if self.after_s < self.PATIENCE_S or not journal.open_moves(scene.conductor, scene.vm):
            return
        assert any('journal' in note for note in document['notes']), f'nobody is told of the journal: {document["notes"]}'
        scene.resolve()


# ---- clocks ----


class StepClock(Event):
    def __init__(self, side, seconds):
        self.side, self.seconds = side, seconds

    def act(self, scene):
        scene.hosts[self.side].set_clock(self.seconds)

    def tidy(self, scene):
        scene.hosts[self.side].set_clock(0)


# ---- people ----


class SecondMove(Event):
    """Somebody moves the same VM in the middle: from the same conductor, or from another one that knows nothing of the first."""

    def __init__(self, elsewhere=False):
        self.elsewhere = elsewhere

    def act(self, scene):
        node = scene.conductor
        if self.elsewhere:
            node = scene.lab.admin if node is not scene.lab.admin else scene.hosts['destination']
        scene.conductor_pid()
        code, document = scene.run_json(node, scene.words(node), 60)
        scene.say(f'the second move: exit code {code}, {document["error"] and document["error"]["what"]}')
        assert code not in (MOVED,), 'two moves of one VM at once'
        assert document['error']['what'] and document['error']['next'], document['error']


class AnewAfterCrash(KillConductor):
    """The conductor is dead, and instead of `watari resolve` somebody moves the VM again."""

    def follow(self, scene):
        words = scene.words(scene.conductor)
        code, document = scene.run_json(scene.conductor, words)
        scene.say(f'moved anew: exit code {code}, {document["error"] and document["error"]["what"]}')
        assert code in (MOVED, REFUSED, ATTENTION), document
        if code == MOVED:
            scene.moved_anew = True


class ResolveKilled(KillConductor):
    """And then `watari resolve` is, a few times, each a little later."""

    def follow(self, scene):
        for seconds in (0.5, 2.0, 4.0, 6.0):
            resolve = scene.conductor.popen(['watari', 'resolve', scene.vm, '--json'], stdin=subprocess.DEVNULL,
                                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(seconds)
            scene.say(f'resolve {"killed" if resolve.poll() is None else "ended"} after {seconds} s')
            resolve.kill()
            resolve.wait()


class ResolveTwice(KillConductor):
    """Two people run `watari resolve` at once."""

    def follow(self, scene):
        both = [scene.conductor.popen(['watari', 'resolve', scene.vm, '--json'], text=True, stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
        for resolve in both:
            out, said = resolve.communicate(timeout=150)
            assert resolve.returncode in (MOVED, REFUSED, ATTENTION), said
            document = json.loads(out)
            scene.say(f'one of two: {document["situation"]}, {resolve.returncode}')
