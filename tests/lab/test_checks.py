# SPDX-License-Identifier: Apache-2.0
"""What must be refused before anything moves, asked of real libvirts about real VMs: each case starts a VM that has the
fault, and looks for the finding that names it."""
import os
import pathlib
import sys
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / 'lab'), str(TOP / 'tests' / 'lab')]

import agentguest  # noqa: E402
from watari_lab import HostSpec, Lab  # noqa: E402

TIME_LIMIT_S = 600
LOOK = pathlib.Path(os.environ.get('WATARI_BUILD', TOP / 'build')) / 'tests' / 'lab' / 'host-look'
SANITIZERS = {name: os.environ[name] for name in ('ASAN_OPTIONS', 'UBSAN_OPTIONS') if name in os.environ}
IMAGES = '/srv/images'
SECRET = '5761746a-7269-4c61-8262-0000000000aa'

# No kernel: the firmware finds nothing to boot and waits, which is all these VMs have to do.
DOMAIN = """<domain type='qemu'>
  <name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>{memory}</memory><vcpu>1</vcpu>{backing}
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <features><acpi/></features>{cpu}
  <devices><emulator>{emulator}</emulator>{devices}<memballoon model='none'/></devices>
</domain>"""
UUID = '5761746a-7269-4c61-8262-00000000c0de'
OTHER_UUID = '5761746a-7269-4c61-8262-00000000c0d1'


def domain(name='checked', uuid=UUID, memory=32, backing='', devices='', emulator='/usr/bin/qemu-system-x86_64',
           cpu="<cpu mode='custom' match='exact'><model>qemu64</model></cpu>"):
    return DOMAIN.format(name=name, uuid=uuid, memory=memory, backing=backing, devices=devices, emulator=emulator, cpu=cpu)


def disk(path, target='vda', more='', kind='qcow2'):
    return (f"<disk type='file' device='disk'><driver name='qemu' type='{kind}'/><source file='{path}'/>"
            f"<target dev='{target}' bus='virtio'/>{more}</disk>")


def luks(secret):
    """A disk that is opened with a secret; its source says `secret`."""
    return disk(f'{IMAGES}/luks', kind='raw').replace(
        f"file='{IMAGES}/luks'/>", f"file='{IMAGES}/luks'><encryption format='luks'><secret type='passphrase' {secret}/>"
        '</encryption></source>')


def card(kind, source, more=''):
    return f"<interface type='{kind}'><source {source}/>{more}</interface>"


MEMFD = "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"
# (case, what differs in the VM, check, part of the message); the VM is only started.
DEVICES = [
    ('a transient disk', {'devices': disk(f'{IMAGES}/both.qcow2', more='<transient/>')}, 'disk:vda', 'transient'),
    ('virtiofs', {'backing': MEMFD, 'devices': "<filesystem type='mount'><driver type='virtiofs'/>"
                  "<binary path='/usr/lib/qemu/virtiofsd'/><source dir='/srv'/><target dir='x'/></filesystem>"},
     'filesystem', 'virtiofs'),
    ('9p', {'devices': "<filesystem type='mount'><source dir='/srv'/><target dir='x'/></filesystem>"}, 'filesystem', '9p'),
    ('a bridge that is not there', {'devices': "<interface type='bridge'><source bridge='onlyhere'/></interface>"},
     'network:onlyhere', 'no bridge or network card'),
    ('a network that is not there', {'devices': "<interface type='network'><source network='onlyhere'/></interface>"},
     'network:onlyhere', 'no network'),
    ('a bridge that is a card there', {'devices': card('bridge', "bridge='cardthere'")}, 'network:cardthere', 'that is a network card'),
    ('a network filter that is not there', {'devices': card('bridge', "bridge='br-own'", "<filterref filter='onlyhere'/>")},
     'filter:onlyhere', 'no network filter'),
    ('a secret that is not there', {'devices': luks(f"uuid='{SECRET}'")}, f'secret:{SECRET}', 'the disk vda'),
    ('a secret by its usage', {'devices': luks(f"usage='{IMAGES}/luks'")}, f'secret:{IMAGES}/luks', 'the disk vda'),
    ('memory of other processes', {'devices': "<shmem name='x' role='peer'><model type='ivshmem-plain'/>"
                                   "<size unit='M'>1</size></shmem>"}, 'device', 'shmem'),
    ('an emulator of its own', {'emulator': '/usr/local/bin/own-qemu'}, 'machine', 'own-qemu'),
    ('more memory than there is', {'memory': 100000, 'backing': "<memoryBacking><source type='file'/>"
                                   "<access mode='shared'/></memoryBacking>"}, 'memory', 'needs about'),
    ('more memory than its nodes have', {'memory': 100000, 'backing': "<memoryBacking><source type='file'/><access "
                                         "mode='shared'/></memoryBacking><numatune><memory mode='strict' nodeset='0'/></numatune>"},
     'placement', 'bound to the memory nodes 0, which have only'),
]


