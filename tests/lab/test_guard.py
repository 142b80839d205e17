# SPDX-License-Identifier: Apache-2.0
"""The window of libvirt's Finish: the destination already runs, and its answer is lost.

First the premise: plain `virsh migrate` ends there with two running copies. Then the same window, hit every time, with
Watari's guard: the source stays paused, and one copy runs. GUARD_TRIES says how often.
"""
import os
import pathlib
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / 'lab'))

from watari_lab import HostSpec, Lab  # noqa: E402
import ticker  # noqa: E402

TIME_LIMIT_S = 600
TRIES = int(os.environ.get('GUARD_TRIES', '3'))
PROGRAM = pathlib.Path(os.environ.get('WATARI_BUILD', TOP / 'build')) / 'tests' / 'lab' / 'guard-migrate'
SANITIZERS = {name: os.environ[name] for name in ('ASAN_OPTIONS', 'UBSAN_OPTIONS') if name in os.environ}
VM = 'window'
FINISH3 = (217, 306)  # procedures of libvirt's RPC
WRITES, AREA_MIB = 112, 8


class HoldingRelay(threading.Thread):
    """A plain relay to a libvirtd that keeps the reply to Finish and calls `harm` instead. It has no order of cuts."""

    def __init__(self, path, libvirtd, harm):
        super().__init__(daemon=True)
        self.harm = harm
        self.held = False
        self.libvirtd = libvirtd
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(1)
        self.start()

    def run(self):
        client, _ = self.listener.accept()
        self.listener.close()
        host = socket.socket(socket.AF_UNIX)
        host.connect(self.libvirtd)
        with client, host:
            try:
                self._pump(client, host)
            except OSError:
                pass

    def _pump(self, client, host):
        answers = b''
        while True:
            ready = select.select([client, host], [], [], 60)[0]
            if client in ready:
                data = client.recv(65536)
                if not data:
                    return
                host.sendall(data)
            if host not in ready:
                continue
            data = host.recv(65536)
            if not data:
                return  # as a relay does: both ends close, in any order
            answers += data
            while len(answers) >= 4 and len(answers) >= (length := struct.unpack('>I', answers[:4])[0]):
                packet, answers = answers[:length], answers[length:]
                procedure, kind = struct.unpack('>II', packet[12:20])
                if procedure in FINISH3 and kind == 1:
                    self.held = True
                    self.harm()
                elif not self.held:
                    client.sendall(packet)


