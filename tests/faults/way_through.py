# SPDX-License-Identifier: Apache-2.0
"""`watari quick --through DIR`: the guest's state goes through a directory that both hosts see. Here it is a small file system
of its own on a device that both have, so that it can run full, vanish or be made read-only."""
import os
import threading

from watari_lab import guest

from answers import ATTENTION, DECIDED, FAILED, GOES_ON, MOVED, SOURCE, STOPPED, UNCLEAR, Answer
from faults_directory import DEVICE, PLACE
from moments import AFTER, Moment
from proven import continue_if_there, stop_proven
from scene import MIB, VM, Scene

PLACE_MIB = 288
STAYS_S = 3.0


def freeze(scene, pid):
    """As the program's own holds do: for 3 s."""
    stop_proven(pid)
    timer = threading.Timer(STAYS_S, continue_if_there, [pid])
    timer.daemon = True
    timer.start()


def is_saving(scene):
    """libvirt's helper that writes the file is held in the middle of it."""
    for pid, line in scene.hosts['source'].processes('libvirt_iohelper'):
        if PLACE in line and scene.state_bytes() > MIB:
            freeze(scene, pid)
            return True
    return False


def is_restoring(scene):
    """The QEMU that reads the state is held; there is no other copy now."""
    qemus = scene.qemus('destination')
    if qemus:
        freeze(scene, qemus[0])
    return bool(qemus)


def written(word):
    return lambda scene: scene.written(word)


SAVING = Moment('while the state is saved', STOPPED, is_saving)
SAVED = Moment('saved, not checked yet', STOPPED, written('restore'), held_at='restore')
LEFT = Moment('the source is about to be ended', STOPPED, written('through-left'), held_at='through-left')
RESTORING = Moment('while it is restored', DECIDED, is_restoring)
RESTORED = Moment('restored, about to go on', DECIDED, written('through-resumed'), held_at='through-resumed')


class Through(Scene):
    name = 'quick through a directory'
    moments = (SAVING, SAVED, LEFT, RESTORING, RESTORED, AFTER)
    tried = ('kill -9 of the conductor', 'kill -9 of the source libvirtd', 'kill -9 of the destination libvirtd',
             'sshd gone at the source', 'sshd gone at the destination', 'SIGINT', 'SIGHUP')
    tried_at = {SAVING.name: ('the directory is full', 'the directory is gone at the destination', 'kill -9 of the source QEMU'),
                SAVED.name: ('the directory is gone at the source', 'the directory is gone at the destination',
                             'the directory is read-only', 'the state is changed', 'the state is cut short', 'the state is removed',
                             'kill -9 of the source QEMU', "the conductor's machine crashed"),
                LEFT.name: ('the directory is gone at the destination', 'the directory is read-only'),
                RESTORING.name: ('the directory is gone at the destination', 'kill -9 of the destination QEMU',
                                 "the conductor's machine crashed", 'conductor killed, then two resolve at once'),
                RESTORED.name: ('kill -9 of the destination QEMU', "the conductor's machine crashed"),
                AFTER.name: ('the directory is read-only', 'kill -9 of the destination QEMU')}
    places = ('admin',)
    answers = {(LEFT.name, 'SIGINT'): GOES_ON,  # it comes too late
               (SAVED.name, 'the directory is gone at the source'): GOES_ON,  # the destination has what it needs
               (RESTORED.name, 'kill -9 of the destination QEMU'): Answer((FAILED,), (SOURCE,)),  # it never ran there
               **{(RESTORED.name, fault): UNCLEAR
                  for fault in ('kill -9 of the destination libvirtd', 'sshd gone at the destination')}}
    impatient = ()
    least_sshd = 2  # its movers run for a moment only

    def start_guest(self):
        self.mount()
        for node in self.lab.hosts:  # where its QEMU was killed the definition stayed
            node.virsh('undefine', VM, check=False)
        image = guest.make_disk(self.lab, VM)
        guest.start(self.lab, 'hosta', VM, memory_mib=160, pattern='random', rate=150, set_mib=80, disks=[image],
                    words='watari.disk_set=4 watari.disk_rate=20', persistent=True)
        self.last_state = None

    def mount(self):
        first, second = self.lab.hosts
        if not first.exists(DEVICE):
            image = '/lab/images/through.ext4'
            first.run(['truncate', '-s', f'{PLACE_MIB}M', image])
            first.run(['mkfs.ext4', '-q', '-m', '0', image])
            self.lab.block_device(image, DEVICE, [first.name, second.name])
        for node in (first, second):
            node.run(['mkdir', '-p', PLACE])
            if node.run(['mountpoint', '-q', PLACE], check=False).returncode:
                node.run(['mount', DEVICE, PLACE])
            node.run(['mount', '-o', 'remount,rw', PLACE])
            node.run(['find', PLACE, '-type', 'f', '-delete'])

    def words(self, conductor):
        return ['watari', 'quick', *self.vm_words(conductor), '--yes', '--json', '-v', '--max-stop', '60s', '--through', PLACE]

    def files(self):
        place = self.hosts['source'].path(PLACE)
        return [f'{place}/{name}' for name in os.listdir(place) if name.startswith('watari-')]

    def state_bytes(self):
        return sum(os.stat(path).st_size for path in self.files() if path.endswith('.state'))

    def resolve(self):
        """Where the VM stands still after it may have run, a person does what the words say."""
        code, document = self.ask_resolve()
        if code == ATTENTION and document['situation'] == 'destination-stopped':
            assert 'virsh resume' in document['error']['next']
            self.hosts['destination'].virsh('resume', VM)
            code, document = self.ask_resolve()
        assert code == MOVED, f'resolve answers {code}: {document["error"]}'

    def left_behind(self, side):
        there = {at for at, node in self.hosts.items()
                 if VM in node.virsh('list', '--all', '--persistent', '--name').stdout.split()}
        wrong = [f'defined at {sorted(there)}'] if there != {side} and side in self.hosts else []
        return super().left_behind(side) + wrong + [f'left: {os.path.basename(path)}' for path in self.files()]
