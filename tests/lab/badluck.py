# SPDX-License-Identifier: Apache-2.0
"""Bad luck, as a table: what happens in the middle of a move, at which moment, and how it may end.

One guest whose memory checks itself is moved under load between two real hosts; in the middle of it something is killed or
cut. However that goes, the guest runs on exactly one host at the end, with all it ever wrote, and neither host keeps
anything of the move. That it never runs twice in between is seen by a witness who asks no libvirt: he watches how much
processor time the guest's vCPUs use on each host.

A row is run by Scene.run(); test_badluck.py has the rows that run always, long_badluck.py all of them.
"""
import dataclasses
import glob
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / 'lab'))

from watari_lab import HostSpec, Lab, client, guest, netio  # noqa: E402

WATARI = os.environ.get('WATARI', str(TOP / 'build-asan/src/cli/watari'))
SANITIZERS = {name: os.environ[name] for name in ('ASAN_OPTIONS', 'UBSAN_OPTIONS') if name in os.environ}
VM = 'luck'
MIB = 1 << 20
MOVED, REFUSED, FAILED, ATTENTION, CANCELLED, KILLED = 0, 3, 4, 5, 6, 137
ENDS = {MOVED: 'destination', REFUSED: 'source', FAILED: 'source', CANCELLED: 'source'}  # what a code promises
PATIENCE_S = 150  # for anything that must end by itself


class Premise(AssertionError):
    """The scenario did not happen, so it proves nothing."""


# ---- what happens ----


class Event:
    """Something that is done to the move. `act` does it and proves that it is done; `undo` puts the lab right again,
    `after_s` later."""

    after_s = 0.0

    def act(self, scene):
        raise NotImplementedError

    def undo(self, scene):
        pass

    def verify(self, report):
        """What the closing report must say of it besides."""


class KillMover(Event):
    def __init__(self, side):
        self.side = side

    def act(self, scene):
        pids = scene.movers(self.side)
        if len(pids) != 1:
            raise Premise(f'{len(pids)} movers at the {self.side}')
        kill_proven(pids[0])


class KillCli(Event):
    def act(self, scene):
        pid = scene.cli.inner_pid()
        if pid is None:
            raise Premise('the CLI had ended')
        kill_proven(pid)


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


class SshdGone(Event):
    """sshd and all its sessions: the conductor loses its libvirt connection and its mover there."""

    after_s = 3.0

    def __init__(self, side):
        self.side = side

    def act(self, scene):
        node = scene.hosts[self.side]
        sessions = [pid for pid, line in node.processes('sshd') if line.startswith('sshd')]
        if len(sessions) < 3:
            raise Premise(f'only {len(sessions)} sshd processes: the conductor does not use them')
        node.stop_sshd()
        wait_until(lambda: not any(is_alive(pid) for pid in sessions), 5, 'sshd still runs')

    def undo(self, scene):
        scene.hosts[self.side].start_sshd()


class Cut(Event):
    """A network drops everything for some seconds; nobody is told."""

    def __init__(self, network, seconds):
        self.network, self.after_s = network, float(seconds)

    def act(self, scene):
        if self.network == 'all':
            for network in ('migration', 'management'):  # the client keeps asking the guest
                scene.lab.cut(network)
        else:
            scene.lab.cut(self.network)
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

    def act(self, scene):
        self.before = scene.lab.describe()['link'].get('corrupted', 0)
        scene.lab.link(corrupt_every=100)

    def undo(self, scene):
        spoiled = scene.lab.describe()['link']['corrupted']
        scene.lab.link(corrupt_every=0)
        if not spoiled:
            raise Premise('no segment was spoiled')
        scene.say(f'{spoiled} segments spoiled')

    def verify(self, report):
        assert report['link']['reconnects'] > 0, 'no connection was given up, so nobody noticed'


class Signal(Event):
    def __init__(self, number):
        self.number = number

    def act(self, scene):
        if scene.cli.inner_pid() is None:
            raise Premise('the CLI had ended')
        scene.cli.send_signal(self.number)