class Window(unittest.TestCase):
    """All tests use one pair of hosts and one VM that starts at hosta."""

    @classmethod
    def setUpClass(cls):
        cls.lab = Lab('guard', [HostSpec('hosta'), HostSpec('hostb')])
        cls.lab.up()
        cls.addClassCleanup(cls.lab.down)
        cls.source, cls.destination = cls.lab.host('hosta'), cls.lab.host('hostb')
        ticker.install(cls.lab, WRITES, AREA_MIB)
        kind = 'kvm' if ticker.runs_on_kvm() else 'qemu'
        print(f'# the VM is of type {kind}')
        cls.source.write_text('/root/window.xml', ticker.domain(VM, kind=kind, cpu='' if kind == 'kvm' else ticker.CPU))

    def setUp(self):
        self.start_vm()

    def tearDown(self):
        self.lab.restore()
        for host in (self.source, self.destination):
            host.start_libvirtd()
            host.virsh('destroy', VM, check=False)

    # ---- the hosts ----

    def start_vm(self):
        self.source.virsh('create', '/root/window.xml')
        ticker.wait_passes(self.source, VM, more=1)

    def state(self, host):
        """'running (migrated)', or 'absent'."""
        host.start_libvirtd()
        asked = host.virsh('domstate', VM, '--reason', check=False)
        return asked.stdout.strip() if asked.returncode == 0 else 'absent'

    def states(self):
        return self.state(self.source), self.state(self.destination)

    def back_to_source(self):
        """After a try: one running VM at the source again, nothing at the destination."""
        self.destination.virsh('destroy', VM, check=False)
        if self.state(self.source).startswith('paused'):
            self.source.virsh('resume', VM)
        self.assertTrue(self.state(self.source).startswith('running'), self.states())
        self.assert_right(self.source)

    def assert_right(self, host):
        """The guest has the memory that it had, and goes on."""
        found = ticker.wait_passes(host, VM)
        self.assertEqual(found.wrong, 0, f'page {found.address:#x} is wrong')

    # ---- what is done to the destination in the window ----

    def kill_libvirtd(self, _ssh):
        self.destination.kill_libvirtd(signal.SIGKILL)

    def kill_ssh(self, ssh):
        self.lab.admin.run(['kill', '-9', ssh])

    def cut_link(self, _ssh):
        self.lab.cut('management', 'hostb')

    # ---- one migration ----

    def migrate(self, *options, harm=None):
        """Runs guard-migrate in the lab's admin node. Returns its last line as a dictionary."""
        words = [str(PROGRAM), *options, 'root@hosta', 'root@hostb', VM, 'tcp://hostb-mig']
        child = self.lab.admin.popen(words, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, env=SANITIZERS)
        with child:
            if harm:
                line = child.stdout.readline().split()
                self.assertTrue(line and line[0] == 'held', line)
                # the premise of every try: the destination runs, and libvirt at the source does not know yet
                self.assertEqual(self.states(), ('paused (migrating)', 'running (migrated)'))
                harm(line[1])
            out, err = child.communicate('go\n' if harm else None, timeout=120)
        self.assertEqual(child.returncode, 0, err)
        words = out.strip().splitlines()[-1].split(' ', 6)
        self.assertEqual(words[0], 'done', out + err)
        return dict(word.split('=', 1) for word in words[1:])

    # ---- tests ----

    def test_1_premise_virsh(self):
        """Plain virsh, libvirtd of the destination killed in the window: two running copies."""
        path = '/run/holding-relay'
        relay = HoldingRelay(self.lab.admin.path(path), self.destination.path('/run/libvirt/libvirt-sock'),
                             lambda: self.destination.kill_libvirtd(signal.SIGKILL))
        done = self.lab.admin.run(['virsh', '-c', 'qemu+ssh://root@hosta/system', 'migrate', '--live', VM,
                                   f'qemu+unix:///system?socket={path}', 'tcp://hostb-mig'], check=False)
        self.assertTrue(relay.held, done.stderr)
        self.assertNotEqual(done.returncode, 0)
        source, destination = self.states()
        self.assertTrue(source.startswith('running'), source)
        self.assertTrue(destination.startswith('running'), destination)

    def test_2_premise_unarmed(self):
        """The same relays with the guard's rules off: two running copies too, so it is the rules that help."""
        end = self.migrate('--plain', '--hold', harm=self.kill_ssh)
        self.assertEqual(end['migrated'], '0')
        source, destination = self.states()
        self.assertTrue(source.startswith('running'), source)
        self.assertTrue(destination.startswith('running'), destination)

    def test_3_undisturbed(self):
        """With the guard and without harm the VM moves."""
        end = self.migrate()
        self.assertEqual((end['migrated'], end['answer']), ('1', 'runs'))
        self.assertEqual(self.states(), ('absent', 'running (migrated)'))
        self.assert_right(self.destination)

    def test_3b_seen_on_the_way(self):
        """While the memory goes over, the hosts say so: busy at the source, incoming at the destination."""
        uuid = self.source.virsh('domuuid', VM).stdout.strip()
        look = str(PROGRAM.with_name('host-look'))
        seen = set()
        self.lab.link(rate='20mbit')
        self.addCleanup(self.lab.link, rate=None)
        child = self.lab.admin.popen([str(PROGRAM), 'root@hosta', 'root@hostb', VM, 'tcp://hostb-mig'],
                                     stdout=subprocess.DEVNULL, env=SANITIZERS)
        with child:
            deadline = time.monotonic() + 60
            want = ('running booted transient busy', 'incoming migration transient busy')
            while want not in seen and time.monotonic() < deadline and child.poll() is None:
                seen.add(tuple(' '.join(self.lab.admin.run([look, 'vm', f'root@{name}', uuid], env=SANITIZERS,
                                                           check=False).stdout.split()) for name in ('hosta', 'hostb')))
            self.lab.link(rate=None)
            child.wait(120)
        self.assertIn(want, seen)

    def test_4_window(self):
        """kill -9 of libvirtd, kill -9 of the relay's ssh, a cut link: never two running copies, never none."""
        harms = (self.kill_libvirtd, self.kill_ssh, self.cut_link)
        double = none = 0
        for number in range(TRIES):
            harm = harms[number % len(harms)]
            with self.subTest(number=number, harm=harm.__name__):
                end = self.migrate('--hold', harm=harm)
                self.lab.restore()
                self.assertEqual((end['migrated'], end['answer']), ('0', 'unanswered'))
                self.assertEqual((end['source-broken'], end['destination-broken']), ('1', '1'))
                states = self.states()
                running = sum(state.startswith('running') for state in states)
                double += running == 2
                none += running == 0
                self.assertEqual(states, ('paused (migrating)', 'running (migrated)'))
                self.back_to_source()
        print(f'# {TRIES} tries in the window: {double} double runs, {none} without a running copy')
        self.assertEqual((double, none), (0, 0))

    def test_5_late_finish(self):
        """A Finish that is passed on but not executed yet: the destination's copy is paused, and may still start. What
        decides is what becomes of it, and the source stays paused all the while."""
        self.lab.link(rate='100mbit')
        self.addCleanup(self.lab.link, rate=None)
        child = self.lab.admin.popen([str(PROGRAM), 'root@hosta', 'root@hostb', VM, 'tcp://hostb-mig'], text=True,
                                     stdout=subprocess.PIPE, env=SANITIZERS)
        with child:
            self.wait_for(lambda: 'paused' in self.destination.virsh('domstate', VM, check=False).stdout)
            libvirtd = self.destination.libvirtd_pid()
            self.wait_for(lambda: self.source.virsh('domjobinfo', VM, check=False).stdout.find('Data total') > 0)
            os.kill(libvirtd, signal.SIGSTOP)
            self.lab.link(rate=None)
            try:
                self.wait_for(lambda: self.source.virsh('domstate', VM, '--reason').stdout.strip() == 'paused (migrating)')
                time.sleep(2)  # Finish is on its way now
                for pid, line in self.lab.admin.processes('virt-ssh-helper'):
                    if line.startswith('ssh') and 'root@hostb' in line:
                        os.kill(pid, signal.SIGKILL)
                out, _ = child.communicate(timeout=60)
                self.assertIn('answer=unanswered source-broken=1 destination-broken=1', out)
            finally:
                os.kill(libvirtd, signal.SIGCONT)
        self.wait_for(lambda: self.state(self.destination) in ('running (migrated)', 'absent'))
        print(f'# after the late Finish: {self.states()}')
        self.assertEqual(self.state(self.source), 'paused (migrating)')

    def wait_for(self, condition, limit_s=90):
        deadline = time.monotonic() + limit_s
        while not condition():
            self.assertLess(time.monotonic(), deadline, 'waited in vain')
            time.sleep(0.1)


if __name__ == '__main__':
    unittest.main()
