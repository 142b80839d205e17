# SPDX-License-Identifier: Apache-2.0
"""What the tests of moving disks share: a lab, a guest that writes and verifies all its disks while they move, and what
must be true of the images, the report and the hosts afterwards."""
import json
import os
import pathlib
import sys
import time
import unittest
import xml.etree.ElementTree

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / 'lab'))

from watari_lab import HostSpec, Lab, disks, guest  # noqa: E402

WATARI = os.environ.get('WATARI_TEST_BINARY', str(TOP / 'build-asan/src/cli/watari'))
SANITIZERS = {name: os.environ[name] for name in ('ASAN_OPTIONS', 'UBSAN_OPTIONS') if name in os.environ}
MIGRATED, WRONG_WORDS, REFUSED, FAILED = 0, 2, 3, 4
RATE = 40  # blocks a second that the guest writes on each disk
MIB = 1 << 20


def words(**more):
    """Kernel words of a guest whose disks were made by disks.make()."""
    settings = {'disk_set': disks.AREA_MIB, 'disk_rate': RATE, 'mem': 16, **more}
    return ' '.join(f'watari.{key}={value}' for key, value in settings.items())


class DiskLab(unittest.TestCase):
    """One guest serves the tests of a class: each moves it from where it is to the other host."""

    lab_name = 'disks'
    vm = 'd1'

    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(f'{cls.lab_name}{os.getpid() % 10000}', [HostSpec('hosta'), HostSpec('hostb', unprivileged=True)],
                      watari=WATARI, watari_env=SANITIZERS)
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        cls.prepare()

    @classmethod
    def prepare(cls):
        """The images and guests that the class is about."""

    @classmethod
    def start(cls, images, name=None, **options):
        guest.start(cls.lab, 'hosta', name or cls.vm, memory_mib=96, words=words(), disks=images, **options)

    def setUp(self):
        (self.here,) = (self.lab.host(name) for name in guest.where(self.lab, self.vm))
        (self.there,) = (node for node in self.lab.hosts if node is not self.here)
        guest.load(self.lab, self.vm, disk_rate=RATE)
        self.before_here, self.before_there = disks.listing(self.here), disks.listing(self.there)

    # ---- moving ----

    def migrate(self, *options, vm=None, timeout=180, env=None):
        """The report of one move from here to there, whatever comes of it."""
        ceiling = [] if '--offline' in options else ['--max-downtime', '20s']  # what is off does not stop
        argv = ['watari', 'migrate', vm or self.vm, self.there.name, '--json', *ceiling, *options]
        done = self.here.run(argv, check=False, timeout=timeout, **({'env': env} if env else {}))
        self.assertTrue(done.stdout, f'no report; it said: {done.stderr}')
        report = json.loads(done.stdout)
        report['said'] = done.stderr
        self.assertEqual(report['exit_code'], done.returncode, done.stderr[-4000:])
        return report

    def move(self, *options, vm=None, env=None):
        """It must work while the guest writes; the report, and in it the disks by their targets."""
        vm = vm or self.vm
        before = self.writes(vm)
        report = self.migrate(*options, vm=vm, env=env)
        self.assertEqual(report['exit_code'], MIGRATED, report['said'])
        self.assertEqual(guest.where(self.lab, vm), {self.there.name: 'running'})
        now = self.writes(vm)
        for disk, count in before.items():  # the premise: it wrote to each of them meanwhile
            self.assertGreater(now[disk], count, disk)
        guest.check(self.lab, vm)
        self.assert_clean()
        report['disks'] = {disk['target']: disk for disk in report['disks']}
        return report

    def writes(self, vm):
        return {disk['name']: disk['writes'] for disk in guest.state(self.lab, vm)['disks']}

    def refused(self, *options, what=(), exit_code=REFUSED, env=None):
        """It must not work, and nothing may have happened; the report."""
        report = self.migrate(*options, env=env)
        self.assertEqual(report['exit_code'], exit_code, report['said'])
        for word in what:
            self.assertIn(word, report['error']['what'])
        self.assertEqual(guest.where(self.lab, self.vm), {self.here.name: 'running'})
        guest.check(self.lab, self.vm)
        self.assertEqual(disks.listing(self.there), self.before_there, 'images at the destination')
        self.assertEqual(disks.listing(self.here), self.before_here, 'images at the source')
        self.assert_clean()
        return report

    # ---- what must be true ----

    def sources(self, node, vm=None):
        """Where a host's libvirt says that the disks lie: {"vda": path}."""
        document = xml.etree.ElementTree.fromstring(node.virsh('dumpxml', vm or self.vm).stdout)
        found = {}
        for disk in document.findall('devices/disk'):
            source = disk.find('source')
            found[disk.find('target').get('dev')] = source.get('file') if source is not None else None
        return found

    def assert_same(self, path_here, path_there, vm=None):
        """Byte for byte, but for what the guest wrote since; whether that is right is its own check's business. Ends with
        the guest as it was."""
        self.there.virsh('suspend', vm or self.vm)
        try:
            differ = disks.differing(self.here, path_here, self.there, path_there)
        finally:
            self.there.virsh('resume', vm or self.vm)
        self.assertEqual(disks.outside_area(differ), [], f'{path_here} and {path_there} differ')
        return differ

    def assert_sparse(self, path_here, path_there):
        """The copy takes no more room than the original did (and what the guest wrote since)."""
        here, there = disks.allocated(self.here, path_here), disks.allocated(self.there, path_there)
        self.assertLess(there, here + disks.AREA_MIB * MIB + MIB)
        self.assertLess(there, disks.info(self.there, path_there)['virtual-size'] * 0.9, 'it has no holes any more')

    def left_behind(self):
        found = []
        for node in self.lab.hosts:
            found += [f'{node.name}: {line}' for _, line in node.processes('watari mover')]
            found += [f'{node.name}: {line}' for _, line in node.processes('qemu-nbd')]
            found += [f'{node.name}: {path}' for path in ('/run/watari', '/run/libvirt/watari') if node.exists(path)]
            found += [f'{node.name}: {path}' for path in disks.listing(node, '/lab/images', '/lab/shared') if '.watari-' in path]
            job = node.virsh('domjobinfo', self.vm, check=False)
            if job.returncode == 0 and 'None' not in job.stdout:
                found.append(f'{node.name}: a job: {job.stdout}')
        return found

    def assert_clean(self):
        end = time.monotonic() + 10
        while (left := self.left_behind()) and time.monotonic() < end:
            time.sleep(0.1)
        self.assertEqual(left, [])

    def forget(self, node, *paths):
        """What a user would do with the old images at last, unless the VM is still there: a move back would find them in the
        way."""
        if guest.where(self.lab, self.vm) != {node.name: 'running'}:
            node.run(['rm', '-f', *paths])


def pool(node, name, path):
    """A directory pool of a host's libvirt, which ends with the lab."""
    node.run(['mkdir', '-p', path])
    node.virsh('pool-create-as', name, 'dir', '--target', path)
    return path


def small_place(node, path, mib):
    """A file system with little room."""
    node.run(['mkdir', '-p', path])
    node.run(['mount', '-t', 'tmpfs', '-o', f'size={mib}m', 'tmpfs', path])
    return path
