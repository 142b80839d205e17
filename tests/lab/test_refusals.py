# SPDX-License-Identifier: Apache-2.0
"""Everything that must be refused before anything moves, through the command line and real libvirts: each case ends with
its exit code and a message that names the thing, the reason and the next step, says the same in JSON, moves no byte on the
migration network, leaves the VM as it was and nothing behind at either host. And what is moved although it looks odd:
paused VMs, VMs with snapshots, names with any character."""
import contextlib
import json
import pathlib
import re
import sys
import unittest
import xml.sax.saxutils

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from refusals import LINK, SANITIZERS, UUID, WATARI, Case, RefusalLab, add_cases, ticker  # noqa: E402

TIME_LIMIT_S = 480
SECRET = '5761746a-7269-4c61-8262-0000000000aa'
OTHER_UUID = '5761746a-7269-4c61-8262-00000000c0d1'


def disk(path, more='', kind='qcow2', target='vda'):
    return (f"<disk type='file' device='disk'><driver name='qemu' type='{kind}'/><source file='{path}'/>"
            f"<target dev='{target}' bus='virtio'/>{more}</disk>")


ENCRYPTED = disk('/lab/shared/luks', kind='raw').replace(
    "luks'/>", f"luks'><encryption format='luks'><secret type='passphrase' uuid='{SECRET}'/></encryption></source>")
HERE, BOTH, SHARED = '/lab/images/here.qcow2', '/lab/images/both.qcow2', '/lab/shared/shared.qcow2'
MEMFD = "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"
TOO_MUCH_MIB = 2 * int(re.search(r'MemTotal:\s+(\d+)', pathlib.Path('/proc/meminfo').read_text())[1]) // 1024
QEMU_ARGUMENTS = " xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'"


# ---- what is wrong with the hosts ----

@contextlib.contextmanager
def no_sshd(test):
    test.there.stop_sshd()
    try:
        yield
    finally:
        test.there.start_sshd()


@contextlib.contextmanager
def no_libvirtd(test):
    test.there.kill_libvirtd()
    try:
        yield
    finally:
        test.there.start_libvirtd()


@contextlib.contextmanager
def no_watari(test):
    test.there.set_watari(None)
    try:
        yield
    finally:
        test.there.set_watari(WATARI, SANITIZERS)


def other_watari(before, after):
    """The real one, which says something else of itself."""
    @contextlib.contextmanager
    def change(test):
        test.there.run(['mv', '/usr/local/bin/watari', '/usr/local/bin/real'])
        test.there.write_text('/usr/local/bin/watari', f"#!/bin/sh\n/usr/local/bin/real \"$@\" | sed -u '{before}/{after}/'\n",
                              0o755)
        try:
            yield
        finally:
            test.there.run(['mv', '/usr/local/bin/real', '/usr/local/bin/watari'])
    return change


def vm_there(how, **differences):
    @contextlib.contextmanager
    def change(test):
        name = differences.get('name', 'v')
        test.there.write_text('/root/other.xml', ticker.domain(log='/tmp/other', **{'name': 'v', **differences}))
        test.there.virsh(how, '/root/other.xml')
        try:
            yield
        finally:
            test.there.virsh('destroy' if how == 'create' else 'undefine', name)
    return change


@contextlib.contextmanager
def ssh_alias(test):
    before = test.here.read_text('/root/.ssh/config') if test.here.exists('/root/.ssh/config') else ''
    test.here.write_text('/root/.ssh/config', f'Host myself\n    HostName {test.here.address()}\n' + before, 0o600)
    try:
        yield
    finally:
        test.here.write_text('/root/.ssh/config', before, 0o600)


@contextlib.contextmanager
def libvirt_alias(test):
    path = '/etc/libvirt/libvirt.conf'
    before = test.here.read_text(path) if test.here.exists(path) else ''
    test.here.write_text(path, before + '\nuri_aliases = [ "me=qemu+ssh://root@hosta/system" ]\n')
    try:
        yield
    finally:
        test.here.write_text(path, before)


@contextlib.contextmanager
def block_job(test):
    test.here.virsh('blockcopy', test.vm, 'vda', '/lab/images/copy.qcow2', '--transient-job')
    try:
        yield
    finally:
        test.here.virsh('blockjob', test.vm, 'vda', '--abort')


