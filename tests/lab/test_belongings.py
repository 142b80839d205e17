#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What belongs to a VM beside its memory and disks comes along: what libvirt itself loses on the way (docs/travels.md),
asked of real libvirts before and after moves of each kind, there and back."""
import json
import os
import pathlib
import subprocess
import sys
import time
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / 'lab'), str(TOP / 'tests' / 'lab')]

import ticker  # noqa: E402
from watari_lab import HostSpec, Lab  # noqa: E402

TIME_LIMIT_S = 400
WATARI = os.environ.get('WATARI_TEST_BINARY', str(TOP / 'build-asan/src/cli/watari'))
SANITIZERS = {name: os.environ[name] for name in ('ASAN_OPTIONS', 'UBSAN_OPTIONS') if name in os.environ}
SHARED = '/lab/shared'
MIGRATED, REFUSED = 0, 3


def disk(path, kind='qcow2', target='vda', more=''):
    return (f"<disk type='file' device='disk'><driver name='qemu' type='{kind}'/><source file='{path}'/>"
            f"<target dev='{target}' bus='virtio'/>{more}</disk>")


class Belongings(unittest.TestCase):
    """Each test defines a VM of its own at hosta."""

    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(f'bel{os.getpid() % 10000}', [HostSpec('hosta'), HostSpec('hostb', unprivileged=True)], watari=WATARI,
                      watari_env=SANITIZERS)
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        cls.here, cls.there = cls.lab.host('hosta'), cls.lab.host('hostb')
        ticker.install(cls.lab)
        for node in cls.lab.hosts:
            node.run(['mkdir', '-p', '/lab/images'])

    # ---- a VM ----

    def define(self, name, start=True, instead=(), **differences):
        """instead: pairs of texts, one to take the other's place in its description."""
        self.vm, self.log = name, f'{SHARED}/ticks-{name}'
        text = ticker.domain(name, log=self.log, **differences)
        for old, new in instead:
            self.assertIn(old, text)
            text = text.replace(old, new)
        self.here.write_text('/root/vm.xml', text)
        self.here.virsh('define', '/root/vm.xml')
        self.addCleanup(self.forget)
        if start:
            self.here.virsh('start', name)

    def forget(self):
        for node in self.lab.hosts:
            node.virsh('destroy', self.vm, check=False)
            node.virsh('undefine', self.vm, '--snapshots-metadata', '--checkpoints-metadata', '--managed-save', '--nvram',
                       check=False)

    def image(self, path, size='16M', kind='qcow2', node=None):
        node = node or self.here
        node.run(['qemu-img', 'create', '-q', '-f', kind, path, size])
        self.addCleanup(lambda: [each.run(['rm', '-f', path]) for each in self.lab.hosts])
        return path

    # ---- moving ----

    def watari(self, command, *options, source=None, destination=None, code=MIGRATED):
        source, destination = source or self.here, destination or self.there
        words = ['watari', command, self.vm, destination.name, '--json', *options]
        if command in ('migrate', 'rehearse') and '--offline' not in options:
            words += ['--max-downtime', '20s']
        done = source.run(words, check=False, timeout=150)
        self.assertEqual(done.returncode, code, done.stderr + done.stdout)
        report = json.loads(done.stdout)
        report['said'] = done.stderr
        return report

    def move(self, *options, back=False, command='migrate', off=False):
        source, destination = (self.there, self.here) if back else (self.here, self.there)
        report = self.watari(command, *options, source=source, destination=destination)
        self.assertEqual(report['outcome'], 'migrated')
        if not off:
            self.assertTrue(ticker.goes_on(self.lab, self.log))
        return report

    def findings(self, report, name):
        return [row for row in report['checks'] if row['check'] == name]

    # ---- looking ----

    def starts_with(self):
        """The hosts that would start the VM when they come up."""
        return [node.name for node in self.lab.hosts
                if self.vm in node.virsh('list', '--all', '--autostart', '--name').stdout.split()]

    def defined(self):
        return [node.name for node in self.lab.hosts
                if self.vm in node.virsh('list', '--all', '--persistent', '--name').stdout.split()]

    # ---- autostart ----

    def test_autostart(self):
        """It starts with the host where it lives, and with that one only, whichever way it came there."""
        self.define('auto')
        self.here.virsh('autostart', 'auto')
        report = self.move()
        self.assertEqual((self.starts_with(), report['carried']), (['hostb'], ['autostart']))
        self.assertIn('starts with its host', self.findings(report, 'autostart')[0]['what'])
        self.move('--yes', command='quick', back=True)
        self.assertEqual(self.starts_with(), ['hosta'])
        report = self.move('--persistent')  # the definition at the source stays
        self.assertEqual((self.defined(), self.starts_with()), (['hosta', 'hostb'], ['hostb']))
        self.here.virsh('undefine', 'auto')
        self.there.virsh('destroy', 'auto')
        self.move('--offline', back=True, off=True)
        self.assertEqual((self.defined(), self.starts_with()), (['hosta'], ['hosta']))
        self.move('--offline', '--persistent', off=True)
        self.assertEqual((self.defined(), self.starts_with()), (['hosta', 'hostb'], ['hostb']))

    def test_autostart_that_cannot_come_along(self):
        """That is said before: a VM that is not defined there cannot start with that host."""
        ticker.install(self.lab, writes=1000)  # or there would be too little to rehearse with
        self.addCleanup(ticker.install, self.lab)
        self.define('lost')
        self.here.virsh('autostart', 'lost')
        report = self.watari('plan', '--undefine-source')
        row, = self.findings(report, 'autostart')
        self.assertEqual(row['result'], 'warn')
        self.assertIn('not defined at hostb', row['what'])
        self.watari('rehearse', '--bandwidth', '2M', '--max-time', '2s')
        self.assertEqual((self.starts_with(), self.defined()), (['hosta'], ['hosta']))

    # ---- nearly nothing in its memory ----

    def test_too_little_to_rehearse(self):
        """Its zeros would be in the socket, and the VM stopped, before anything was read: refused before QEMU is asked."""
        self.define('little')
        report = self.watari('rehearse', code=REFUSED)
        self.assertIn('too little in its memory', report['error']['what'])
        self.assertNotIn('initiating migration', self.here.read_text('/var/log/libvirt/qemu/little.log'))
        self.assertEqual(self.here.virsh('domstate', 'little').stdout.strip(), 'running')

    # ---- checkpoints ----

    def write(self, node, at):
        """1 MiB, through the VM's own device."""
        node.virsh('qemu-monitor-command', self.vm, '--hmp',
                   f'qemu-io -d /machine/peripheral/virtio-disk0/virtio-backend "write -P 7 {at} 1M"')

    def backup(self, node, since, path):
        """Where an incremental one has content of its own, in MiB."""
        node.write_text('/root/backup.xml', f"<domainbackup mode='push'><incremental>{since}</incremental><disks><disk name='vda' "
                        f"type='file'><target file='{path}'/><driver type='qcow2'/></disk></disks></domainbackup>")
        self.addCleanup(node.run, ['rm', '-f', path])
        node.virsh('backup-begin', self.vm, '/root/backup.xml')
        limit = time.monotonic() + 60
        while node.virsh('backup-dumpxml', self.vm, check=False).returncode == 0:
            self.assertLess(time.monotonic(), limit, 'the backup does not end')
            time.sleep(0.1)
        self.assertIn('Completed', node.virsh('domjobinfo', self.vm, '--completed').stdout)
        found = json.loads(node.run(['qemu-img', 'map', '-U', '--output=json', path]).stdout)
        return [part['start'] >> 20 for part in found if part['data'] and part['depth'] == 0]

    def checkpoints(self, node):
        return node.virsh('checkpoint-list', self.vm, '--tree', check=False).stdout.split()

    def carry_checkpoints(self, place):
        self.define('chk', devices=disk(self.image(f'{place}/chk.qcow2')))
        self.here.virsh('checkpoint-create-as', 'chk', 'one')
        self.write(self.here, '2M')
        self.here.virsh('checkpoint-create-as', 'chk', 'two')
        self.write(self.here, '5M')
        report = self.move('--persistent')
        self.assertEqual(report['carried'], ['checkpoints'], report['notes'])
        self.assertEqual(self.checkpoints(self.here), [], 'of bitmaps that the other host goes on with')
        self.assertIn('one, two', self.findings(report, 'checkpoints')[0]['what'])
        self.assertEqual(self.checkpoints(self.there), ['one', '|', '+-', 'two'])
        self.assertEqual(self.backup(self.there, 'one', f'{SHARED}/since-one'), [2, 5])
        self.assertEqual(self.backup(self.there, 'two', f'{SHARED}/since-two'), [5])

    def test_checkpoints_of_a_shared_image(self):
        """Incremental backups go on."""
        self.carry_checkpoints(SHARED)

    def test_checkpoints_of_a_copied_image(self):
        """The bitmaps travel with it."""
        self.carry_checkpoints('/lab/images')

    def test_checkpoints_of_a_vm_that_is_off(self):
        """libvirt cannot take them, so the move needs a word from whoever makes the backups."""
        self.define('choff', devices=disk(self.image(f'{SHARED}/choff.qcow2')))
        self.here.virsh('checkpoint-create-as', 'choff', 'one')
        self.here.virsh('destroy', 'choff')
        report = self.watari('migrate', '--offline', code=REFUSED)
        self.assertIn('incremental backups', report['error']['what'])
        self.assertEqual((self.defined(), self.checkpoints(self.here)), (['hosta'], ['one']))
        self.move('--offline', '--accept', 'checkpoints', off=True)
        self.assertEqual(self.defined(), ['hostb'])

    # ---- the definition that differs from what runs ----

    def test_definition(self):
        """What only the definition has is said by its name, and the VM starts anew at the destination all the same."""
        self.image('/lab/images/x.iso', '1M', 'raw')
        self.image('/lab/images/own.qcow2')
        cd = "<disk type='file' device='cdrom'><source file='/lab/images/x.iso'/><target dev='sda' bus='sata'/></disk>"
        self.define('def', devices=disk('/lab/images/own.qcow2') + cd)
        self.here.virsh('change-media', 'def', 'sda', '--eject', '--live')
        report = self.move('--disk', 'vda=/lab/images/new.qcow2')
        self.addCleanup(self.there.run, ['rm', '-f', '/lab/images/new.qcow2'])
        row, = self.findings(report, 'disk:sda')[1:]
        self.assertEqual(row['result'], 'warn')
        self.assertIn('when it is started next', row['what'])
        self.assertIn('/lab/images/x.iso', row['what'])
        self.assertIn('x.iso', str(report['notes']))
        self.there.virsh('destroy', 'def')
        self.there.virsh('start', 'def')
        self.assertTrue(ticker.goes_on(self.lab, self.log))
        self.assertIn('/lab/images/x.iso', self.there.virsh('dumpxml', '--inactive', 'def').stdout)

    def test_definition_names_what_is_not_there(self):
        self.here.run(['ip', 'link', 'add', 'br-x', 'type', 'bridge'])
        self.addCleanup(self.here.run, ['ip', 'link', 'del', 'br-x'])
        self.define('names', devices=disk(self.image(f'{SHARED}/live.qcow2')))
        self.here.virsh('attach-interface', 'names', 'bridge', 'br-x', '--config')
        config = self.here.virsh('dumpxml', '--inactive', 'names').stdout
        block = self.block_device()
        config = config.replace('</disk>', f"</disk><disk type='block' device='disk'><source dev='{block}'/><target dev='vdb' "
                                "bus='virtio'/></disk>", 1)
        self.here.write_text('/root/other.xml', config)
        self.here.virsh('define', '/root/other.xml')
        report = self.watari('plan')
        rows = {row['check']: row for row in report['checks'] if row['result'] == 'warn'}
        self.assertIn('br-x', rows['network:br-x']['what'])
        self.assertIn(block, rows['disk:vdb']['what'])
        self.assertIn('is not copied', rows['disk:vdb']['next'])
        for check in ('network:br-x', 'disk:vdb'):
            self.assertIn('when it is started next', rows[check]['what'])
        self.move('--network', 'br-x=br-svc')
        self.assertIn("bridge='br-svc'", self.there.virsh('dumpxml', '--inactive', 'names').stdout)

    def block_device(self):
        """One that only hosta has."""
        self.here.run(['mknod', '/dev/onlyhere', 'b', '7', '99'])
        self.addCleanup(self.here.run, ['rm', '-f', '/dev/onlyhere'])
        return '/dev/onlyhere'

    def test_disk_of_the_definition(self):
        """A disk that only the definition has is copied, with what it stands on; another one of that name is never taken."""
        paths = [self.image('/lab/images/base.raw', '8M', 'raw'), '/lab/images/next.qcow2', self.image('/lab/images/more.raw', '8M', 'raw')]
        self.addCleanup(lambda: [node.run(['rm', '-f', *paths]) for node in self.lab.hosts])
        self.here.run(['qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', paths[0], paths[1]])
        self.here.run(['qemu-io', '-f', 'qcow2', '-c', 'write -P 9 1M 64k', paths[1]])
        self.here.run(['qemu-io', '-f', 'raw', '-c', 'write -P 8 2M 64k', paths[2]])
        self.define('next', devices=disk(self.image(f'{SHARED}/next-live.qcow2')))
        config = self.here.virsh('dumpxml', '--inactive', 'next').stdout.replace(f'{SHARED}/next-live.qcow2', paths[1])
        self.here.write_text('/root/next.xml', config.replace('</disk>', '</disk>' + disk(paths[2], 'raw', 'vdb'), 1))
        self.here.virsh('define', '/root/next.xml')
        self.there.run(['sh', '-c', f'echo another >{paths[2]}'])
        report = self.watari('migrate', code=REFUSED)
        self.assertIn(f'{paths[2]} (definition:vdb) at hostb is another one', report['error']['what'])
        self.there.run(['rm', paths[2]])
        report = self.watari('plan')
        self.assertEqual([self.there.exists(path) for path in paths], [False] * 3)
        said = [row['what'] for row in self.findings(report, 'definition') if row['what']]
        self.assertEqual([any(path in what for what in said) for path in paths[1:]], [True, True], said)
        self.killed_when(lambda: self.there.exists(paths[2]))
        self.here.run(['watari', 'resolve', self.vm], timeout=60)
        self.assertEqual([self.there.exists(path) for path in paths], [False] * 3)
        self.move()
        for path in paths:
            with open(self.here.path(path), 'rb') as here, open(self.there.path(path), 'rb') as there:
                self.assertEqual(here.read() == there.read(), True, path)
        self.assertLess(os.stat(self.there.path(paths[2])).st_blocks, 8 << 20 >> 9, 'holes are filled')
        self.there.virsh('destroy', 'next')
        self.there.virsh('start', 'next')
        self.assertTrue(ticker.goes_on(self.lab, self.log))
        self.assertIn(paths[1], self.there.virsh('domblklist', 'next').stdout)

    def killed_when(self, condition):
        """A slow move whose conductor dies then."""
        moving = self.here.popen(['watari', 'migrate', self.vm, self.there.name, '--bandwidth', '50K'], stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while not condition():
            self.assertIsNone(moving.poll(), 'it was over at once')
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)
        moving.kill()
        moving.wait()

    # ---- other names at the destination ----

    def test_mapped(self):
        """A bridge of another name, and a display and a serial line that listen on an address of the source."""
        for node, name in ((self.here, 'br-a'), (self.there, 'br-b')):
            node.run(['sh', '-c', f'ip link add {name} type bridge && ip link set {name} up'])
            self.addCleanup(node.run, ['ip', 'link', 'del', name])
        self.define('map', devices="<interface type='bridge'><source bridge='br-a'/><model type='virtio'/></interface>"
                    "<graphics type='vnc' port='5905' autoport='no' listen='10.10.0.11'/>"
                    "<console type='tcp'><source mode='bind' host='10.20.0.11' service='4555'/>"
                    "<target type='virtio' port='1'/></console>")
        report = self.watari('migrate', code=REFUSED)
        self.assertIn('br-a', report['error']['what'])
        self.assertIn('--network br-a=', self.findings(report, 'network:br-a')[0]['next'])
        self.assertIn('--listen 10.10.0.11=', self.findings(report, 'graphics')[0]['next'])
        names = ('--network', 'br-a=br-b', '--listen', '10.10.0.11=10.10.0.12', '--listen', '10.20.0.11=10.20.0.12',
                 '--listen', '5905=5907')
        report = self.move(*names, '--network', 'br-y=br-z')
        self.assertIn('br-y=br-z', self.findings(report, 'mapping')[0]['what'])
        for flags in ([], ['--inactive']):
            text = self.there.virsh('dumpxml', *flags, 'map').stdout
            for word in ("bridge='br-b'", "listen='10.10.0.12'", "host='10.20.0.12'", "port='5907'"):
                self.assertIn(word, text)
        self.assertIn('master br-b', self.there.run(['ip', '-o', 'link']).stdout)
        self.there.virsh('destroy', 'map')
        self.there.virsh('start', 'map')
        self.assertTrue(ticker.goes_on(self.lab, self.log))
        self.there.virsh('destroy', 'map')
        back = [word if word.startswith('--') else '='.join(reversed(word.split('='))) for word in names]
        self.move('--offline', *back, back=True, off=True)
        self.assertIn("bridge='br-a'", self.here.virsh('dumpxml', 'map').stdout)

    # ---- what names files of the host, and what was tuned ----

    def test_files_of_the_host(self):
        """Whatever the description names must be there, be it known to the list or not."""
        for name in ('/srv/fw.cfg', '/srv/up.sh'):
            self.here.run(['sh', '-c', f'mkdir -p /srv/only && printf "#!/bin/sh\n" >{name} && chmod 755 {name}'])
        self.define('files', start=False, extra="<sysinfo type='fwcfg'><entry name='opt/x' file='/srv/fw.cfg'/></sysinfo>",
                    devices="<channel type='unix'><source mode='bind' path='/srv/only/agent.sock'/><target type='virtio' "
                    "name='org.x.0'/></channel><channel type='unix'><target type='virtio' name='org.x.1'/></channel>"
                    "<console type='pty'><target type='virtio' port='1'/></console>"
                    "<interface type='ethernet'><script path='/srv/up.sh'/></interface>")
        self.here.virsh('start', 'files')
        report = self.watari('migrate', code=REFUSED)
        rows = [row['what'] for row in report['checks'] if row['result'] == 'refuse' and row['check'] in ('path', 'device')]
        self.assertEqual(len(rows), 3, rows)
        for word in ('/srv/fw.cfg', '/srv/up.sh', '/srv/only/'):
            self.assertIn(word, ' '.join(rows))

    def iothread(self, node):
        said = node.virsh('domstats', '--iothread', 'tuned').stdout
        return dict(line.strip().split('=') for line in said.splitlines() if 'poll' in line)

    def test_tuned(self):
        """What libvirt itself loses of a running VM's settings."""
        self.define('tuned', devices=disk(self.image(f'{SHARED}/tuned.qcow2')), maximum='<iothreads>1</iothreads>')
        self.here.virsh('iothreadset', 'tuned', '1', '--poll-max-ns', '12345', '--live')
        self.here.virsh('domblkthreshold', 'tuned', 'vda', '1000000')
        before = self.iothread(self.here)
        self.assertEqual(before['iothread.1.poll-max-ns'], '12345')
        report = self.move()
        self.assertEqual((report['carried'], self.iothread(self.there)), (['tuning'], before))
        self.assertIn('threshold=1000000', self.there.virsh('domstats', '--block', 'tuned').stdout)

    def test_devices_of_a_desktop(self):
        """What virt-manager gives a VM: SPICE, sound, USB with a stick on it, memory that others may map, a disk with limits."""
        stick = self.image(f'{SHARED}/stick.raw', '4M', 'raw')
        limits = '<iotune><total_bytes_sec>5242880</total_bytes_sec></iotune>'
        self.define('desk', instead=[("<controller type='usb' model='none'/>", "<controller type='usb' model='qemu-xhci'/>"),
                                     ("<video><model type='none'/></video>", "<video><model type='vga'/></video>")],
                    backing="<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>",
                    devices=disk(self.image(f'{SHARED}/desk.qcow2'), more=limits) +
                    disk(stick, 'raw', 'sda').replace("bus='virtio'", "bus='usb'") +
                    "<graphics type='spice' autoport='yes' listen='127.0.0.1'/><channel type='spicevmc'><target type='virtio' "
                    "name='com.redhat.spice.0'/></channel><sound model='ich9'/><audio id='1' type='spice'/>"
                    "<input type='tablet' bus='usb'/><redirdev bus='usb' type='spicevmc'/>")
        self.here.virsh('blkdeviotune', 'desk', 'vda', '--total-bytes-sec', '7340032', '--live')

        def devices(node):
            text = node.virsh('dumpxml', 'desk').stdout
            return sorted(line for line in (line.strip() for line in text.splitlines())
                          if line.startswith(('<graphics', '<channel', '<sound', '<audio', '<input', '<redirdev', '<target', '<source',
                                        '<total_bytes_sec', '<controller', '<model')) and 'port=' not in line)

        before = devices(self.here)  # in whatever order
        self.assertIn('<total_bytes_sec>7340032</total_bytes_sec>', before)
        self.move()
        self.assertEqual(devices(self.there), before)
        self.assertIn('spice://127.0.0.1:', self.there.virsh('domdisplay', 'desk').stdout)
        self.move('--yes', command='quick', back=True)
        self.assertEqual(devices(self.here), before)
        self.move('--verify-memory', 'full')
        self.assertEqual(devices(self.there), before)

    def test_bitmaps_that_no_checkpoint_has(self):
        """As another backup program keeps them in the image itself: they travel from under a running VM, and that they do
        not from under one that is off is said before."""
        image = self.image('/lab/images/bit.qcow2')

        def bitmaps(node):
            found = json.loads(node.run(['qemu-img', 'info', '-U', '--output=json', image]).stdout)
            return [bitmap['name'] for bitmap in found['format-specific']['data'].get('bitmaps', [])]

        self.here.run(['qemu-img', 'bitmap', '--add', image, 'nightly'])
        self.define('bit', devices=disk(image))
        self.move('--persistent')
        self.there.virsh('destroy', 'bit')
        self.assertEqual(bitmaps(self.there), ['nightly'])
        self.here.run(['rm', '-f', image])
        self.here.virsh('undefine', 'bit')
        report = self.move('--offline', back=True, off=True)
        row, = self.findings(report, 'bitmaps:vda')
        self.assertEqual(row['result'], 'warn')
        self.assertIn('nightly', row['what'])

    def test_saved(self):
        """It is off, and its memory lies in a file of libvirt's: lost, if only the rest went."""
        self.define('saved')
        self.here.virsh('managedsave', 'saved')
        self.assertIn('--offline', self.watari('migrate', code=REFUSED)['error']['next'])
        report = self.watari('migrate', '--offline', code=REFUSED)
        self.assertIn('managedsave', report['error']['what'])
        self.assertIn('managedsave-remove', report['error']['next'])
        self.assertIn('saved', self.here.virsh('list', '--all', '--with-managed-save', '--name').stdout.split())
        self.here.virsh('start', 'saved')
        self.assertTrue(ticker.goes_on(self.lab, self.log))
        self.move()

    def test_external_snapshot(self):
        """Its memory comes along, unless nothing may be copied: then it is named."""
        self.define('ext', devices=disk(self.image(f'{SHARED}/ext.qcow2')))
        self.addCleanup(self.here.run, ['rm', '-f', '/lab/images/s.mem', f'{SHARED}/ext.s'])
        self.here.virsh('snapshot-create-as', 'ext', 's', '--memspec', 'file=/lab/images/s.mem,snapshot=external',
                        '--diskspec', f'vda,snapshot=external,file={SHARED}/ext.s')
        self.addCleanup(self.there.run, ['rm', '-f', '/lab/images/s.mem'])
        with open(self.here.path('/lab/images/s.mem'), 'rb') as file:
            memory = file.read()
        self.assertGreater(len(memory), 1 << 16)
        report = self.watari('plan', '--disks', 'shared')
        rows = [row['what'] for row in self.findings(report, 'snapshots') if row['result'] == 'warn']
        self.assertEqual(len(rows), 1, rows)
        self.assertIn('/lab/images/s.mem', rows[0])
        report = self.move()
        rows = [(row['result'], row['what']) for row in self.findings(report, 'snapshots') if '/lab/images/s.mem' in (row['what'] or '')]
        self.assertEqual([result for result, _ in rows], ['pass'], rows)
        with open(self.there.path('/lab/images/s.mem'), 'rb') as file:
            self.assertEqual(file.read() == memory, True)
        self.assertEqual(self.there.virsh('snapshot-list', 'ext', '--name').stdout.split(), ['s'])


if __name__ == '__main__':
    unittest.main()
