# SPDX-License-Identifier: Apache-2.0
"""The stage of the matrix: a lab with one guest that checks itself, one move of it to the other host, and how its moments are
recognised. A way of moving (ways.py) is a kind of Scene; a cell is played on it: launched, brought to the moment, struck,
and handed to the judge."""
import glob
import json
import os
import pathlib
import signal
import subprocess
import threading
import time

from watari_lab import HostSpec, Lab, client, guest

import journal
from answers import ATTENTION, DESTINATION, KILLED
from judge import judge
from proven import Premise, continue_if_there, stop_proven
from witness import Announcements, Witness

TOP = pathlib.Path(__file__).resolve().parents[2]
VM = 'luck'
MIB = 1 << 20
PATIENCE_S = 150  # for anything that must end by itself


class Scene:
    """The guest stays between cells; each moves it away from where it is. Ways give their own NAME, MOMENTS, words and guest."""

    name = ''
    moments = ()
    vm = VM
    runs_as = 'running'  # the state in which the VM is found at the end
    unprivileged = True  # QEMU at one of the hosts, as Debian ships it
    computes = True  # the guest runs, so the witness sees it
    done_at = DESTINATION  # where the guest is after exit code 0
    bandwidth = '12M'
    ceiling_s = 2.0  # that a fault asks for
    impatient = ('--link-timeout', '4s')
    least_sshd = 3  # the daemon, libvirt's session and the mover's
    tried = None  # names of the faults that are tried, at each moment; None: all
    tried_at = {}  # {moment: more of them}
    places = None  # of the conductor; None: all that a fault names
    answers = {}  # {(moment, fault): Answer} where it is another than the fault's own

    @classmethod
    def ceiling(cls):
        return ('--max-downtime', f'{cls.ceiling_s:.0f}s')

    @classmethod
    def tries(cls, moment, fault):
        return cls.tried is None or fault in cls.tried or fault in cls.tried_at.get(moment, ())

    @classmethod
    def answer(cls, moment, fault):
        return cls.answers.get((moment.name, fault.name)) or fault.does[moment.kind]

    def __init__(self, lab_name):
        watari = os.environ.get('WATARI_TEST_BINARY', str(TOP / 'build-asan/src/cli/watari'))
        sanitizers = {name: os.environ[name] for name in ('ASAN_OPTIONS', 'UBSAN_OPTIONS') if name in os.environ}
        hosts = [HostSpec('hosta', clock_s=0), HostSpec('hostb', unprivileged=self.unprivileged, clock_s=0)]
        self.lab = Lab(lab_name, hosts, watari=watari, watari_env=sanitizers)
        self.notes, self.situations, self.cli = [], [], None

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

    def qemus(self, side):
        return [pid for pid, line in self.hosts[side].processes('qemu-system') if f'guest={VM}' in line]

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

    def arrived(self):
        """Bytes that the migration network has brought since the move began."""
        return self.received('mig0') - self.received_before

    def arrived_since(self, mark):
        """Bytes since this was first asked with this word."""
        return self.received('mig0') - self.marks.setdefault(mark, self.received('mig0'))

    def state(self, side):
        """As libvirt there says: "running (booted)", "" when it does not know the VM."""
        return self.hosts[side].virsh('domstate', '--reason', VM, check=False).stdout.strip()

    def written(self, word):
        """Whether this move has come to that phase or event, as its journal says."""
        return word in journal.said(self.conductor, self.moves_before)

    def where(self):
        """{host: state of the VM}, wherever it is."""
        return guest.where(self.lab, VM)

    def remember(self):
        self.last_state = guest.state(self.lab, VM)

    def left_behind(self, side):
        """What this way must not leave besides, the guest being at SIDE."""
        return []

    def assert_intact(self):
        last = self.last_state
        guest.check(self.lab, VM)
        state = guest.state(self.lab, VM)
        assert state['memory']['errors'] == 0 and state['time']['errors'] == 0, state
        for group, counter in (('memory', 'dirtied_pages'), ('time', 'ticks'), ('services', 'http_requests')):
            assert last is None or state[group][counter] > last[group][counter], \
                f'{counter} went back from {last[group][counter]} to {state[group][counter]}'
        self.last_state = state

    # ---- acting ----

    def take_sides(self):
        where = self.where()
        if list(where.values()) != [self.runs_as]:
            raise Premise(f'the guest is not {self.runs_as} when the cell begins: {where}')
        source = next(iter(where))
        names = {'source': source, 'destination': 'hostb' if source == 'hosta' else 'hosta'}
        self.hosts = {side: self.lab.host(name) for side, name in names.items()}

    def vm_words(self, conductor):
        """The VM and the destination as they are named at CONDUCTOR."""
        source, destination = self.hosts['source'], self.hosts['destination']
        return [VM if conductor is source else f'{source.name}:{VM}', destination.name]

    def words(self, conductor):
        """The command line of the move."""
        return ['watari', 'migrate', *self.vm_words(conductor), '--json', '-v', '--max-downtime', '25s',
                *self.link_words()]

    def link_words(self):
        return ['--link-address', self.hosts['destination'].address('migration'), '--connect-from', 'source', '--link', 'tcp',
                '--bandwidth', self.bandwidth]

    def node_of(self, place):
        return self.lab.admin if place == 'admin' else self.hosts[place]

    def launch(self, moment, place='admin', options=()):
        self.moment, self.conductor = moment, self.node_of(place)
        held = {'WATARI_TEST_FAULTS': moment.held_by, 'WATARI_TEST_HOLD': moment.held_at}
        held = {name: word for name, word in held.items() if word}
        self.received_before, self.marks = self.received('mig0'), {}
        self.moves_before = journal.count(self.conductor)
        self.cli = self.conductor.popen([*self.words(self.conductor), *moment.options, *options], env=held, text=True,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.said, self.printed = [], []
        self.readers = [threading.Thread(target=lambda: self.said.extend(self.cli.stderr), daemon=True),
                        threading.Thread(target=lambda: self.printed.extend(self.cli.stdout), daemon=True)]
        for reader in self.readers:
            reader.start()

    def conductor_pid(self):
        pid = self.cli.inner_pid()
        if pid is None:
            raise Premise('the conductor had ended')
        return pid

    def wait_moment(self, moment):
        end = time.monotonic() + PATIENCE_S
        while not moment.reached(self):
            if self.cli.poll() is not None or time.monotonic() > end:
                raise Premise(f'the moment “{moment.name}” never came; the conductor said: {"".join(self.said)[-2000:]}')
            time.sleep(0.005)
        if moment.freezes:
            stop_proven(self.conductor_pid())

    def thaw(self):
        """The conductor goes on, and the nsenter that stopped with it."""
        continue_if_there(self.cli.inner_pid() or self.cli.pid, self.cli.pid)

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

    def document(self):
        """What the move printed, None when it was killed."""
        text = ''.join(self.printed)
        return json.loads(text) if text else None

    def run_json(self, node, words, timeout=PATIENCE_S):
        """A command of Watari that must print its document: the exit code and that."""
        done = node.run(words, check=False, timeout=timeout)
        assert done.stdout, f'{" ".join(words)}: exit code {done.returncode}, nothing printed: {done.stderr[-2000:]}'
        return done.returncode, json.loads(done.stdout)

    def ask_resolve(self, *options):
        code, document = self.run_json(self.conductor, ['watari', 'resolve', VM, '--json', '-v', *options])
        self.situations.append(document['situation'])
        self.say(' '.join(['resolve', *options]) + f': {document["situation"]}, {code}')
        return code, document

    # ---- a cell ----

    def play(self, cell):
        """Where the guest is at the end; what was seen is in notes. AssertionError and others: it went wrong."""
        self.notes, self.situations, self.said, self.code, self.error = [], [], [], None, None
        self.take_sides()
        self.remember()
        event = cell.fault.event
        event.prepare(self, cell)
        probed = cell.is_probed
        prober = client.Prober(self.lab, VM, udp_rate=200, http_rate=2).start() if probed else None
        self.heard = Announcements(self.lab, self.mac()) if probed else None
        self.witness = Witness(self.lab.hosts, VM)
        try:
            self.launch(cell.moment, cell.place, cell.options)
            self.wait_moment(cell.moment)
            if probed:
                time.sleep(1)  # the destination's QEMU may tell the network meanwhile that the guest is there
            self.announced_before = len(self.heard.times) if probed else 0
            self.strike(cell)
            self.code = self.wait_cli()
            self.say(f'exit code {self.code} after {time.monotonic() - self.struck:.1f} s')
            event.follow(self)
            return judge(self, cell)
        finally:
            self.witness.end()
            if self.heard:
                self.heard.end()
            if prober:
                gap = prober.stop()
                self.say(f'longest gap seen by the client {gap["longest_gap"]["ms"]:.0f} ms, session '
                         f'{"survived" if gap["session"]["survived"] else "lost"}')
            event.tidy(self)

    def strike(self, cell):
        event = cell.fault.event
        event.act(self)
        self.struck = time.monotonic()
        if cell.moment.freezes and not event.holds_conductor:
            self.thaw()
        try:
            end = self.struck + event.after_s
            while time.monotonic() < end:
                time.sleep(0.05)
        finally:
            event.undo(self)

    def resolve(self):
        """`watari resolve`, which must be able to end this. Where a Finish was lost in the dark it asks a person, and here the
        witness knows."""
        code, document = self.ask_resolve()
        if code == ATTENTION and '--never-ran' in (document['error']['next'] or ''):
            ran = self.witness.seen[self.hosts['destination'].name]
            code, document = self.ask_resolve('--ran' if ran else '--never-ran')
        assert code == 0, f'resolve answers {code}: {document["error"]}'

    def end_conductor(self):
        if self.cli and self.cli.poll() is None:
            self.cli.kill()
            continue_if_there(self.cli.pid)  # the moment may have frozen it, and the nsenter around it stopped too
            self.cli.wait()

    def mend(self):
        """After a cell that failed: a lab in which the next one can begin, with nothing of the last one in any journal."""
        self.end_conductor()
        self.lab.restore()
        self.lab.link(corrupt_every=0, delay_ms=0)
        for node in self.lab.hosts:
            continue_if_there(*(pid for pid, _ in node.processes()))
            node.set_clock(0)
            node.start_libvirtd()
            node.start_sshd()
        guest.stop(self.lab, None, VM)
        for node in [*self.lab.hosts, self.lab.admin]:
            for pid, line in node.processes('watari'):
                if line.split()[0].endswith('watari'):
                    os.kill(pid, signal.SIGKILL)
            node.run(['umount', journal.FOLDER], check=False)
            node.run(['rm', '-rf', '/run/watari', '/run/libvirt/watari', journal.FOLDER])
        self.start_guest()