@contextlib.contextmanager
def backup(test):
    test.here.write_text('/root/backup.xml', "<domainbackup mode='pull'><server transport='unix' socket='/tmp/nbd'/>"
                         "</domainbackup>")
    test.here.virsh('backup-begin', test.vm, '/root/backup.xml')
    try:
        yield
    finally:
        test.here.virsh('domjobabort', test.vm)


@contextlib.contextmanager
def bridge_there(test):
    test.there.run(['sh', '-c', 'ip link add onlyhere type bridge && ip link set onlyhere up'])
    try:
        yield
    finally:
        test.there.run(['ip', 'link', 'del', 'onlyhere'])


@contextlib.contextmanager
def sanlock_there(test):
    path = '/etc/libvirt/qemu.conf'
    before = test.there.read_text(path)
    test.there.write_text(path, before + '\nlock_manager = "sanlock"\n', 0o600)
    try:
        yield
    finally:
        test.there.write_text(path, before, 0o600)


def no_rights(groups):
    """Somebody who may log in at the destination, and use its libvirt only in the group for that."""
    @contextlib.contextmanager
    def change(test):
        test.there.run(['sh', '-c', f'useradd -m -p x {groups} guest && cp -r /root/.ssh ~guest/ && chown -R guest: ~guest/.ssh'])
        try:
            yield
        finally:
            test.there.run(['userdel', '-r', 'guest'], check=False)
    return change


SAME = ('already runs at hosta', 'the same host')
HOSTS = [
    Case('unknown VM', ('nosuch', 'hostb'), ('there is no VM “nosuch” at hosta',), ('virsh list --all', 'HOST:VM')),
    Case('unknown VM of another host', ('hosta:nosuch', 'hostb'), ('there is no VM “nosuch” at hosta',),
         ('virsh -c qemu+ssh://hosta/system list --all',), at='admin'),
    Case('unknown host', ('v', 'nosuchhost'), ('libvirt at nosuchhost', 'Could not resolve'), ('watari doctor',), 'connect'),
    Case('unknown source host', ('nosuchhost:v', 'hostb'), ('libvirt at nosuchhost', 'Could not resolve'),
         ('watari doctor',), 'connect'),
    Case('unreachable host', ('v', '10.20.0.99'), ('libvirt at 10.20.0.99', 'No route to host'), ('watari doctor',), 'connect'),
    Case('no sshd', what=('libvirt at hostb', 'Connection refused'), next=('ssh -o BatchMode=yes', 'watari doctor'),
         phase='connect', prepare=no_sshd),
    Case('libvirtd down', what=('cannot', 'libvirt at hostb'), next=('systemctl status libvirtd', 'watari doctor'), phase='connect',
         prepare=no_libvirtd),
    Case('no rights', ('v', 'guest@hostb'), ('libvirt at guest@hostb', 'Permission denied'),
         ('group libvirt', 'watari doctor guest@hostb'), 'connect', prepare=no_rights('')),
    Case('no rights but those of libvirt', ('v', 'guest@hostb'), ('the mover at hostb', 'Permission denied'),
         ('root@hostb', 'let sudo ask no password', 'watari doctor guest@hostb'), 'link', prepare=no_rights('-G libvirt')),
    Case('no watari', what=('the mover at hostb', 'not found'), next=('Install watari', 'at hostb', '--remote-watari'),
         phase='link', prepare=no_watari),
    Case('another version', what=('the watari at hostb is version 0.0.7, this one is',), next=('Install watari', 'at hostb'),
         phase='link', prepare=other_watari('s/"version":"[^"]*"', '"version":"0.0.7"')),
    Case('another protocol', what=('the watari at hostb speaks version 7 of the movers', 'this one 1'),
         next=('Install watari', 'at hostb'), phase='link', prepare=other_watari('s/"proto":1', '"proto":7')),
    Case('the name is taken', what=('hostb already has another VM called “v”', OTHER_UUID), next=('virsh domrename',),
         prepare=vm_there('define', uuid=OTHER_UUID)),
    Case('the UUID is taken', what=('hostb already has a VM with the same UUID', '“other”'), next=('virsh undefine',),
         prepare=vm_there('define', name='other', uuid=UUID)),
    Case('the UUID runs there', what=('same UUID (“v”) is already active at hostb',), next=('watari resolve v',),
         prepare=vm_there('create', uuid=UUID)),
    *[Case(f'to itself as {name}', ('v', name), SAME, ('Name another host',))
      for name in ('hosta', '10.20.0.11', 'root@hosta-mig', 'qemu:///system', 'qemu+ssh://hosta-svc/system')],
    Case('to itself by an ssh alias', ('v', 'myself'), SAME, ('Name another host',), prepare=ssh_alias),
    Case("to itself by libvirt's alias", ('v', 'me'), SAME, ('Name another host',), prepare=libvirt_alias),
    Case('to itself from elsewhere', ('hosta:v', 'hosta-svc'), SAME, ('Name another host',), at='admin'),
]

