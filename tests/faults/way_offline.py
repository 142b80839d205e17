# SPDX-License-Identifier: Apache-2.0
"""`watari migrate --offline`: the VM is off; its disks are copied, and then its definition moves."""
from watari_lab import guest

from answers import ATTENTION, CANCELLED, COPYING, DESTINATION, MOVED, OVER, SOURCE, Answer
from moments import Moment
from own_disks import NOISE_MIB, QCOW2, RAW, WORDS, OwnDisks
from scene import VM, Scene


def copies_disks(scene):
    copied = scene.part_copied()
    return 2 < copied < NOISE_MIB - 4


COPY = Moment('while disks are copied', COPYING, copies_disks)
DEFINING = Moment('about to be defined there', COPYING, lambda scene: scene.written('defining'), held_at='defining')
DEFINED = Moment('defined at both', OVER, lambda scene: scene.written('ending'), held_at='ending')


class Offline(OwnDisks, Scene):
    name = 'offline'
    moments = (COPY, DEFINING, DEFINED)
    runs_as = 'shut off'
    computes = False
    tried = ('kill -9 of the conductor', 'kill -9 of the source libvirtd', 'kill -9 of the destination libvirtd',
             'sshd gone at the source', 'sshd gone at the destination', 'SIGINT', 'SIGHUP', 'conductor killed, then a new move',
             'conductor killed, then two resolve at once')
    tried_at = {COPY.name: ('kill -9 of the source mover', 'kill -9 of the destination mover', 'link cut for 5 s',
                            'link cut for longer than the limit', 'destination disk full', "the conductor's machine crashed"),
                DEFINED.name: ("the conductor's machine crashed",)}
    places = ('admin',)
    answers = {(DEFINING.name, 'SIGINT'): Answer((CANCELLED, MOVED), (SOURCE, DESTINATION)),
               **{(DEFINED.name, fault): Answer((MOVED, ATTENTION), (DESTINATION,)) for fault in (
                   'kill -9 of the source libvirtd', 'kill -9 of the destination libvirtd', 'sshd gone at the source',
                   'sshd gone at the destination')}}
    bandwidth = '8M'

    def start_guest(self):
        self.make_images()
        here = self.lab.hosts[0]
        images = [guest.Disk(RAW), guest.Disk(QCOW2, 'qcow2')]
        here.write_text('/tmp/luck.xml', guest.small_xml(self.lab, here, VM, memory_mib=96, words=WORDS, disks=images))
        here.virsh('define', '/tmp/luck.xml')

    def remember(self):
        """It is off: all it is lies in its images."""

    def where(self):
        found = {node.name: node.virsh('domstate', VM, check=False) for node in self.lab.hosts}
        return {name: told.stdout.strip() for name, told in found.items() if told.returncode == 0}

    def words(self, conductor):
        return ['watari', 'migrate', '--offline', *self.vm_words(conductor), '--json', '-v', *self.link_words()]

    def assert_intact(self):
        (name,) = self.where()
        self.assert_as_made(self.lab.host(name), area_mib=0)

    def left_behind(self, side):
        tools = [f'{node.name}: {line[:100]}' for node in self.hosts.values() for name in ('qemu-img', 'qemu-storage-daemon')
                 for _, line in node.processes(name)]
        return super().left_behind(side) + tools
