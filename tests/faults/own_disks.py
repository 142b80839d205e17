# SPDX-License-Identifier: Apache-2.0
"""A guest with a raw and a qcow2 disk of its own, which it writes to and verifies: they are copied with it. Where it does not
run there is no image that the move has made, and behind what it writes the disks are what they were made as."""
import errno
import os

from watari_lab import disks, guest

from faults import Cut, Event
from proven import Premise
from scene import MIB, VM

PLACE = '/lab/small'  # a file system of its own at each host
PRISTINE = '/lab/pristine'  # at the first host: as the images were made
PLACE_MIB, NOISE_MIB = 64, 24
RAW, QCOW2 = f'{PLACE}/luck.raw', f'{PLACE}/luck.qcow2'
IMAGES = (RAW, QCOW2)
WORDS = f'watari.disk_set={disks.AREA_MIB} watari.disk_rate=20 watari.mem=16'


def pristine_of(path):
    return f'{PRISTINE}/as-made-{os.path.basename(path)}'


class DestinationFull(Event):
    """There was room when the move began; something else took it."""

    def act(self, scene):
        place = scene.hosts['destination'].path(PLACE)
        self.filler = f'{place}/filler'
        with open(self.filler, 'wb', buffering=0) as file:
            try:
                while file.write(bytes(MIB)):  # the move writes at the same time: however much it leaves
                    pass
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
        if os.statvfs(place).f_bavail * 4096 > MIB:
            raise Premise(f'{PLACE} is not full')

    def follow(self, scene):
        os.unlink(self.filler)


class LinkCutAndFull(Event):
    """Both at once, so that the error is one that comes late: for writes that were acknowledged early."""

    after_s = 4.0

    def __init__(self):
        self.cut, self.full = Cut('migration', self.after_s), DestinationFull()

    def act(self, scene):
        self.cut.act(scene)
        self.full.act(scene)

    def undo(self, scene):
        self.cut.undo(scene)

    def follow(self, scene):
        self.full.follow(scene)


class OwnDisks:
    """A part of a Scene."""

    bandwidth = '6M'

    def make_images(self):
        first = self.lab.hosts[0]
        for node in self.lab.hosts:
            if node.run(['mountpoint', '-q', PLACE], check=False).returncode:
                node.run(['mkdir', '-p', PLACE])
                node.run(['mount', '-t', 'tmpfs', '-o', f'size={PLACE_MIB}m', 'tmpfs', PLACE])
            node.run(['find', PLACE, '-type', 'f', '-delete'])
        first.run(['mkdir', '-p', PRISTINE])
        for path, more in ((RAW, {'mib': NOISE_MIB + 8, 'parts': disks.noise(VM, NOISE_MIB)}), (QCOW2, {'format': 'qcow2'})):
            pristine = pristine_of(path)
            if not first.exists(pristine):
                disks.make(first, pristine, **more)
            first.run(['cp', '--sparse=always', pristine, path])

    def start_guest(self):
        self.make_images()
        guest.start(self.lab, 'hosta', VM, memory_mib=96, pattern='few', rate=50, set_mib=2, words=WORDS,
                    disks=[guest.Disk(RAW), guest.Disk(QCOW2, 'qcow2')])
        self.last_state = None

    def take_sides(self):
        super().take_sides()
        self.hosts['destination'].run(['find', PLACE, '-type', 'f', '-delete'])
        found = {side: disks.listing(node, PLACE) for side, node in self.hosts.items()}
        if found != {'source': set(IMAGES), 'destination': set()}:
            raise Premise(f'the images are not where they should be: {found}')

    def part_copied(self):
        """MiB of the raw disk at the destination."""
        there = self.hosts['destination']
        return disks.allocated(there, RAW) / MIB if there.exists(RAW) else 0

    def assert_intact(self):
        last = self.last_state
        super().assert_intact()
        for before, now in zip(last['disks'] if last else (), self.last_state['disks']):
            assert now['writes'] > before['writes'] and not now['errors'], now

        (name,) = self.where()
        node = self.lab.host(name)
        node.virsh('suspend', VM)
        try:
            self.assert_as_made(node)
        finally:
            node.virsh('resume', VM)

    def assert_as_made(self, node, area_mib=disks.AREA_MIB):
        for path in IMAGES:
            differ = disks.differing(node, path, self.lab.hosts[0], pristine_of(path))
            differ = disks.outside_area(differ, area_mib)
            assert not differ, f'{path} at {node.name} is not what it was, at {differ[:5]}'

    def left_behind(self, side):
        """At the destination when the guest is not there, but for what a guest that ran there had; at the source the old
        images stay."""
        found = {at: disks.listing(node, PLACE) for at, node in self.hosts.items()}
        allowed = set(IMAGES) if side != 'source' else set()
        said = [line for line in ''.join(self.said).splitlines() if 'is not removed' in line]  # whoever cannot must say so
        found['destination'] = {path for path in found['destination'] if not any(path in line for line in said)}
        left = found['source'] - set(IMAGES) | found['destination'] - allowed
        missing = set(IMAGES) - found[side] if side in found else set()
        return super().left_behind(side) + [f'image left: {path}' for path in left] + [f'image lost: {path}' for path in missing]