VMS = [
    Case('shut off', what=('cannot be migrated: it is not running',), next=('Start it first',), vm={}, off=True),
    Case('too much memory', what=('needs about', 'of memory; hostb has', 'free'), next=('Make room there',),
         vm={'memory': TOO_MUCH_MIB, 'backing': "<memoryBacking><source type='file'/><access mode='shared'/></memoryBacking>"}),
    Case('an emulator of its own', what=('the emulator /usr/local/bin/own-qemu, which hostb does not have',),
         next=('Install that emulator there',), vm={'emulator': '/usr/local/bin/own-qemu'}),
    Case('a disk that is not there', ('v', 'hostb', '--disks', 'shared'), what=('hostb does not see the disk vda', HERE),
         next=('storage that both hosts see',), vm={'devices': disk(HERE)}),
    Case('a read-only disk that is not there', words=('v', 'hostb', '--disks', 'shared'),
         what=('hostb does not see the disk vda', HERE), next=('Leave --disks shared out',),
         vm={'devices': disk(HERE, more='<readonly/>')}),
    Case('another disk of the same name', what=(f'at hostb there is already something at {BOTH}',),
         next=('--disk vda=',), phase='disks', vm={'devices': disk(BOTH)}, linked=True),
    Case('a transient disk', what=('the disk vda', 'is transient'), next=('while it is off', '<transient/>'),
         vm={'devices': disk(SHARED, more='<transient/>')}),
    Case('virtiofs', what=('(virtiofs)', 'does not move with it: fs0'), next=('virsh detach-device',),
         vm={'backing': MEMFD, 'devices': "<filesystem type='mount'><driver type='virtiofs'/><binary "
             "path='/usr/lib/qemu/virtiofsd'/><source dir='/srv'/><target dir='x'/></filesystem>"}),
    Case('9p', what=('(9p)', 'does not move with it: fs0'), next=('Unmount it in the guest',),
         vm={'devices': "<filesystem type='mount' accessmode='mapped'><source dir='/srv'/><target dir='x'/></filesystem>"}),
    Case('memory in a file of the host', what=('nvdimm',), next=('while it is off',),
         vm={'maximum': "<maxMemory slots='2' unit='MiB'>512</maxMemory>",
             'cpu': "<cpu mode='custom' match='exact'><model>qemu64</model><numa><cell id='0' cpus='0' memory='128' unit='MiB'/>"
                    "</numa></cpu>",
             'devices': "<memory model='nvdimm'><source><path>/lab/images/nvdimm</path></source><target>"
                        "<size unit='MiB'>16</size><node>0</node></target></memory>"}),
    Case('memory of other processes', what=('(shmem)',), next=('Detach it first',),
         vm={'devices': "<shmem name='x' role='peer'><model type='ivshmem-plain'/><size unit='M'>1</size></shmem>"}),
    Case('a block job', what=('a block job is at work on the disk vda',), next=('virsh blockjob', 'vda --abort'),
         vm={'devices': disk(SHARED)}, prepare=block_job),
    Case('another job', what=('libvirt is at work on',), next=('virsh domjobabort',), vm={'devices': disk(SHARED)},
         prepare=backup),
    Case('a network that is not there', what=('hostb has no network “onlyhere”',), next=('virsh net-define',),
         vm={'devices': "<interface type='network'><source network='onlyhere'/></interface>"}),
    Case('a bridge that is not there', what=('hostb has no bridge or network card “onlyhere”',), next=('Set up a bridge',),
         vm={'devices': "<interface type='bridge'><source bridge='onlyhere'/></interface>"}),
    Case('a bridge that is a card there', what=('uses the bridge “cardthere”', 'at hostb that is a network card'),
         next=('Set up a bridge or card of that name',), vm={'devices': "<interface type='bridge'><source bridge='cardthere'/></interface>"}),
    Case('a network filter that is not there', what=('libvirt at hostb has no network filter “onlyhere”',),
         next=('virsh nwfilter-define',),
         vm={'devices': "<interface type='bridge'><source bridge='onlyhere'/><filterref filter='onlyhere'/></interface>"},
         prepare=bridge_there),
    Case('a secret that is not there', what=('the disk vda of', f'with the secret “{SECRET}”', 'libvirt at hostb does not have'),
         next=('virsh secret-define', 'virsh secret-set-value'), vm={'devices': ENCRYPTED}),
    Case('another lock manager', what=('lock managers differ', 'at hosta: none, at hostb: sanlock'), next=('the same lock_manager',),
         vm={'devices': disk(SHARED)}, prepare=sanlock_there),
    Case('a device that QEMU cannot carry', what=('libvirt and QEMU refuse to migrate', 'non-migratable device', 'nvme'),
         next=('Remove what is named',),
         vm={'namespace': QEMU_ARGUMENTS, 'extra': "<qemu:commandline><qemu:arg value='-device'/>"
             "<qemu:arg value='nvme,serial=x,bus=pcie.0,addr=0x1e'/></qemu:commandline>"}),
    # added behind libvirt's back, so that only QEMU itself knows of it
    Case("QEMU's own reason", what=('libvirt and QEMU refuse to migrate', 'Migration is disabled'),
         next=('Remove what is named',),
         vm={'namespace': QEMU_ARGUMENTS, 'extra': "<qemu:commandline>"
             "<qemu:arg value='-object'/><qemu:arg value='memory-backend-file,id=own,share=on,mem-path=/dev/shm/own,size=1M'/>"
             "<qemu:arg value='-device'/><qemu:arg value='ivshmem-plain,memdev=own,master=off,bus=pcie.0,addr=0x1e'/>"
             "</qemu:commandline>"}),
]