def is_alive(pid):
    try:
        with open(f'/proc/{pid}/stat', encoding='utf-8') as file:
            return file.read().rsplit(')', 1)[1].split()[0] not in 'ZX'
    except OSError:
        return False


def kill_proven(pid):
    if not is_alive(pid):
        raise Premise(f'process {pid} was dead before')
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid), 5, f'process {pid} lives on')


def wait_until(condition, seconds, complaint):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Premise(complaint)
        time.sleep(0.01)


# ---- the table's words ----

EVENTS = {
    'kill -9 of the source mover': KillMover('source'),
    'kill -9 of the destination mover': KillMover('destination'),
    'kill -9 of the CLI': KillCli(),
    'kill -9 of the source libvirtd': KillLibvirtd('source'),
    'kill -9 of the destination libvirtd': KillLibvirtd('destination'),
    'sshd gone at the source': SshdGone('source'),
    'sshd gone at the destination': SshdGone('destination'),
    'link cut for 5 s': Cut('migration', 5),
    'link cut for 10 s': Cut('migration', 10),
    'link cut for longer than the limit': Cut('migration', 9),
    'all networks cut for 45 s': Cut('all', 45),
    'corrupted bytes': Corrupt(),
    'SIGINT': Signal(signal.SIGINT),
    'SIGTERM': Signal(signal.SIGTERM),
    'SIGHUP': Signal(signal.SIGHUP),
}

EARLY = 'early'  # both movers are set up, QEMU is not there yet
MID = 'mid pre-copy'  # some MiB have passed
SWITCHOVER = 'during switchover'  # everything is at the destination, the gate is still closed
DECIDED = 'behind the gate'  # the hand-over is decided, the source QEMU does not know it yet
MOMENTS = (EARLY, MID, SWITCHOVER, DECIDED)
FAULTS = {SWITCHOVER: 'gate', DECIDED: 'release'}  # test builds stay there for 3 s
PHASES = {SWITCHOVER: 'loaded', DECIDED: 'released'}


@dataclasses.dataclass
class Row:
    """codes: what `watari migrate` may answer; ends: where the guest may run then. With ATTENTION (or a killed CLI) it is
    what `watari resolve` must bring about. conductor: where the CLI runs."""

    event: str
    moment: str
    codes: tuple
    ends: tuple = ('source',)
    conductor: str = 'admin'
    options: tuple = ()
    probe: bool = False  # a client asks all the time; its longest gap is printed

    @property
    def name(self):
        where = '' if self.conductor == 'admin' else f', CLI at the {self.conductor}'
        return f'{self.event}, {self.moment}{where}'


# ---- the witness ----


class Witness(threading.Thread):
    """Sees on how many hosts the guest computes. A hand-over may fall into one window, so two windows in a row in which
    both hosts' vCPUs were busy are a double run."""

    WINDOW_S = 0.3
    BUSY_NS = 3_000_000

    def __init__(self, hosts):
        super().__init__(daemon=True)
        self.hosts = hosts
        self.stop = threading.Event()
        self.windows = 0
        self.seen = {node.name: 0 for node in hosts}
        self.double = 0
        self.start()

    @staticmethod
    def vcpu_ns(node):
        used = {}
        for pid, line in node.processes('qemu-system'):
            if f'guest={VM}' not in line:
                continue
            for path in glob.glob(f'/proc/{pid}/task/*/comm'):
                try:
                    if open(path, encoding='utf-8').read().startswith('CPU '):
                        used[path] = int(open(path[:-4] + 'schedstat', encoding='utf-8').read().split()[0])
                except (OSError, IndexError):
                    continue
        return used

    def run(self):
        last, both_before = [self.vcpu_ns(node) for node in self.hosts], False
        while not self.stop.wait(self.WINDOW_S):
            now = [self.vcpu_ns(node) for node in self.hosts]
            busy = [any(ns - before.get(path, ns) > self.BUSY_NS for path, ns in used.items())
                    for before, used in zip(last, now)]
            for node, was_busy in zip(self.hosts, busy):
                self.seen[node.name] += was_busy
            self.double += all(busy) and both_before
            both_before, last = all(busy), now
            self.windows += 1

    def end(self):
        self.stop.set()
        self.join()
        return self


