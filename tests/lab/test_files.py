#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Everything of a VM that is a file of its host: disks of all kinds, images that are only read, the variables of the
firmware, the keys of a TPM. Each is at the destination afterwards, with the same content, where the definition there says;
after a failure or a rehearsal nothing of it is; and what was private to the VM leaves the source.

The VM is the ticking ROM, in flash, so that it has variables; hosta's QEMU is root, hostb's is Debian's own user."""
import base64
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree
import xml.sax.saxutils

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / 'lab'), str(TOP / 'tests' / 'lab')]

import ticker  # noqa: E402
from watari_lab import HostSpec, Lab, disks  # noqa: E402

TIME_LIMIT_S = 400

WATARI = os.environ.get('WATARI_TEST_BINARY', str(TOP / 'build-asan' / 'src' / 'cli' / 'watari'))
SANITIZERS = {name: os.environ[name] for name in ('ASAN_OPTIONS', 'UBSAN_OPTIONS') if name in os.environ}
MIGRATED, REFUSED, FAILED = 0, 3, 4
UUID = '5761746a-7269-4c61-8262-0000000f11e5'
ODD = '/lab/images/Windows 10, v1:2 é%20&\'x"'
ISO, SUBCLUSTERS, FLOPPY, FIXED = f'{ODD}.iso', f'{ODD}.qcow2', '/lab/images/boot.img', '/lab/images/fixed.qcow2'
FIXED_BASE, KERNEL = '/lab/images/fixed-base.raw', '/lab/images/vmlinuz '
FLASH, TEMPLATE, NVRAM = '/lab/shared/t.fd', '/lab/shared/v.fd', '/lab/images/f_VARS.fd'
TPM = f'/var/lib/libvirt/swtpm/{UUID}'
FLASH_BYTES = 256 * 1024


def disk(path, target, bus, kind='raw', device='disk', readonly=False, inner=''):
    name = xml.sax.saxutils.quoteattr(path)
    return (f"<disk type='file' device='{device}'><driver name='qemu' type='{kind}'/><source file={name}>{inner}</source>"
            f"<target dev='{target}' bus='{bus}'/>{'<readonly/>' if readonly else ''}</disk>")


class FileLab(unittest.TestCase):
    """A lab with the VM "f", and what is looked at."""
    maxDiff = None
    name = 'f'
    log = '/lab/shared/ticks'
    lab_name = 'files'
    flash = True  # libvirt makes no snapshots inside of images where the firmware is in flash
    writes = 0  # pages that it writes to at each tick

    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(f'{cls.lab_name}{os.getpid() % 10000}', [HostSpec('hosta'), HostSpec('hostb', unprivileged=True)],
                      watari=WATARI, watari_env=SANITIZERS)
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        cls.prepare(cls.lab.host('hosta'))

    @classmethod
    def install_flash(cls, node):
        with tempfile.TemporaryDirectory() as work:
            rom = ticker.assemble(work, cls.writes).read_bytes()
        node.write_bytes(FLASH, bytes(FLASH_BYTES - len(rom)) + rom)
        node.write_bytes(TEMPLATE, b'template'.ljust(FLASH_BYTES, b'\0'))

    @classmethod
    def define(cls, node, devices, memory=64):
        text = ticker.domain(cls.name, uuid=UUID, memory=memory, devices=devices, log=cls.log)
        if cls.flash:
            text = text.replace(f"<loader readonly='yes' type='rom'>{ticker.ROM}</loader>",
                                f"<loader readonly='yes' type='pflash'>{FLASH}</loader><nvram template='{TEMPLATE}'>{NVRAM}</nvram>")
        node.write_text('/root/f.xml', text)
        node.virsh('define', '/root/f.xml')

    def setUp(self):
        self.here, = (node for node in self.lab.hosts if self.state(node))
        self.there, = (node for node in self.lab.hosts if node is not self.here)
        self.before_there = disks.listing(self.there, '/lab/images', '/var/lib/libvirt/swtpm')

    def state(self, node):
        return node.virsh('domstate', self.name, check=False).stdout.strip()

    def run_watari(self, command, *options):
        done = self.here.run(['watari', command, self.name, self.there.name, '--json', *options], check=False, timeout=150)
        self.assertTrue(done.stdout, done.stderr)
        report = json.loads(done.stdout)
        report['said'] = done.stderr
        report['by_target'] = {disk['target']: disk for disk in report['disks'] or ()}
        return report

    def move(self, *options):
        live = not {'--offline', 'quick'} & set(options)
        report = self.run_watari('migrate', *options, *(['--max-downtime', '20s'] if live else []))
        self.assertEqual(report['exit_code'], MIGRATED, report['said'])
        self.assertEqual(self.state(self.here), '')
        return report

    def refused(self, *options, what=()):
        """Nothing has happened."""
        before = self.state(self.here)
        report = self.run_watari('migrate', *options)
        self.assertEqual((report['exit_code'], report['failed_phase'] in ('check', 'share', 'disks')), (REFUSED, True),
                         report['said'])
        for word in what:
            self.assertIn(word, report['error']['what'])
        self.assertEqual(self.state(self.here), before)
        self.assertEqual(disks.listing(self.there, '/lab/images', '/var/lib/libvirt/swtpm'), self.before_there)
        return report

    def digest(self, node, path):
        with open(node.path(path), 'rb') as file:
            return hashlib.file_digest(file, 'sha256').hexdigest() if hasattr(hashlib, 'file_digest') else \
                hashlib.sha256(file.read()).hexdigest()

    def sources(self, node, inactive=False):
        text = node.virsh('dumpxml', self.name, *(['--inactive'] if inactive else [])).stdout
        found = {}
        for each in xml.etree.ElementTree.fromstring(text).findall('devices/disk'):
            source = each.find('source')
            found[each.find('target').get('dev')] = source.get('file') if source is not None else None
        return found

    def goes_on(self):
        self.assertTrue(ticker.goes_on(self.lab, self.log))

    def forget(self, node, *paths):
        node.run(['rm', '-rf', '--', *paths])


