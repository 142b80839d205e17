# SPDX-License-Identifier: Apache-2.0
"""What the tests of refusals share: a case, and all that must be true when it was refused. One VM is there for all cases
that are about the hosts; cases about VMs start one of their own."""
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import sys
import time
import unittest
import xml.sax.saxutils

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / 'lab'), str(TOP / 'tests' / 'lab')]

import ticker  # noqa: E402
from watari_lab import Lab  # noqa: E402

WATARI = os.environ.get('WATARI_TEST_BINARY', str(TOP / 'build-asan' / 'src' / 'cli' / 'watari'))
SANITIZERS = {name: os.environ[name] for name in ('ASAN_OPTIONS', 'UBSAN_OPTIONS') if name in os.environ}
UUID = '5761746a-7269-4c61-8262-00000000c0de'
LINK = ['--link-address', 'hostb-mig', '--json']  # so that any byte of the VM would be on the migration network
ARP_FRAME = 42  # bytes; a neighbour is asked for again when it was not heard of for a while
HANDSHAKE = 700_000  # bytes on the network when the movers were linked and the link was tried, and nothing else


@dataclasses.dataclass
class Case:
    """words: the command line after `watari migrate`; at: where it is run; vm: what differs in the VM, None for the one
    that all these cases share; prepare: what is wrong with the hosts (a context manager); what, next: parts of the message
    and of the next step; phase: how far it came."""
    name: str
    words: tuple = ('v', 'hostb')
    what: tuple = ()
    next: tuple = ()
    phase: str = 'check'
    vm: dict | None = None
    prepare: object = None
    at: str = 'hosta'
    off: bool = False  # the VM is only defined
    linked: bool = False  # the movers had to be linked to find it out


class RefusalLab(unittest.TestCase):
    """A lab of hosta and hostb, with the VM "v" at hosta."""
    maxDiff = None
    hosts = None  # as for Lab

    @classmethod
    def setUpClass(cls):
        cls.lab = Lab('refusals', cls.hosts, watari=WATARI, watari_env=SANITIZERS)
        cls.lab.up()
        cls.addClassCleanup(cls.lab.down)
        cls.here, cls.there = cls.lab.host('hosta'), cls.lab.host('hostb')
        ticker.install(cls.lab)
        cls.make_places()
        cls.vm = 'v'
        cls.start_vm('v', uuid=UUID)

    @classmethod
    def make_places(cls):
        """Whatever the cases need at the hosts."""

    @classmethod
    def start_vm(cls, name, how='create', log=None, **differences):
        cls.log = log or f'/lab/shared/ticks-{name}'
        cls.here.write_text('/root/vm.xml', ticker.domain(name, log=cls.log, **differences))
        cls.here.virsh(how, '/root/vm.xml')

    # ---- looking ----

    def watari(self, *words, at='hosta', env=None, timeout=150):
        return self.lab.node(at).run(['watari', 'migrate', *words], check=False, timeout=timeout, env=env)

    def vm_now(self):
        """What a VM that was left alone keeps."""
        questions = '; '.join(f'{word} {self.vm}' for word in ('domstate --reason', 'dominfo', 'domjobinfo', 'dumpxml'))
        said = self.here.virsh(questions, check=False).stdout
        pid = f'/run/libvirt/qemu/{self.vm}.pid'
        return (re.sub(r'(CPU time|Time elapsed|Data|File|Disk).*', '', said),
                self.here.read_text(pid) if self.here.exists(pid) else None)

    def on_wire(self):
        """Bytes and packets on the migration network so far, at both hosts."""
        numbers = []
        for host in (self.here, self.there):
            text = pathlib.Path(f'/proc/{host.pid}/net/dev').read_text()
            numbers.append([int(word) for word in re.search(r'mig0:(.*)', text)[1].split()])
        return numbers

    def left(self):
        """What must not stay: processes, sockets, states, tokens."""
        found = []
        for node in (self.here, self.there, self.lab.admin):
            found += [line for _, line in node.processes('watari') if 'watari_lab' not in line and 'nsenter' not in line]
            found += [path for path in ('/run/watari', '/run/libvirt/watari', '/tmp/pwned', '/root/pwned')
                      if node.exists(path)]
            for place in ('/lab/images', '/lab/shared'):
                if os.path.isdir(node.path(place)):
                    found += [name for name in os.listdir(node.path(place)) if '.watari-' in name]
        return found

    def expect_nothing_left(self):
        limit = time.monotonic() + 20
        while (left := self.left()) and time.monotonic() < limit:
            time.sleep(0.1)
        self.assertEqual(left, [])

    def expect_message(self, done, case):
        report = json.loads(done.stdout)
        self.assertEqual((done.returncode, report['exit_code'], report['outcome'], report['error']['class'],
                          report['failed_phase'], report['bytes']['stream']), (3, 3, 'refused', 'refused', case.phase, 0),
                         done.stderr)
        what, following = report['error']['what'], report['error']['next']
        for word in case.what:
            self.assertIn(word, what)
        for word in case.next:
            self.assertIn(word, following or '')
        self.assertTrue(done.stderr.endswith(f'watari: {what}\n        {following}\n'), done.stderr)
        return report

    def check(self, case):
        with contextlib.ExitStack() as stack:
            if case.vm is not None:
                stack.callback(self.end_vm)
                type(self).vm = 'vm'
                self.start_vm('vm', how='define' if case.off else 'create', **case.vm)
            if case.prepare:
                stack.enter_context(case.prepare(self))
            before, wire = self.vm_now(), self.on_wire()
            vms_there = self.there.virsh('list', '--all', '--name', check=False).stdout
            words = [re.sub(r'^(hosta:)?v$', rf'\g<1>{self.vm}', word) for word in case.words]
            report = self.expect_message(self.watari(*words, *LINK, at=case.at), case)
            after = self.on_wire()
            for now, was in zip(after, wire):
                size, frames = (now[0] + now[8] - was[0] - was[8], now[1] + now[9] - was[1] - was[9])
                if case.linked:
                    self.assertLess(size, HANDSHAKE)
                else:
                    self.assertEqual(size, frames * ARP_FRAME, 'more than the kernels themselves say was on the link')
            self.assertEqual(self.vm_now(), before)
            self.assertEqual(self.there.virsh('list', '--all', '--name', check=False).stdout, vms_there)
            if not case.off:
                self.assertTrue(ticker.goes_on(self.lab, self.log), 'the VM does not run on')
            self.expect_nothing_left()
            return report

    def end_vm(self):
        self.here.virsh('destroy', self.vm, check=False)
        self.here.virsh('undefine', self.vm, '--snapshots-metadata', check=False)
        self.back_to_v()

    def back_to_v(self):
        type(self).vm, type(self).log = 'v', '/lab/shared/ticks-v'


def add_cases(test_class, cases):
    """A method for each, so that each is told of by itself."""
    def method(case):
        return lambda test: test.check(case)
    for case in cases:
        name = re.sub(r'\W+', '_', case.name).strip('_').lower()
        setattr(test_class, f'test_{name}', method(case))