# (command line after `watari migrate`, parts of the message)
NONSENSE = [
    ([], ['an argument is missing', 'Usage: watari migrate']),
    (['v'], ['an argument is missing']),
    (['v', 'hostb', 'hostc'], ['too many arguments']),
    (['v', 'hostb', '--bandwidth', '-5M'], ['--bandwidth', '“-5M” is not a number of bytes', '100M']),
    (['v', 'hostb', '--bandwidth', '0'], ['--bandwidth', 'at least 16.0 KiB']),
    (['v', 'hostb', '--bandwidth', 'fast'], ['--bandwidth', '“fast” is not a number of bytes']),
    (['v', 'hostb', '--bandwidth', '5X'], ['“5X” is not a number of bytes']),
    (['v', 'hostb', '--bandwidth', '99999999999999999999'], ['is not a number of bytes']),
    (['v', 'hostb', '--bandwidth', 'nan'], ['is not a number of bytes']),
    (['v', 'hostb', '--bandwidth'], ['--bandwidth needs a value']),
    (['v', 'hostb', '--connections', '0'], ['--connections', 'between 1 and 16']),
    (['v', 'hostb', '--connections', '17'], ['--connections', 'between 1 and 16']),
    (['v', 'hostb', '--connections', '-1'], ['--connections', '“-1” is not a number']),
    (['v', 'hostb', '--connections', '2x'], ['“2x” is not a number']),
    (['v', 'hostb', '--connections', '4294967298'], ['between 1 and 16']),
    (['v', 'hostb', '--connections', '99999999999999999999999'], ['between 1 and 16']),
    (['v', 'hostb', '--max-downtime', '-1'], ['--max-downtime', 'is not a duration', '300ms']),
    (['v', 'hostb', '--max-downtime', '0'], ['--max-downtime', 'between']),
    (['v', 'hostb', '--max-downtime', '2 weeks'], ['is not a duration']),
    (['v', 'hostb', '--max-downtime', '1e300h'], ['is not a duration']),
    (['v', 'hostb', '--link-timeout', '0'], ['--link-timeout', 'between']),
    (['v', 'hostb', '--link-timeout', '100000h'], ['--link-timeout', 'between']),
    (['v', 'hostb', '--ports', '5000-4000'], ['--ports', 'not a range of ports', '49152-49215']),
    (['v', 'hostb', '--ports', '0-10'], ['not a range of ports']),
    (['v', 'hostb', '--ports', '70000'], ['not a range of ports']),
    (['v', 'hostb', '--ports', '1-2-3'], ['not a range of ports']),
    (['v', 'hostb', '--ports', 'http'], ['not a range of ports']),
    (['v', 'hostb', '--link', 'rdma'], ['--link', '“rdma” is none of: auto, tcp, ssh']),
    (['v', 'hostb', '--verify-memory', 'half'], ['“half” is none of: none, sample, full']),
    (['v', 'hostb', '--connect-from', ''], ['--connect-from', 'is none of']),
    (['v', 'hostb', '--rsh', ''], ['--rsh', 'the value is empty']),
    (['v', 'hostb', '--rsh', '"ssh'], ['--rsh']),
    (['v', 'hostb', '--link-address', ''], ['--link-address', 'the value is empty']),
    (['v', 'hostb', '--link-address', '-oProxyCommand=touch /tmp/pwned'], ['--link-address']),
    (['v', 'hostb', '--fast'], ['there is no option --fast', 'watari migrate --help']),
    (['v', 'hostb', '--persistent=yes'], ['--persistent takes no value']),
    (['-x', 'v', 'hostb'], ['there is no option -x']),
    (['v', ''], ['does not name a host', 'is empty']),
    (['', 'hostb'], ['names no VM']),
    (['hosta:', 'hostb'], ['names no VM']),
    (['v', '-oProxyCommand=touch /tmp/pwned'], ['there is no option -o']),
    (['v', '--', '-oProxyCommand=touch /tmp/pwned'], ['does not name a host', 'begins with “-”']),
    (['v', 'root@-oProxyCommand=touch${IFS}/tmp/pwned'], ['does not name a host']),
    (['--', '-oProxyCommand=touch:v', 'hostb'], ['does not name a host', 'begins with “-”']),
    (['v', 'hostb;touch /tmp/pwned'], ['does not name a host', 'a character that no host name has']),
    (['v', 'hostb$(touch /tmp/pwned)'], ['does not name a host']),
    (['v', 'hostb\ntouch /tmp/pwned'], ['does not name a host']),
    (['v', 'qemu+ssh://-oProxyCommand=x/system'], ['-oProxyCommand']),
    (['v', 'qemu+ssh://hostb/system?command=-x'], ['“command” makes no sense']),
    (['v', 'qemu+tcp://hostb/system'], ['cannot be guarded', 'qemu+ssh://HOST/system']),
    (['v', 'qemu://hostb/system'], ['cannot be guarded']),
    (['v', 'qemu+ssh://hostb/session'], ['session']),
    (['v', 'xen+ssh://hostb/'], ['only QEMU']),
    (['v', 'qemu+ssh://hostb:99999/system'], ['99999']),
    (['qemu+ssh://hosta/v', 'hostb'], ['where a VM is expected', '-c']),
]