class Announcements(threading.Thread):
    """Hears, on the client's network, who says where the guest is (RARP, as QEMU does it and our mover after a return)."""

    RARP = 0x8035

    def __init__(self, lab, mac):
        super().__init__(daemon=True)
        self.mac = bytes.fromhex(mac.replace(':', ''))
        self.pid = lab.client.pid
        self.times = []
        self.open = threading.Event()
        self.over = False
        self.start()
        self.open.wait(10)

    def run(self):
        netio.enter(self.pid)
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(self.RARP)) as ear:
            ear.bind(('svc0', self.RARP))
            ear.settimeout(0.1)
            self.open.set()
            while not self.over:
                try:
                    frame = ear.recv(2048)
                except TimeoutError:
                    continue
                if frame[6:12] == self.mac:
                    self.times.append(time.monotonic())

    def end(self):
        self.over = True
        self.join()


# ---- one move ----


class Scene:
    """A lab with one guest that stays between scenarios; each moves it away from where it is."""

    bandwidth = '12M'

    def __init__(self, name):
        self.lab = Lab(name, [HostSpec('hosta'), HostSpec('hostb', unprivileged=True)], watari=WATARI,
                       watari_env=SANITIZERS)
        self.notes = []

    def start_guest(self):
        guest.start(self.lab, 'hosta', VM, memory_mib=128, pattern='random', rate=150, set_mib=8)
        self.last_state = None

    def say(self, text):
        self.notes.append(text)

    # ---- looking ----

    def movers(self, side):
        """Pids of the mover processes themselves, not of shells around them."""
        return [pid for pid, line in self.hosts[side].processes(' mover')
                if line.split()[0].endswith('watari') and line.split()[1] == 'mover']

    def mac(self):
        for line in self.hosts['source'].virsh('domiflist', VM).stdout.splitlines():
            if 'br-svc' in line:
                return line.split()[-1]
        raise Premise('the guest has no interface')

    def phase(self, side):
        """What the mover of a side has written down for `watari resolve`, None without one."""
        for path in glob.glob(self.hosts[side].path(f'/run/watari/*-{side}.json')):
            try:
                with open(path, encoding='utf-8') as file:
                    return json.load(file)['phase']
            except (OSError, ValueError):
                continue
        return None

    def received(self, interface):
        with open(f'/proc/{self.hosts["destination"].pid}/net/dev', encoding='utf-8') as file:
            for line in file:
                name, _, numbers = line.strip().partition(':')
                if name == interface:
                    return int(numbers.split()[0])
        raise Premise(f'no {interface}')

    def reached(self, moment):
        if moment == EARLY:
            return self.phase('source') and self.phase('destination')
        if moment == MID:
            return self.phase('source') == 'moving' and self.received('mig0') - self.received_before > 12 * MIB
        return self.phase('source') == PHASES[moment]

    # ---- acting ----

    def take_sides(self):
        where = guest.where(self.lab, VM)
        if list(where.values()) != ['running']:
            raise Premise(f'the guest does not run when the scenario begins: {where}')
        source = next(iter(where))
        names = {'source': source, 'destination': 'hostb' if source == 'hosta' else 'hosta'}
        self.hosts = {side: self.lab.host(name) for side, name in names.items()}

    def launch(self, row):
        source, destination = self.hosts['source'], self.hosts['destination']
        self.conductor = self.lab.admin if row.conductor == 'admin' else self.hosts[row.conductor]
        vm = VM if row.conductor == 'source' else f'{source.name}:{VM}'
        words = ['watari', 'migrate', vm, destination.name, '--json', '-v', '--max-downtime', '25s',
                 '--link-address', destination.address('migration'), '--connect-from', 'source', '--link', 'tcp',
                 '--bandwidth', self.bandwidth, *row.options]
        faults = {'WATARI_TEST_FAULTS': FAULTS[row.moment]} if row.moment in FAULTS else {}
        self.received_before = self.received('mig0')
        self.cli = self.conductor.popen(words, env=faults, text=True, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.said = []
        self.readers = [threading.Thread(target=lambda: self.said.extend(self.cli.stderr), daemon=True)]
        self.printed = []
        self.readers.append(threading.Thread(target=lambda: self.printed.extend(self.cli.stdout), daemon=True))
        for reader in self.readers:
            reader.start()

    def wait_moment(self, moment):
        end = time.monotonic() + PATIENCE_S
        while not self.reached(moment):
            if self.cli.poll() is not None or time.monotonic() > end:
                raise Premise(f'the moment “{moment}” never came; the CLI said: {"".join(self.said)[-2000:]}')
            time.sleep(0.005)

    def wait_cli(self):
        try:
            code = self.cli.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.cli.kill()
            self.cli.wait()
            raise AssertionError(f'watari did not end within {PATIENCE_S} s: {"".join(self.said)[-2000:]}') from None
        for reader in self.readers:
            reader.join(5)
        self.cli.stdout.close()
        self.cli.stderr.close()
        return KILLED if code in (KILLED, -signal.SIGKILL) else code

    def ask_resolve(self, *options):
        """The exit code of `watari resolve` and its document."""
        end = self.conductor.run(['watari', 'resolve', VM, '--json', '-v', *options], check=False, timeout=PATIENCE_S)
        assert end.stdout, end.stderr
        document = json.loads(end.stdout)
        self.say(f'resolve {" ".join(options)}: {document["situation"]}')
        return end.returncode, document

    def resolve(self):
        """Where the VM is now, with `watari resolve`, which must be able to end this. Where a Finish was lost in the dark
        it asks a person, and here the witness knows."""
        code, document = self.ask_resolve()
        if code == ATTENTION and document['situation'] == 'may-have-run':
            ran = self.witness.seen[self.hosts['destination'].name]
            code, document = self.ask_resolve('--ran' if ran else '--never-ran')
        assert code == 0, f'resolve answers {code}: {document}'

    # ---- the end ----

    def assert_one_copy(self, row):
        where = guest.where(self.lab, VM)
        assert list(where.values()) == ['running'], f'the guest is {where}'
        side = next(side for side, node in self.hosts.items() if node.name in where)
        assert side in row.ends, f'the guest runs at the {side}'
        return side

    def assert_announced(self, heard):
        """Whether the destination's QEMU told the network before that the guest is there depends on its version (7.2 does
        not while the guest is stopped); after a return the source tells it in any case."""
        again = len(heard.times) - self.told
        assert again > 0, 'nobody told the network that the guest is back at the source'
        self.say(f'announced {self.told} times before, {again} times after the return')

    def assert_intact(self):
        last = self.last_state
        guest.check(self.lab, VM)
        state = guest.state(self.lab, VM)
        assert state['memory']['errors'] == 0 and state['time']['errors'] == 0, state
        for group, counter in (('memory', 'dirtied_pages'), ('time', 'ticks'), ('services', 'http_requests')):
            assert last is None or state[group][counter] > last[group][counter], \
                f'{counter} went back from {last[group][counter]} to {state[group][counter]}'
        self.last_state = state

    def left_behind(self):
        """What a move must not leave at the hosts and where the CLI ran."""
        left = []
        for node in self.hosts.values():
            left += [f'{node.name}: {line}' for _, line in node.processes('watari')
                     if line.split()[0].endswith('watari')]
            left += [f'{node.name}: {path}' for path in ('/run/watari', '/run/libvirt/watari') if node.exists(path)]
        left += [f'{self.conductor.name}: {line}' for _, line in self.conductor.processes('ssh -T')]
        for folder in ('/tmp', '/run', '/run/user/0'):
            left += glob.glob(self.conductor.path(f'{folder}/watari-*'))
        qemus = [f'{node.name}: {line[:80]}' for node in self.hosts.values()
                 for _, line in node.processes('qemu-system') if f'guest={VM}' in line]
        return left + (qemus if len(qemus) != 1 else [])

    def assert_clean(self):
        end = time.monotonic() + 10  # what was told to end may need a moment
        while (left := self.left_behind()) and time.monotonic() < end:
            time.sleep(0.1)
        assert not left, f'left behind: {left}'
        for node in self.hosts.values():
            if node.virsh('domstate', VM, check=False).returncode == 0:
                job = node.virsh('domjobinfo', VM).stdout
                assert 'None' in job, f'a job is left at {node.name}: {job}'

    def run(self, row):
        self.notes = []
        self.take_sides()
        self.last_state = guest.state(self.lab, VM)
        event = EVENTS[row.event]
        prober = client.Prober(self.lab, VM, udp_rate=200, http_rate=2).start() if row.probe else None
        heard = Announcements(self.lab, self.mac()) if row.probe else None
        if row.event == 'corrupted bytes':
            self.lab.link(delay_ms=0.5)  # so that the packet device is in the way from the start
        witness = self.witness = Witness(self.lab.hosts)
        try:
            self.launch(row)
            self.wait_moment(row.moment)
            if row.probe:
                time.sleep(1)  # the destination's QEMU may tell the network meanwhile that the guest is there
            self.told = len(heard.times) if heard else 0
            event.act(self)
            happened = time.monotonic()
            try:
                time.sleep(event.after_s)
            finally:
                event.undo(self)
            code = self.wait_cli()
            self.say(f'exit code {code} after {time.monotonic() - happened:.1f} s')
            if code in (ATTENTION, KILLED):
                self.resolve()
            side = self.assert_one_copy(row)
            self.say(f'runs at the {side}')
            if code in ENDS:
                assert side == ENDS[code], f'exit code {code}, but the guest runs at the {side}'
                event.verify(json.loads(''.join(self.printed)))
            assert code in row.codes, f'exit code {code}: {"".join(self.said)[-3000:]}{"".join(self.printed)[-2500:]}'
            if heard and side == 'source':
                self.assert_announced(heard)
            self.assert_intact()
            self.assert_clean()
        finally:
            witness.end()
            if heard:
                heard.end()
            if prober:
                gap = prober.stop()
                self.say(f'longest gap seen by the client {gap["longest_gap"]["ms"]:.0f} ms, session '
                         f'{"survived" if gap["session"]["survived"] else "lost"}')
        assert witness.seen[self.hosts['source'].name], 'the witness saw nothing'
        assert not witness.double, f'two copies ran in {witness.double} of {witness.windows} windows'
        return f'{row.name}: {"; ".join(self.notes)}'

    def mend(self):
        """After a scenario that failed: a lab in which the next one can begin."""
        if getattr(self, 'cli', None) and self.cli.poll() is None:
            self.cli.kill()
            self.cli.wait()
        self.lab.restore()
        self.lab.link(corrupt_every=0, delay_ms=0)
        for node in self.lab.hosts:
            node.start_libvirtd()
            node.start_sshd()
        guest.stop(self.lab, None, VM)
        for node in self.lab.hosts:
            for pid, _ in node.processes('watari mover'):
                os.kill(pid, signal.SIGKILL)
            node.run(['rm', '-rf', '/run/watari', '/run/libvirt/watari'])
        self.start_guest()


class BadLuck(unittest.TestCase):
    """One test for each row that add_tests() gives; they share one lab."""

    lab_name = 'badluck'
    scene_class = Scene

    @classmethod
    def setUpClass(cls):
        cls.scene = cls.scene_class(cls.lab_name)
        cls.scene.lab.up()
        cls.addClassCleanup(cls.scene.lab.down)
        cls.scene.start_guest()

    def run_row(self, row):
        try:
            print(f'# {self.scene.run(row)}', flush=True)
        except BaseException:
            print(f'# {row.name}: {"; ".join(self.scene.notes)}', flush=True)
            self.scene.mend()
            raise
        self.scene.lab.link(delay_ms=0)


def add_tests(case, rows):
    for number, row in enumerate(rows):
        def test(self, row=row):
            self.run_row(row)
        words = ''.join(letter if letter.isalnum() else '_' for letter in row.name)
        test.__doc__ = row.name
        setattr(case, f'test_{number + 1:02}_{words}', test)
