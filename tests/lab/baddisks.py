# SPDX-License-Identifier: Apache-2.0
"""Bad luck in the middle of copying disks: the scenarios of badluck.py with a guest that has a raw and a qcow2 disk of its
own, writes to both and verifies them.

However it goes, the guest runs on one host with all it ever wrote, and where it does not run there is no image that the
move has made. test_disks_badluck.py has the rows that run always, long_disks.py the others."""
import errno
import os

import badluck
from badluck import EVENTS, MIB, PATIENCE_S, VM, Event, KillLibvirtd, Premise, Row
from disklab import small_place, words
from watari_lab import disks, guest

COPYING = 'mid copy'  # some MiB of the disks have passed, and not all
PLACE = '/lab/small'  # a file system of its own at each host, so that it can run full
PLACE_MIB, NOISE_MIB = 64, 24
RAW, QCOW2 = f'{PLACE}/luck.raw', f'{PLACE}/luck.qcow2'


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

    def undo(self, scene):
        try:
            scene.cli.wait(PATIENCE_S)
        finally:
            os.unlink(self.filler)


class LinkCutAndFull(Event):
    """Both at once, so that the error is one that comes late: for writes that were acknowledged early."""

    after_s = 4.0

    def __init__(self):
        self.cut, self.full = badluck.Cut('migration', 4), DestinationFull()

    def act(self, scene):
        self.cut.act(scene)
        self.full.act(scene)

    def undo(self, scene):
        self.cut.undo(scene)
        self.full.undo(scene)


EVENTS.update({
    'destination disk full': DestinationFull(),
    'destination disk full while the link is cut': LinkCutAndFull(),
})


class DiskScene(badluck.Scene):
    """The guest's disks lie at PLACE, wherever it is; from an earlier move nothing is left there when a scenario begins."""

    bandwidth = '5M'

    def start_guest(self):
        for node in self.lab.hosts:
            if node.run(['mountpoint', '-q', PLACE], check=False).returncode:
                small_place(node, PLACE, PLACE_MIB)
            node.run(['find', PLACE, '-type', 'f', '-delete'])
        here = self.lab.host('hosta')
        disks.make(here, RAW, NOISE_MIB + 8, parts=disks.noise('luck', NOISE_MIB))
        disks.make(here, QCOW2, format='qcow2')
        guest.start(self.lab, here, VM, memory_mib=96, pattern='few', rate=50, set_mib=2, words=words(disk_rate=20),
                    disks=[guest.Disk(RAW), guest.Disk(QCOW2, 'qcow2')])
        self.last_state = None

    def take_sides(self):
        super().take_sides()
        self.hosts['destination'].run(['find', PLACE, '-type', 'f', '-delete'])
        self.before = {side: disks.listing(node, PLACE) for side, node in self.hosts.items()}
        if self.before != {'source': {RAW, QCOW2}, 'destination': set()}:
            raise Premise(f'the images are not where they should be: {self.before}')

    def reached(self, moment):
        if moment != COPYING:
            return super().reached(moment)
        return self.received('mig0') - self.received_before > 6 * MIB

    def wait_moment(self, moment):
        super().wait_moment(moment)
        if moment == COPYING:
            held = disks.allocated(self.hosts['destination'], RAW) if self.hosts['destination'].exists(RAW) else 0
            if not MIB < held < (NOISE_MIB - 4) * MIB:
                raise Premise(f'{held / MIB:.1f} MiB of the disk are at the destination: not in the middle of copying')

    def assert_intact(self):
        last = self.last_state
        super().assert_intact()
        for before, now in zip(last['disks'], self.last_state['disks']):
            assert now['writes'] > before['writes'] and not now['errors'], now

    def left_behind(self):
        here = next(iter(guest.where(self.lab, VM)), None)
        images = [f'{node.name}: {path}' for side, node in self.hosts.items() if node.name != here
                  for path in disks.listing(node, PLACE) - self.before[side]]
        return super().left_behind() + images


class BadDisks(badluck.BadLuck):
    lab_name = 'baddisks'
    scene_class = DiskScene