# VM names that nobody has; the message must carry them, and nothing must come of them.
ODD_NAMES = ["$(touch /tmp/pwned)", "a;touch /tmp/pwned", "../../etc/passwd", '%s%n%d', "x' or '1", 'a' * 5000, '名前', '\x1b[31mred',
             'two\nlines']


class Refusals(RefusalLab):
    @classmethod
    def make_places(cls):
        make = 'mkdir -p /lab/images /srv && cd /lab/images && qemu-img create -q -f qcow2 both.qcow2 64M'
        cls.there.run(['sh', '-c', make])
        cls.here.run(['sh', '-c', f'{make} && qemu-img create -q -f qcow2 here.qcow2 64M && truncate -s 16M nvdimm && '
                      'qemu-img create -q -f qcow2 /lab/shared/shared.qcow2 64M && '
                      'ln -s /usr/bin/qemu-system-x86_64 /usr/local/bin/own-qemu && '
                      'ip link add onlyhere type bridge && ip link set onlyhere up'])
        cls.here.write_text('/root/net.xml', "<network><name>onlyhere</name><forward mode='bridge'/><bridge name='onlyhere'/>"
                            "</network>")
        cls.here.virsh('net-define', '/root/net.xml')
        cls.here.virsh('net-start', 'onlyhere')
        cls.here.write_text('/root/filter.xml', "<filter name='onlyhere' chain='root'/>")
        cls.here.virsh('nwfilter-define', '/root/filter.xml')
        cls.here.run(['sh', '-c', 'ip link add cardthere type bridge && ip link set cardthere up'])
        cls.there.run(['ip', 'tuntap', 'add', 'cardthere', 'mode', 'tap'])
        # qemu-img measures how fast it can hash, and gives up on a busy machine
        make = 'qemu-img create -q -f luks --object secret,id=s,data=abc -o key-secret=s,iter-time=10 /lab/shared/luks 8M'
        cls.here.run(['sh', '-c', ' || '.join([make] * 20)])
        cls.define_secret(cls.here)

    @staticmethod
    def define_secret(host):
        host.write_text('/root/secret.xml', f"<secret ephemeral='no' private='yes'><uuid>{SECRET}</uuid><usage type='volume'>"
                        "<volume>/lab/shared/luks</volume></usage></secret>")
        host.write_text('/root/value', 'abc')
        host.virsh('secret-define', '/root/secret.xml')
        host.virsh('secret-set-value', SECRET, '--plain', '--file', '/root/value')

    # ---- the command line ----

    def test_nonsense(self):
        """Exit code 2 before any host is asked, and with --json a document that says so."""
        before = self.vm_now()
        for words, parts in NONSENSE:
            with self.subTest(words=words):
                done = self.watari('--json', *words, timeout=60)
                self.assertEqual(done.returncode, 2, done.stderr)
                report = json.loads(done.stdout)
                self.assertEqual((report['error']['class'], report['exit_code'], report['outcome']), ('usage', 2, 'refused'))
                for part in parts:
                    self.assertIn(part, done.stderr)
                self.assertNotIn('runtime error', done.stderr)
                self.assertNotIn('connecting', done.stderr)
        self.assertEqual(self.vm_now(), before)
        self.expect_nothing_left()

    def test_odd_names(self):
        for name in ODD_NAMES:
            with self.subTest(name=name[:40]):
                done = self.watari('--json', '-c', 'qemu:///system', '--', name, 'hostb')
                report = json.loads(done.stdout)
                self.assertEqual((done.returncode, report['error']['class']), (3, 'refused'), done.stderr)
                self.assertIn(name.replace('\n', ' ').replace('\x1b', '?')[:100], report['error']['what'])
                self.assertNotIn('\x1b', done.stderr)
        self.expect_nothing_left()


    # ---- what looks odd and is moved ----

    def move(self, name, source, destination, code=0, faults=None):
        done = self.watari(f'{source}:{name}', destination, *LINK, '--max-downtime', '20s', at='admin',
                           env={'WATARI_TEST_FAULTS': faults} if faults else None)
        self.assertEqual(done.returncode, code, done.stderr)
        report = json.loads(done.stdout)
        self.expect_nothing_left()
        return report

    def clear(self, name):
        for host in (self.here, self.there):
            host.virsh('destroy', name, check=False)
            host.virsh('undefine', name, '--snapshots-metadata', check=False)

    def state(self, host, name):
        return host.virsh('domstate', '--reason', name, check=False).stdout.strip()

    def test_paused(self):
        """A VM that somebody paused moves, is paused there, and stays so when the move fails; its name is no
        hindrance."""
        name = 'it\'s "odd"; $(cd; touch pwned) %s é'
        self.addCleanup(self.back_to_v)
        self.addCleanup(self.clear, name)
        self.start_vm(xml.sax.saxutils.escape(name), log='/lab/shared/ticks-odd')
        self.here.virsh('suspend', name)
        report = self.move(name, 'hosta', 'hostb', 4, 'page')
        self.assertEqual((report['error']['class'], report['source']['vm_state']), ('failed', 'paused'))
        self.assertEqual((self.state(self.here, name), self.state(self.there, name)), ('paused (user)', ''))
        self.assertIn('until it has run for a moment', str(report['notes']))
        # QEMU does not migrate a VM twice that was paused when it stopped it for the first time, until it has run.
        self.here.virsh('resume', name)
        self.here.virsh('suspend', name)
        report = self.move(name, 'hosta', 'hostb')
        self.assertEqual((report['outcome'], report['vm']['name'], report['destination']['vm_state']),
                         ('migrated', name, 'paused'))
        self.assertEqual((self.state(self.here, name), self.state(self.there, name)), ('', 'paused (user)'))
        self.there.virsh('resume', name)
        self.assertTrue(ticker.goes_on(self.lab, self.log))

    def test_encrypted(self):
        """A VM with an encrypted disk moves to a host that has the secret."""
        self.addCleanup(self.back_to_v)
        self.addCleanup(self.clear, 'locked')
        self.define_secret(self.there)
        self.addCleanup(self.there.virsh, 'secret-undefine', SECRET)
        self.start_vm('locked', devices=ENCRYPTED)
        report = self.move('locked', 'hosta', 'hostb')
        self.assertEqual((report['outcome'], report['destination']['vm_state']), ('migrated', 'running'))
        self.assertTrue(ticker.goes_on(self.lab, self.log))

    def snapshots(self, host, name):
        """All that libvirt says about a VM's snapshots there."""
        names = host.virsh('snapshot-list', name, '--name', check=False).stdout.split()
        return {'tree': host.virsh('snapshot-list', name, '--tree', check=False).stdout,
                'current': host.virsh('snapshot-current', name, '--name', check=False).stdout.strip(),
                'xml': [host.virsh('snapshot-dumpxml', name, each, '--security-info').stdout for each in names]}

    def test_snapshots(self):
        """What libvirt knows about a VM's snapshots goes along, comes back when the move fails, and is good for going
        back to one."""
        self.addCleanup(self.back_to_v)
        self.addCleanup(self.clear, 'snap')
        self.start_vm('snap', how='define', devices=disk(SHARED))
        self.here.virsh('start', 'snap')
        for each in ('one', 'two', 'three'):
            self.here.virsh('snapshot-create-as', 'snap', each, '--description', f'“{each}” & <more>')
        self.here.virsh('snapshot-current', 'snap', 'two')
        before = self.snapshots(self.here, 'snap')
        self.assertEqual((before['current'], len(before['xml'])), ('two', 3))
        report = self.move('snap', 'hosta', 'hostb', 4, 'page')
        self.assertEqual((report['error']['class'], report['source']['vm_state'], report['destination']['vm_state']),
                         ('failed', 'running', 'absent'))
        self.assertEqual(self.snapshots(self.here, 'snap'), before)
        self.assertTrue(ticker.goes_on(self.lab, self.log))
        report = self.move('snap', 'hosta', 'hostb')
        self.assertEqual((report['outcome'], report['snapshots']), ('migrated', 3))
        self.assertEqual(self.snapshots(self.there, 'snap'), before)
        self.assertEqual(self.here.virsh('list', '--all', '--name').stdout.split(), ['v'])
        self.there.virsh('snapshot-revert', 'snap', 'one')
        self.assertEqual(self.snapshots(self.there, 'snap')['current'], 'one')
        self.assertTrue(ticker.goes_on(self.lab, self.log))

    def test_tcg_warning(self):
        """Whoever runs without KVM under a QEMU that may lose pages is told so."""
        report = json.loads(self.watari('v', 'hosta', *LINK).stdout)
        row = next(row for row in report['checks'] if row['check'] == 'tcg')
        version = re.search(r'QEMU (\d+)', self.here.virsh('version').stdout.split('hypervisor')[-1])
        if version and int(version[1]) < 9:
            self.assertEqual(row['result'], 'warn')
            self.assertIn('QEMU before 9.0 may', row['what'])
            self.assertIn('--verify-memory full', row['next'])
        else:
            self.assertEqual(row['result'], 'pass')


add_cases(Refusals, HOSTS + VMS)

if __name__ == '__main__':
    unittest.main()