class Checks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = Lab('checks', [HostSpec('hosta'), HostSpec('hostb', unprivileged=True)])
        cls.lab.up()
        cls.addClassCleanup(cls.lab.down)
        cls.here, cls.there = cls.lab.host('hosta'), cls.lab.host('hostb')
        cls.here.run(['sh', '-c', f'mkdir -p {IMAGES} && cd {IMAGES} && qemu-img create -q -f qcow2 both.qcow2 64M && '
                      'qemu-img create -q -f qcow2 here.qcow2 64M && ln -s /usr/bin/qemu-system-x86_64 /usr/local/bin/own-qemu'
                      ' && ip link add onlyhere type bridge && ip link set onlyhere up'])
        cls.there.run(['sh', '-c', f'mkdir -p {IMAGES} && qemu-img create -q -f qcow2 {IMAGES}/both.qcow2 64M'])
        cls.make_differences()
        cls.here.write_text('/root/net.xml', "<network><name>onlyhere</name><forward mode='bridge'/>"
                            "<bridge name='onlyhere'/></network>")
        cls.here.virsh('net-define', '/root/net.xml')
        cls.here.virsh('net-start', 'onlyhere')

    @classmethod
    def make_differences(cls):
        """What one host has and the other has not, or has in another way."""
        # it measures how fast it can hash, and gives up on a busy machine
        make = 'qemu-img create -q -f luks --object secret,id=s,data=abc -o key-secret=s,iter-time=10 luks 8M'
        cls.here.run(['sh', '-c', f'cd {IMAGES} && {{ {" || ".join([make] * 20)}; }} && printf abc >/root/value && ip link add '
                      'cardthere type bridge && ip link add br-own type bridge && ip link set br-own up'])
        cls.there.run(['sh', '-c', 'ip tuntap add cardthere mode tap && ip link add br-own type bridge && ip link set br-own up'])
        cls.define_secret(cls.here)
        cls.here.virsh('secret-set-value', SECRET, '--plain', '--file', '/root/value')
        cls.here.write_text('/root/filter.xml', "<filter name='onlyhere' chain='root'/>")
        cls.here.virsh('nwfilter-define', '/root/filter.xml')

    @staticmethod
    def define_secret(host, ephemeral='no'):
        host.write_text('/root/secret.xml', f"<secret ephemeral='{ephemeral}' private='yes'><uuid>{SECRET}</uuid>"
                        f"<usage type='volume'><volume>{IMAGES}/luks</volume></usage></secret>")
        host.virsh('secret-define', '/root/secret.xml')

    def tearDown(self):
        for host in (self.here, self.there):
            host.start_libvirtd()
            for name in host.virsh('list', '--all', '--name').stdout.split():
                host.virsh('destroy', name, check=False)
                host.virsh('undefine', name, '--snapshots-metadata', check=False)

    def start(self, host=None, how='create', **differences):
        host = host or self.here
        host.write_text('/root/vm.xml', domain(**differences))
        host.virsh(how, '/root/vm.xml')

    def look(self, *words, check=True):
        done = self.lab.admin.run([str(LOOK), *words], check=check, env=SANITIZERS)
        return done if not check else [line.split('\t') for line in done.stdout.splitlines()]

    def check(self, source='root@hosta', destination='root@hostb', vm='checked'):
        return self.look('check', source, destination, vm)

    def expect(self, findings, check, text, result='refuse'):
        found = [row for row in findings if row[0] == result and row[1] == check]
        self.assertTrue(any(text in row[2] for row in found), findings)
        self.assertTrue(result != 'refuse' or all(row[3] for row in found), f'no next step: {found}')

    def expect_untouched(self):
        self.assertEqual(self.here.virsh('domstate', 'checked').stdout.strip(), 'running')
        self.assertNotIn('custom-monitor', self.here.virsh('dominfo', 'checked').stdout)
        self.assertEqual(self.there.virsh('list', '--name').stdout.split(), [])

    def test_good(self):
        """Nothing is refused for a VM without a fault, and the VM runs on as if nobody had asked."""
        self.start(devices=disk(f'{IMAGES}/both.qcow2'))
        findings = self.check()
        # QEMU before 9.0 may lose pages of such VMs, which are without KVM
        self.assertEqual([row for row in findings if row[0] in ('refuse', 'warn') and row[1] != 'tcg'], [])
        for check in ('blockers', 'libvirt-version', 'qemu-version', 'locks', 'secret', 'offer', 'network', 'security'):
            self.assertIn(['pass', check, '', ''], findings)
        self.expect(findings, 'agent', 'no channel for a guest agent', 'pass')
        self.assertIn(['path', 'vda', f'{IMAGES}/both.qcow2', 'file writable'], findings)
        self.expect_untouched()

    def test_devices(self):
        for case, differences, check, text in DEVICES:
            with self.subTest(case):
                self.tearDown()
                self.start(**differences)
                self.expect(self.check(), check, text)
                self.expect_untouched()

    def expect_pass(self, findings, check):
        self.assertIn(['pass', check, '', ''], findings)

    def test_secret_there(self):
        """A secret must be defined there, by the name that the VM uses, and have a value."""
        for name in (f"uuid='{SECRET}'", f"usage='{IMAGES}/luks'"):
            with self.subTest(name):
                check = 'secret:' + name.split("'")[1]
                self.start(devices=luks(name))
                self.define_secret(self.there)
                self.expect(self.check(), check, 'have no value for it', 'warn')
                self.there.write_text('/root/value', 'abc')
                self.there.virsh('secret-set-value', SECRET, '--plain', '--file', '/root/value')
                self.expect_pass(self.check(), check)
                self.there.virsh('secret-undefine', SECRET)
                self.define_secret(self.there, ephemeral='yes')  # its value is in no file
                self.expect_pass(self.check(), check)
                self.there.virsh('secret-undefine', SECRET)
                self.expect_untouched()
                self.tearDown()

    def test_bridge_there(self):
        """A bridge of the same name will do, if it is up."""
        self.start(devices=card('bridge', "bridge='br-own'"))
        self.expect_pass(self.check(), 'network:br-own')
        self.there.run(['ip', 'link', 'set', 'br-own', 'down'])
        self.addCleanup(self.there.run, ['ip', 'link', 'set', 'br-own', 'up'])
        self.expect(self.check(), 'network:br-own', 'is down at hostb', 'warn')

    def test_network_filter_there(self):
        self.start(devices=card('bridge', "bridge='br-own'", "<filterref filter='onlyhere'/>"))
        self.there.write_text('/root/filter.xml', "<filter name='onlyhere' chain='root'/>")
        self.there.virsh('nwfilter-define', '/root/filter.xml')
        self.addCleanup(self.there.virsh, 'nwfilter-undefine', 'onlyhere')
        self.expect_pass(self.check(), 'filter:onlyhere')

    def test_network_of_its_host(self):
        """A network that libvirt makes itself is another one at the other host; one over a bridge is not, if that bridge is
        there."""
        for host in (self.here, self.there):
            host.write_text('/root/own.xml', "<network><name>own</name><bridge name='virbr7'/></network>")
            host.virsh('net-create', '/root/own.xml')
            self.addCleanup(host.virsh, 'net-destroy', 'own')
        self.start(devices=card('network', "network='own'"))
        self.expect(self.check(), 'network:own', '(isolated)', 'warn')
        self.tearDown()
        self.there.write_text('/root/net.xml', self.here.read_text('/root/net.xml'))
        self.there.virsh('net-create', '/root/net.xml')
        self.addCleanup(self.there.virsh, 'net-destroy', 'onlyhere')
        self.start(devices=card('network', "network='onlyhere'"))
        self.expect(self.check(), 'network:onlyhere', 'no bridge or network card')
        self.there.run(['sh', '-c', 'ip link add onlyhere type bridge && ip link set onlyhere up'])
        self.addCleanup(self.there.run, ['ip', 'link', 'del', 'onlyhere'])
        findings = self.check()
        self.assertEqual([row[0] for row in findings if row[1] == 'network:onlyhere'], ['pass', 'pass'], findings)

    def test_lock_managers(self):
        """Disks that are locked at one host only; a VM without disks does not care."""
        before = self.there.read_text('/etc/libvirt/qemu.conf')
        self.addCleanup(self.there.write_text, '/etc/libvirt/qemu.conf', before, 0o600)
        self.start(devices=disk(f'{IMAGES}/both.qcow2'))
        for setting, result in (('# lock_manager = "lockd"', 'pass'), (' lock_manager = "nop"', 'pass'),
                                ("lock_manager='lockd' # a guard", 'warn'), ('lock_manager = "sanlock"', 'refuse')):
            with self.subTest(setting):
                self.there.write_text('/etc/libvirt/qemu.conf', f'{before}\n{setting}\n', 0o600)
                if result == 'pass':
                    self.expect_pass(self.check(), 'locks')
                else:
                    self.expect(self.check(), 'locks', 'at hosta: none, at hostb: ', result)
        self.tearDown()
        self.start()
        self.expect_pass(self.check(), 'locks')

    def test_agent(self):
        """A guest agent that answers is told of, one that is silent is warned of and holds nothing up."""
        agentguest.install(self.lab)
        self.start(devices=agentguest.CHANNEL)
        self.expect(self.check(), 'agent', 'no guest agent runs', 'pass')
        self.tearDown()
        agentguest.start(self.here, 'checked', 'alive')
        for _ in range(5):  # on a busy machine even a healthy guest may take longer than the check waits
            findings = self.check()
            if not any(row[:2] == ['warn', 'agent'] for row in findings):
                break
        self.expect(findings, 'agent', 'answers', 'pass')
        self.here.virsh('suspend', 'checked')
        self.expect_pass(self.check(), 'agent')
        self.tearDown()
        agentguest.start(self.here, 'checked', 'dead')
        self.expect(self.check(), 'agent', 'did not answer', 'warn')
        self.expect_untouched()

    def test_unknown_vm(self):
        done = self.look('check', 'root@hosta', 'root@hostb', 'nosuch', check=False)
        self.assertIn('there is no VM “nosuch” at hosta', done.stderr)

    def test_unknown_and_unreachable_host(self):
        self.assertIn('Could not resolve', self.look('vm', 'nosuchhost', UUID, check=False).stderr)
        self.there.stop_sshd()
        self.addCleanup(self.there.start_sshd)
        self.assertIn('refused', self.look('vm', 'hostb', UUID, check=False).stderr)

    def test_libvirt_gone(self):
        self.there.kill_libvirtd()
        self.addCleanup(self.there.start_libvirtd)
        done = self.look('vm', 'root@hostb', UUID, check=False)
        self.assertIn('cannot reach libvirt at root@hostb', done.stderr)

    def test_not_running(self):
        self.start(how='define')
        self.expect(self.check(), 'vm', 'not running')

    def test_paused(self):
        self.start()
        self.here.virsh('suspend', 'checked')
        self.expect(self.check(), 'vm', 'is paused', 'warn')

    def test_same_host(self):
        self.start()
        self.expect(self.check(destination='root@hosta-svc'), 'same-host', 'the same host')

    def test_name_taken(self):
        self.start()
        self.start(self.there, 'define', uuid=OTHER_UUID)
        self.expect(self.check(), 'name', 'another VM called “checked”')

    def test_uuid_taken(self):
        self.start()
        self.start(self.there, 'define', name='other')
        self.expect(self.check(), 'uuid', 'under another name')
        self.there.virsh('undefine', 'other')
        self.start(self.there)
        self.expect(self.check(), 'uuid', 'already active')

    def test_old_definition_there(self):
        self.start()
        self.start(self.there, 'define')
        self.expect(self.check(), 'uuid', 'is off', 'pass')
        self.assertEqual([row for row in self.check() if row[0] == 'refuse'], [])

    def test_block_job(self):
        self.start(devices=disk(f'{IMAGES}/both.qcow2'))
        self.here.virsh('blockcopy', 'checked', 'vda', f'{IMAGES}/copy.qcow2', '--transient-job')
        self.expect(self.check(), 'block-job', 'vda')
        self.here.virsh('blockjob', 'checked', 'vda', '--abort')

    def test_snapshots(self):
        self.start(how='define', devices=disk(f'{IMAGES}/both.qcow2'))
        self.here.virsh('snapshot-create-as', 'checked', 'one')
        self.here.virsh('start', 'checked')
        findings = self.check()
        self.expect(findings, 'snapshots', '1 snapshot: ', 'pass')
        self.assertEqual([row for row in findings if row[0] == 'refuse'], [])
        self.here.virsh('destroy', 'checked')
        self.here.virsh('snapshot-delete', 'checked', 'one')

    def test_vm_states(self):
        self.start()
        self.assertEqual(self.look('vm', 'root@hosta', UUID), [['running', 'booted', 'transient', 'idle']])
        self.assertEqual(self.look('vm', 'root@hostb', UUID), [['absent', 'unknown', 'transient', 'idle']])
        self.here.virsh('suspend', 'checked')
        self.assertEqual(self.look('vm', 'root@hosta', UUID), [['paused', 'user', 'transient', 'idle']])

    def test_doctor(self):
        findings = self.look('doctor', 'root@hosta')
        self.assertEqual({row[1]: row[0] for row in findings},
                         {'ssh': 'pass', 'libvirt': 'pass', 'qemu': 'pass', 'keepalive': 'pass', 'watari': 'refuse',
                          'sockets': 'pass', 'userfaultfd': 'pass', 'security': 'pass', 'ports': 'pass', 'memory': 'pass'})
        findings = self.look('doctor', 'root@hostb')  # QEMU as Debian ships it
        self.expect(findings, 'sockets', '/run/libvirt', 'pass')
        if pathlib.Path('/proc/sys/vm/unprivileged_userfaultfd').read_text().strip() == '0':
            self.expect(findings, 'userfaultfd', 'post-copy is not possible', 'warn')
        self.here.firewall_only_ssh()
        self.addCleanup(self.here.firewall_off)
        self.expect(self.look('doctor', 'root@hosta'), 'ports', 'firewall', 'warn')
        self.expect(self.look('doctor', 'nosuchhost'), 'ssh', 'Could not resolve')


if __name__ == '__main__':
    unittest.main()