class Files(FileLab):
    """Running: live, rehearsed, quick; then off."""

    writes = 1000  # or there would be too little to rehearse with
    READ = (ISO, FLOPPY, FIXED, FIXED_BASE)

    @classmethod
    def prepare(cls, node):
        cls.install_flash(node)
        node.run(['mkdir', '-p', '/lab/images'])
        for number, path in enumerate((ISO, FLOPPY)):
            node.write_bytes(path, hashlib.sha512(path.encode()).digest() * (3000 + number * 15040 if number == 0 else 23040))
        os.truncate(node.path(FLOPPY), 1440 * 1024)
        disks.make(node, FIXED_BASE, 8, parts=[(0, b'base' * 1000)])
        node.run(['qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', FIXED_BASE, FIXED])
        node.run(['qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'extended_l2=on,cluster_size=128k,lazy_refcounts=on',
                  SUBCLUSTERS, '16M'])
        node.run(['qemu-io', '-f', 'qcow2', '-c', 'write -P 0x5a 1M 300k', SUBCLUSTERS])
        cls.define(node, disk(SUBCLUSTERS, 'vda', 'virtio', 'qcow2') + disk(ISO, 'sda', 'sata', device='cdrom', readonly=True) +
                   disk(FLOPPY, 'fda', 'fdc', device='floppy', readonly=True) + disk(FIXED, 'vdb', 'virtio', 'qcow2', readonly=True) +
                   "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>")
        node.virsh('start', cls.name)
        cls.contents = {path: pathlib.Path(node.path(path)).read_bytes() for path in cls.READ}

    def assert_read_files(self, node, moved=()):
        for path in self.READ:
            with open(node.path(dict(moved).get(path, path)), 'rb') as file:
                self.assertEqual(file.read() == self.contents[path], True, path)

    def assert_all_there(self, report, moved=()):
        self.assert_read_files(self.there, moved)
        for target in ('sda', 'fda', 'vdb'):
            self.assertEqual((report['by_target'][target]['kind'], report['by_target'][target]['proven']), ('carried', True))
            self.assertGreater(report['by_target'][target]['bytes'], 0)
        self.assertEqual(report['by_target']['vda']['kind'], 'copied')
        self.assertEqual(disks.differing(self.here, SUBCLUSTERS, self.there, SUBCLUSTERS), [])
        data = disks.info(self.there, SUBCLUSTERS)
        traits = data['format-specific']['data']
        self.assertEqual((traits['extended-l2'], traits['lazy-refcounts'], data['cluster-size']), (True, True, 128 * 1024))
        # nothing of the VM's own is left: old variables, and keys
        self.assertTrue(self.there.exists(NVRAM))
        self.assertFalse(self.here.exists(NVRAM))
        self.assertTrue(self.there.exists(TPM))
        self.assertFalse(self.here.exists(TPM))

    def test_1_planned_and_rehearsed(self):
        """What would be carried is said; a rehearsal carries it, and leaves nothing."""
        for command in (['plan'], ['rehearse', '--bandwidth', '2M']):
            report = self.run_watari(*command)
            self.assertEqual(report['exit_code'], 0, report['said'])
            self.assertEqual({target: row['kind'] for target, row in report['by_target'].items()},
                             {'vda': 'copied', 'sda': 'carried', 'fda': 'carried', 'vdb': 'carried'})
            self.assertEqual(report['by_target']['sda']['size'], len(self.contents[ISO]))
            self.assertEqual(disks.listing(self.there, '/lab/images', '/var/lib/libvirt/swtpm'), self.before_there)
        self.goes_on()

    def test_1_closed_directory(self):
        """QEMU's own user must come to all of it; whoever overrules that gets a failure that names the right host."""
        self.there.run(['mkdir', '-p', '-m', '700', '/lab/images/closed'])
        self.addCleanup(self.forget, self.there, '/lab/images/closed')
        self.before_there = disks.listing(self.there, '/lab/images', '/var/lib/libvirt/swtpm')
        report = self.refused('--disk', 'vda=/lab/images/closed/d.qcow2', '--disk', 'sda=/lab/images/closed/cd.iso',
                              what=("QEMU's user at hostb (", 'may not enter the directory /lab/images/closed,'))
        closed = {row['check'] for row in report['checks'] if row['result'] == 'refuse'}
        self.assertEqual(closed, {'access:vda', 'access:sda'})
        self.assertIn('chmod o+x', report['error']['next'])
        self.there.run(['chmod', '700', '/lab/images'])
        self.addCleanup(self.there.run, ['chmod', '755', '/lab/images'])
        report = self.refused(what=('may not enter the directory /lab/images,',))
        closed = {row['check'] for row in report['checks'] if row['result'] == 'refuse'}
        self.assertEqual(closed, {f'access:{name}' for name in ('vda', 'sda', 'fda', 'vdb', 'nvram')})
        report = self.run_watari('migrate', *(word for name in sorted(closed) for word in ('--accept', name)))
        self.assertEqual((report['exit_code'], report['failed_phase']), (FAILED, 'perform'), report['said'])
        self.assertIn('hostb', report['error']['next'])
        self.assertEqual(disks.listing(self.there, '/lab/images', '/var/lib/libvirt/swtpm'), self.before_there)
        self.goes_on()

    def test_2_live(self):
        was = self.sources(self.here)
        report = self.move()
        self.assert_all_there(report)
        self.assertEqual(self.sources(self.there), was)
        self.goes_on()
        # it can be started again there, with all that its definition names
        self.there.virsh('destroy', self.name)
        self.there.virsh('start', self.name)
        self.goes_on()

    def test_3_what_is_there_already(self):
        """The same is used, another one is refused, and another place may be named."""
        self.forget(self.there, FLOPPY, FIXED, FIXED_BASE, SUBCLUSTERS)
        with open(self.there.path(ISO), 'ab') as file:
            file.write(b'another')
        self.before_there = disks.listing(self.there, '/lab/images', '/var/lib/libvirt/swtpm')
        self.refused(what=(ISO, self.there.name))
        other = '/lab/images/other place.iso'
        self.there.run(['chmod', '644', ISO])
        report = self.move('--disk', f'sda={other}')
        self.assert_all_there(report, [(ISO, other)])
        self.assertEqual(self.sources(self.there)['sda'], other)
        self.assertEqual(self.sources(self.there, inactive=True)['sda'], other)
        self.goes_on()
        self.there.virsh('change-media', self.name, 'sda', '--eject', '--live', '--config')
        self.forget(self.there, other, ISO)
        self.there.write_bytes(ISO, self.contents[ISO])
        self.there.virsh('change-media', self.name, 'sda', ISO, '--insert', '--live', '--config')

    def test_4_quick(self):
        self.forget(self.there, *self.READ, SUBCLUSTERS)
        self.assert_all_there(self.move('--strategy', 'quick', '--yes'))
        self.goes_on()

    def test_5_off(self):
        """Variables and keys go along as they are; older ones that lie there are never taken."""
        self.here.virsh('destroy', self.name)
        self.forget(self.there, *self.READ, SUBCLUSTERS)
        with open(self.here.path(NVRAM), 'r+b') as file:
            file.write(b'what the guest has set')
        self.there.write_bytes(NVRAM, b'old'.ljust(FLASH_BYTES, b'\0'))
        self.there.run(['mkdir', '-p', f'{TPM}/tpm2'])
        self.there.write_text(f'{TPM}/tpm2/tpm2-00.permall', 'old keys')
        variables = self.digest(self.here, NVRAM)
        keys = self.digest(self.here, f'{TPM}/tpm2/tpm2-00.permall')
        owner = self.here.run(['stat', '-c', '%U %a', f'{TPM}/tpm2/tpm2-00.permall']).stdout
        report = self.move('--offline')
        self.assertEqual(self.digest(self.there, NVRAM), variables)
        self.assertEqual(self.digest(self.there, f'{TPM}/tpm2/tpm2-00.permall'), keys)
        self.assertEqual(self.there.run(['stat', '-c', '%U %a', f'{TPM}/tpm2/tpm2-00.permall']).stdout, owner)
        self.assert_all_there(report)
        kept = [note for note in report['notes'] if 'kept as' in note]
        self.assertEqual(len(kept), 2, report['notes'])
        self.there.virsh('start', self.name)
        self.goes_on()

    def test_6_broken_off(self):
        """What was carried is removed, and what was set aside comes back."""
        self.forget(self.there, *self.READ, SUBCLUSTERS)
        old = b'older'.ljust(FLASH_BYTES, b'\0')
        self.there.write_bytes(NVRAM, old)
        before = disks.listing(self.there, '/lab/images')
        report = self.cancelled()
        self.assertNotEqual(report['exit_code'], 0)
        self.assertEqual(disks.listing(self.there, '/lab/images'), before)
        with open(self.there.path(NVRAM), 'rb') as file:
            self.assertEqual(file.read() == old, True)
        self.goes_on()

    def cancelled(self):
        """A move that is ended once the files are there."""
        argv = ['watari', 'migrate', self.name, self.there.name, '--json', '--bandwidth', '100k']
        moving = self.here.popen(argv, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        end = time.monotonic() + 60
        while not self.there.exists(FLOPPY) and moving.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        moving.send_signal(signal.SIGINT)
        out, said = moving.communicate(timeout=60)
        report = json.loads(out)
        report['said'] = said
        return report


class Inside(FileLab):
    """What is inside of images: encrypted ones (bare and in qcow2), and snapshots."""

    lab_name, flash = 'inside', False
    writes = 1000  # or there would be too little to rehearse with
    BARE, LOCKED, PLAIN = '/lab/images/bare.luks', '/lab/images/locked.qcow2', '/lab/images/plain.qcow2'
    SECRET, PASSPHRASE = '5761746a-7269-4c61-8262-00000005ec7e', 'an open & "secret"'
    SECRET_XML = (f"<secret ephemeral='no' private='no'><uuid>{SECRET}</uuid><description>of “f” &amp; its disks</description>"
                  "<usage type='volume'><volume>luks of f</volume></usage></secret>")

    @staticmethod
    def make(node, *words):
        """An image. Where the kernel counts no time for its first trial of the key, qemu-img gives up (“Unable to get accurate
        CPU usage”): then once more."""
        for left in reversed(range(5)):
            done = node.run(['qemu-img', 'create', '-q', *words], check=False)
            if done.returncode == 0 or not left or 'CPU usage' not in done.stderr:
                break
        if done.returncode:
            raise AssertionError(done.stderr)

    @classmethod
    def prepare(cls, node):
        ticker.install(cls.lab, cls.writes)
        for host in cls.lab.hosts:
            host.run(['mkdir', '-p', '/lab/images'])
            host.write_text('/root/secret.key', cls.PASSPHRASE, 0o600)
            host.write_text('/root/secret.xml', cls.SECRET_XML)
        node.virsh('secret-define', '/root/secret.xml')
        node.virsh('secret-set-value', cls.SECRET, '--plain', '--file', '/root/secret.key')
        key = 'secret,id=k,file=/root/secret.key'
        cls.make(node, '--object', key, '-f', 'luks', '-o', 'key-secret=k,iter-time=10', cls.BARE, '8M')
        cls.make(node, '--object', key, '-f', 'qcow2', '-o',
                 'encrypt.format=luks,encrypt.key-secret=k,encrypt.iter-time=10,extended_l2=on', cls.LOCKED, '8M')
        for path in (cls.BARE, cls.LOCKED):
            cls.io(node, path, 'write -P 0 0 8M')  # what a bare LUKS holds before reads as anything
            cls.io(node, path, 'write -P 0x5a 1M 300k')
        cls.define(node, cls.encrypted(cls.BARE, 'vda', 'raw') + cls.encrypted(cls.LOCKED, 'vdb', 'qcow2'))
        node.virsh('start', cls.name)

    @classmethod
    def encrypted(cls, path, target, kind):
        return disk(path, target, 'virtio', kind, inner="<encryption format='luks'><secret type='passphrase' "
                    f"uuid='{cls.SECRET}'/></encryption>")

    @classmethod
    def io(cls, node, path, command):
        driver = 'luks,key-secret=k' if path == cls.BARE else 'qcow2,encrypt.format=luks,encrypt.key-secret=k'
        options = ['-r', '-U'] if command.startswith('read') else []
        return node.run(['qemu-io', *options, '--object', 'secret,id=k,file=/root/secret.key', '--image-opts', '-c', command,
                         f'driver={driver},file.filename={path}'])

    def assert_readable(self, node):
        for path in (self.BARE, self.LOCKED):
            for what in ('read -P 0x5a 1M 300k', 'read -P 0 2M 4M', 'read -P 0 0 1M'):
                said = self.io(node, path, what)
                self.assertNotIn('verification failed', said.stdout + said.stderr, (path, what))
            self.assertNotIn(b'Z' * 64, pathlib.Path(node.path(path)).read_bytes(), 'it is not encrypted')

    # ---- the secret: hostb does not have it ----

    def secrets(self, node):
        return [line.split()[0] for line in node.virsh('secret-list').stdout.splitlines()[2:] if line.split()]

    def value(self, node):
        return node.virsh('secret-get-value', self.SECRET, '--plain').stdout.strip('\n')

    def leaks(self):
        """Where the passphrase stands that libvirt does not keep itself: what the programs write, and their reports."""
        word = base64.b64encode(self.PASSPHRASE.encode()).decode()
        places = ('/var/lib/watari', '/run/watari', '/tmp', '/var/log', '/root')
        return [(node.name, line) for node in self.lab.hosts for text in (word, self.PASSPHRASE) for line in
                node.run(['grep', '-rlF', '--exclude=secret.key', '-e', text, *places], check=False).stdout.splitlines()]

    def test_0_carried_and_removed(self):
        """A plan and a refusal carry nothing; what failed, was rehearsed or was killed in the middle leaves nothing."""
        report = self.run_watari('plan')
        row, = (row for row in report['checks'] if row['check'] == f'secret:{self.SECRET}')
        self.assertEqual((row['result'], self.secrets(self.there)), ('pass', []), row)
        self.assertIn('is given the secret', row['what'])
        report = self.refused('--no-secrets', what=(self.SECRET, 'hostb', '--no-secrets'))
        self.assertIn(f'--accept secret:{self.SECRET}', report['error']['next'])
        report = self.run_watari('rehearse', '--bandwidth', '2M', '--max-time', '2s')
        self.assertEqual((report['exit_code'], self.secrets(self.there)), (0, []), report['said'])
        self.killed()
        self.assertEqual(self.secrets(self.there), [self.SECRET])
        done = self.here.run(['watari', 'resolve', self.name, '--json'], check=False, timeout=60)
        self.assertEqual((done.returncode, self.secrets(self.there)), (0, []), done.stderr)
        self.assertEqual(disks.listing(self.there, '/lab/images', '/var/lib/libvirt/swtpm'), self.before_there)
        self.assertEqual(self.leaks(), [])

    def killed(self):
        """A move whose conductor dies when the secret is there."""
        argv = ['watari', 'migrate', self.name, self.there.name, '--json', '--bandwidth', '1M', '--disk-bandwidth', '100k']
        moving = self.here.popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while not (self.secrets(self.there) and self.there.exists(self.LOCKED)) and time.monotonic() < end:
            time.sleep(0.05)
        moving.kill()
        moving.wait()

    def test_1_live(self):
        """Each QEMU has a LUKS of its own, opened with the same passphrase, which nobody sees on the way."""
        report = self.move('--verify-disks', 'full')
        self.assertEqual((report['carried'], self.value(self.there)), (['secrets'], self.PASSPHRASE))
        told, was = (node.virsh('secret-dumpxml', self.SECRET).stdout for node in (self.there, self.here))
        self.assertEqual((told, self.leaks()), (was, []))
        self.assertEqual({row['kind'] for row in report['disks']}, {'copied'})
        self.assert_readable(self.there)
        self.goes_on()
        traits = disks.info(self.there, self.LOCKED)
        self.assertTrue(traits['encrypted'] and traits['format-specific']['data']['extended-l2'])
        self.there.virsh('destroy', self.name)
        self.there.virsh('start', self.name)
        self.goes_on()

    def test_2_a_private_passphrase(self):
        """libvirt does not give it away, so there can be no copy while the VM runs."""
        text = self.here.virsh('secret-dumpxml', self.SECRET).stdout.replace("private='no'", "private='yes'")
        self.there.run(['sh', '-c', f'echo -n other >/root/other.key; virsh secret-set-value {self.SECRET} --plain --file /root/other.key'])
        self.refused(what=(self.SECRET, 'has another value at hosta than at hostb'))
        self.there.virsh('secret-set-value', self.SECRET, '--plain', '--file', '/root/secret.key')
        self.forget(self.there, self.BARE, self.LOCKED)
        self.before_there = disks.listing(self.there, '/lab/images', '/var/lib/libvirt/swtpm')
        self.here.write_text('/root/private.xml', text)
        self.here.virsh('secret-define', '/root/private.xml')
        report = self.refused(what=('vda', 'passphrase'))
        self.assertIn('--offline', report['error']['next'])
        self.there.virsh('secret-undefine', self.SECRET)
        report = self.refused(what=(self.SECRET, 'hosta does not have', 'private'))
        self.assertIn('virsh secret-define', report['error']['next'])
        self.here.virsh('secret-undefine', self.SECRET)
        self.here.virsh('secret-define', '/root/secret.xml')
        self.here.virsh('secret-set-value', self.SECRET, '--plain', '--file', '/root/secret.key')

    def test_3_off_with_snapshots(self):
        """As they are: the same bytes, and the snapshots that are inside."""
        self.here.virsh('destroy', self.name)
        self.forget(self.there, self.BARE, self.LOCKED)
        self.here.run(['qemu-img', 'create', '-q', '-f', 'qcow2', self.PLAIN, '8M'])
        self.here.run(['qemu-io', '-f', 'qcow2', '-c', 'write -P 0x11 0 64k', self.PLAIN])
        self.here.write_text('/root/plain.xml', disk(self.PLAIN, 'vdc', 'virtio', 'qcow2'))
        self.here.virsh('detach-disk', self.name, 'vda', '--config')
        self.here.virsh('detach-disk', self.name, 'vdb', '--config')
        self.here.virsh('attach-device', self.name, '/root/plain.xml', '--config')
        self.here.virsh('snapshot-create-as', self.name, 'before')
        self.here.run(['qemu-io', '-f', 'qcow2', '-c', 'write -P 0x22 0 64k', self.PLAIN])
        for path, target, kind in ((self.BARE, 'vda', 'raw'), (self.LOCKED, 'vdb', 'qcow2')):
            self.here.write_text('/root/disk.xml', self.encrypted(path, target, kind))
            self.here.virsh('attach-device', self.name, '/root/disk.xml', '--config')
        report = self.move('--offline')
        self.assertEqual({row['kind'] for row in report['disks']}, {'copied'})
        for path in (self.BARE, self.LOCKED, self.PLAIN):
            self.assertEqual(self.digest(self.here, path), self.digest(self.there, path), path)
        self.assertEqual(self.there.virsh('snapshot-list', self.name, '--name').stdout.split(), ['before'])
        self.there.virsh('snapshot-revert', self.name, 'before')
        self.there.run(['qemu-io', '-f', 'qcow2', '-c', 'read -P 0x11 0 64k', self.PLAIN])
        self.assert_readable(self.there)


del FileLab  # or its (empty) self would be run too

if __name__ == '__main__':
    unittest.main()
