# SPDX-License-Identifier: Apache-2.0
"""Live, with disks that are copied."""
from answers import COPYING, EITHER
from faults import KILLS
from moments import AFTER, BEHIND, SWITCHOVER, Moment
from own_disks import NOISE_MIB, OwnDisks
from proven import Premise
from scene import MIB, Scene


def copies_disks(scene):
    if scene.arrived() < 8 * MIB:
        return False
    if scene.phase('source') == 'moving' or not 1 < scene.part_copied() < NOISE_MIB - 4:
        raise Premise(f'{scene.part_copied():.1f} MiB of the disk are at the destination: not in the middle of copying')
    return True


def is_in_step(scene):
    """libvirt lets memory begin when the mirrors keep up."""
    return scene.phase('source') == 'moving' and scene.arrived_since('moving') > 2 * MIB


COPYING_DISKS = Moment('while disks are copied', COPYING, copies_disks)
IN_STEP = Moment('disks in step', COPYING, is_in_step)
ITS_OWN = ('destination disk full', 'SIGSTOP of the destination mover', "the conductor's machine crashed")


class LiveWithDisks(OwnDisks, Scene):
    name = 'live, disks copied'
    moments = (COPYING_DISKS, IN_STEP, SWITCHOVER, BEHIND, AFTER)
    tried = (*KILLS, 'link cut for 5 s', 'SIGINT', 'SIGHUP')
    tried_at = {COPYING_DISKS.name: (*ITS_OWN, 'destination disk full while the link is cut', 'sshd gone at the source',
                                     'sshd gone at the destination', 'link cut for longer than the limit',
                                     'all networks cut for 45 s', 'corrupted bytes', 'SIGTERM'),
                IN_STEP.name: ITS_OWN}
    places = ('admin',)
    answers = {(IN_STEP.name, 'destination disk full'): EITHER}  # what has its room already may need no more
