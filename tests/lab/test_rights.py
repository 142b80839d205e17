#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What running movers may do, and who may come to their sockets. A disk moves with the memory, slowly, so that there is
time to look; at one host QEMU has a user of its own, into whose group ordinary people are put."""
import json
import os
import shutil
import signal
import stat
import subprocess
import time
import unittest

from disklab import MIGRATED, DiskLab, disks, guest

TIME_LIMIT_S = 400
# chown, dac_override, setgid, setuid, net_bind, net_admin, net_raw, sys_ptrace
KEPT = sum(1 << bit for bit in (0, 1, 6, 7, 10, 12, 13, 19))
OPEN_OTHERS = 1 << 1  # dac_override
SEED, SECRET_SEED = '/lab/images/seed.qcow2', '/lab/images/secret.qcow2'
# Says what becomes of a connection to the socket argv[1].
KNOCK = """
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.settimeout(5)
try:
    s.connect(sys.argv[1])
    print("greeted" if s.recv(16) else "sent away")
except OSError as e:
    print(type(e).__name__)
"""


LOGIND = '/lib/systemd/systemd-logind'
BUS = """<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_type="signal"/>
<allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
<allow receive_type="method_call"/><allow receive_type="method_return"/><allow receive_type="error"/>
<allow receive_type="signal"/></policy></busconfig>
"""


class Logind:
    """The true one, on a bus of its own at a lab host."""

    def __init__(self, node):
        self.node = node
        node.run(['mkdir', '-p', '/run/dbus', *[f'/run/systemd/{name}' for name in ('inhibit', 'seats', 'sessions', 'users')]])
        node.write_text('/run/dbus/bus.conf', BUS)
        self.started = [self.start(['dbus-daemon', '--config-file=/run/dbus/bus.conf', '--nofork', '--nopidfile'])]
        self.wait(lambda: node.exists('/run/dbus/system_bus_socket'), 'no bus')
        self.started.append(self.start([LOGIND]))
        self.wait(lambda: self.list() == [], 'logind does not answer')

    def start(self, argv):
        return self.node.popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    @staticmethod
    def wait(condition, complaint):
        end = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < end, complaint
            time.sleep(0.1)

    def list(self):
        """What is inhibited, of each lock; None: no logind."""
        asked = self.node.run(['systemd-inhibit', '--list', '--no-pager', '--no-legend'], check=False)
        return [line for line in asked.stdout.splitlines() if 'watari' in line] if asked.returncode == 0 else None

    def stop(self):
        for process in reversed(self.started):
            pid = process.inner_pid()
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
            process.wait(10)
        self.node.run(['rm', '-rf', '/run/dbus', '/run/systemd'])


class Rights(DiskLab):
    lab_name = 'rights'

    @classmethod
    def prepare(cls):
        here = cls.lab.host('hosta')
        there = cls.lab.host('hostb')
        for path in (SEED, SECRET_SEED):
            disks.make(there, path, 40, 'qcow2', parts=disks.noise('seed', 4))
            there.run(['chmod', '644' if path == SEED else '600', path])
        cls.start([guest.Disk(disks.make(here, '/lab/images/r1.raw', 40, parts=disks.noise('r', 24)))])

    def begin(self, *options):
        argv = ['watari', 'migrate', self.vm, self.there.name, '--json', '--max-downtime', '20s', '--bandwidth', '3M',
                '--remove-source-disks', *options]
        moving = self.here.popen(argv, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        end = time.monotonic() + 60
        while not (self.sockets(self.here) and self.phase(self.here) == 'setup' and self.confined(self.here)
                   and self.confined(self.there) and self.sockets(self.there)):
            self.assertIsNone(moving.poll(), moving.stderr.read() if moving.poll() is not None else '')
            self.assertLess(time.monotonic(), end, 'the disks do not begin to move')
            time.sleep(0.1)
        return moving

    def finish(self, moving):
        out, said = moving.communicate(timeout=180)
        self.assertEqual(moving.returncode, MIGRATED, said)
        self.assert_clean()
        return json.loads(out)

    # ---- looking ----

    def phase(self, node):
        listing = node.run(['sh', '-c', 'cat /run/watari/*.json'], check=False).stdout
        return json.loads(listing)['phase'] if listing else None

    def directory(self, node):
        names = os.listdir(node.path('/run/libvirt/watari')) if node.exists('/run/libvirt/watari') else []
        return f'/run/libvirt/watari/{names[0]}' if names else None

    def sockets(self, node):
        directory = self.directory(node)
        names = os.listdir(node.path(directory)) if directory else []
        return [f'{directory}/{name}' for name in names if name.startswith('d.')]

    def pids(self, node, word):
        return [pid for pid, line in node.processes(f' {word}') if line.split()[0].endswith('watari') and line.split()[1] == word]

    def status(self, pid):
        with open(f'/proc/{pid}/status', encoding='utf-8') as file:
            return dict(line.rstrip('\n').split(':\t', 1) for line in file if ':\t' in line)

    def confined(self, node):
        return all(self.status(pid)['Seccomp'] == '2' for pid in self.pids(node, 'mover'))

    def knock(self, node, user, group, path):
        argv = ['setpriv', f'--reuid={user}', f'--regid={group}', '--clear-groups', '/usr/bin/python3', '-c', KNOCK, path]
        return node.run(argv).stdout.strip()

    def assert_rights(self, node):
        (mover,) = self.pids(node, 'mover')
        for thread in os.listdir(f'/proc/{mover}/task'):
            try:
                status = self.status(f'{mover}/task/{thread}')
            except OSError:
                continue  # it has ended
            self.assertEqual(int(status['CapEff'], 16), KEPT, status)
            self.assertEqual(int(status['CapBnd'], 16), KEPT, status)
            self.assertEqual((status['Seccomp'], status['NoNewPrivs']), ('2', '1'))
        with open(f'/proc/{mover}/limits', encoding='utf-8') as file:
            (core,) = [line.split() for line in file if line.startswith('Max core file size')]
        self.assertEqual(core[4:6], ['0', '0'])
        self.assertEqual(self.cores_hold(mover), 0)

    def cores_hold(self, pid):
        with open(f'/proc/{pid}/coredump_filter', encoding='utf-8') as file:
            return int(file.read(), 16)

    def assert_helpers(self, node):
        """One qemu-nbd for each seed: QEMU's user has the one that it may read, and no capability; root the other one."""
        (qemu,) = [pid for pid, line in node.processes('qemu-system') if f'guest={self.vm}' in line]
        user = self.status(qemu)['Uid'].split()[0]
        helpers = {seed: [pid for pid, line in node.processes('qemu-nbd') if f'filename={seed}' in line] for seed in (SEED, SECRET_SEED)}
        for seed, capabilities in ((SEED, 0), (SECRET_SEED, OPEN_OTHERS)):
            (helper,) = helpers[seed]
            status = self.status(helper)
            self.assertEqual(set(status['Uid'].split()), {user if seed == SEED else '0'}, seed)
            self.assertEqual([int(status[name], 16) for name in ('CapEff', 'CapPrm', 'CapInh')], [capabilities] * 2 + [0])
            self.assertEqual((status['Seccomp'], status['NoNewPrivs']), ('2', '1'))
            self.assertEqual(self.cores_hold(helper), 0)

    # ---- tests ----

    def test_1_to_the_host_where_qemu_has_a_user(self):
        moving = self.begin('--seed', f'qcow2:{SEED}', '--seed', f'qcow2:{SECRET_SEED}')
        try:
            self.assert_rights(self.here)
            self.assert_rights(self.there)
            self.assert_helpers(self.there)
            (child,) = self.pids(self.here, 'guard')
            self.assertEqual(int(self.status(child)['CapPrm'], 16), 0)
            # root without a capability may look into a dumpable process of root's that has none, and not into this one
            look = self.here.run(['setpriv', '--bounding-set=-all', '--inh-caps=-all', 'cat', f'/proc/{self.inner(child)}/environ'],
                                 check=False)
            self.assertNotEqual(look.returncode, 0, 'it is dumpable')
            self.look_in(self.there, own=True)
        finally:
            self.finish(moving)

    def test_2_and_from_there(self):
        moving = self.begin()
        try:
            self.assert_rights(self.here)
            user, _ = self.look_in(self.here, own=False)
            (path,) = self.sockets(self.here)
            self.assertEqual(self.knock(self.here, user, user, path), 'sent away', 'a process of QEMU\'s user that is not this VM\'s QEMU')
            memory = os.path.dirname(path) + '/m' + os.path.basename(path)[1:]
            self.assertEqual(self.knock(self.here, user, user, memory), 'PermissionError')
        finally:
            self.finish(moving)

    def test_3_nobody_shuts_a_host_down(self):
        """Each mover and the conductor hold a lock of logind's, until they have ended."""
        if not os.path.exists(LOGIND) or not shutil.which('dbus-daemon'):
            self.skipTest('no logind or no dbus-daemon is installed')
        logins = []
        try:
            for node in (self.here, self.there):
                logins.append(Logind(node))
            moving = self.begin()
            try:
                for login, locks in zip(logins, (2, 1)):  # the conductor is here
                    Logind.wait(lambda login=login, locks=locks: len(login.list()) == locks, f'not {locks} locks: {login.list()}')
                    for line in login.list():
                        self.assertIn('sleep', line)
                        self.assertIn('shutdown', line)
                        self.assertTrue(line.endswith('block'), line)
            finally:
                self.finish(moving)
            for login in logins:
                self.assertEqual(login.list(), [])
        finally:
            for login in logins:
                login.stop()

    def inner(self, pid):
        return int(self.status(pid)['NSpid'].split()[-1])

    def look_in(self, node, own):
        """Nobody but QEMU's user and root gets anywhere; QEMU's group least of all."""
        directory = self.directory(node)
        (pid,) = [pid for pid, line in node.processes('qemu-system') if f'guest={self.vm}' in line]
        status = self.status(pid)
        user, group = int(status['Uid'].split()[0]), int(status['Gid'].split()[0])
        self.assertNotEqual(user, 0, 'the premise: QEMU has a user of its own')
        facts = os.stat(node.path(directory))
        self.assertEqual((facts.st_uid, stat.S_IMODE(facts.st_mode)), (user, 0o700) if own else (0, 0o711))
        listed = node.run(['setpriv', '--reuid=65534', f'--regid={group}', '--clear-groups', 'ls', directory], check=False)
        self.assertNotEqual(listed.returncode, 0, listed.stdout)
        for path in self.sockets(node):
            self.assertEqual(self.knock(node, 65534, group, path), 'PermissionError', path)
            if not own:
                self.assertEqual(stat.S_IMODE(os.stat(node.path(path)).st_mode), 0o600)
        return user, group


del DiskLab

if __name__ == '__main__':
    unittest.main()
