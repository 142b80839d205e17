# SPDX-License-Identifier: Apache-2.0
"""`watari quick` over the link: the guest stands still while its memory moves."""
from watari_lab import guest

from answers import COPYING, STOPPED
from faults import KILLS
from moments import AFTER, BEHIND, SWITCHOVER, Moment
from own_disks import OwnDisks
from scene import MIB, VM, Scene
from way_disks import COPYING_DISKS


def is_in_first_pass(scene):
    return scene.phase('source') == 'moving' and scene.arrived() > 6 * MIB and scene.state('source').startswith('running')


def stands_still(scene):
    still = scene.phase('source') == 'moving' and scene.state('source') == 'paused (migrating)'
    return still and scene.arrived_since('stop') > 2 * MIB


FIRST_PASS = Moment('in the first pass', COPYING, is_in_first_pass, options=('--prewarm',))
STILL = Moment('while it stands still', STOPPED, stands_still)


class Quick(Scene):
    """One disk, which both hosts share."""

    name = 'quick, disk shared'
    moments = (FIRST_PASS, STILL, SWITCHOVER, BEHIND, AFTER)
    tried = (*KILLS, 'link cut for longer than the limit', 'SIGINT', 'SIGHUP')
    tried_at = {STILL.name: ('link cut for 5 s', 'SIGSTOP of the source mover', 'SIGSTOP of the source mover and its child',
                             'sshd gone at the source', 'sshd gone at the destination', 'conductor killed, then a new move')}
    places = ('admin',)
    ceiling_s = 12.0
    bandwidth = '6M'

    @classmethod
    def ceiling(cls):
        return ('--max-stop', f'{cls.ceiling_s:.0f}s')

    def start_guest(self):
        image = guest.make_disk(self.lab, VM)
        guest.start(self.lab, 'hosta', VM, memory_mib=128, pattern='random', rate=150, set_mib=12, disks=[image],
                    words='watari.disk_set=4 watari.disk_rate=20')
        self.last_state = None

    def words(self, conductor):
        return ['watari', 'quick', *self.vm_words(conductor), '--yes', '--json', '-v', '--max-stop', '60s', *self.link_words()]


class QuickWithDisks(OwnDisks, Quick):
    name = 'quick, disks copied'
    moments = (COPYING_DISKS, STILL, SWITCHOVER, BEHIND)
    tried = ('kill -9 of the source mover', 'kill -9 of the destination mover', 'kill -9 of the conductor', 'SIGINT')
    tried_at = dict.fromkeys((COPYING_DISKS.name, STILL.name), ('destination disk full',))

    def start_guest(self):
        OwnDisks.start_guest(self)
