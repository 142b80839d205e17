# SPDX-License-Identifier: Apache-2.0
"""`watari rehearse`: everything of a move but the switchover, so whatever happens, the guest runs at the source."""
import dataclasses

from watari_lab import client

from answers import COPYING, SOURCE
from faults import KILLS
from moments import BEGIN, Moment
from own_disks import OwnDisks
from scene import VM, Scene
from way_disks import IN_STEP

MOST_GAP_MS = 1500  # on a busy machine


def copies_a_part(scene):
    return scene.phase('source') == 'setup' and scene.part_copied() > 2


PART = Moment('while a part of the disks is copied', COPYING, copies_a_part)


class Rehearse(OwnDisks, Scene):
    name = 'rehearsal'
    moments = (BEGIN, PART, dataclasses.replace(IN_STEP, name='while memory is copied'))
    done_at = SOURCE  # where the guest is after exit code 0
    tried = (*KILLS, 'sshd gone at the source', 'sshd gone at the destination', 'link cut for longer than the limit', 'SIGINT',
             'SIGHUP')
    places = ('admin',)
    bandwidth = '5M'

    def words(self, conductor):
        return ['watari', 'rehearse', *self.vm_words(conductor), '--json', '-v', '--max-disk', '8M', '--max-time', '15s',
                *self.link_words()]

    @classmethod
    def answer(cls, moment, fault):
        return dataclasses.replace(super().answer(moment, fault), ends=(SOURCE,))

    def play(self, cell):
        """A client notices when it stands still."""
        prober = client.Prober(self.lab, VM).start()
        try:
            return super().play(cell)
        finally:
            gap = prober.stop()['longest_gap']['ms']
            self.say(f'longest gap seen by the client {gap:.0f} ms')
            assert gap < MOST_GAP_MS, f'the guest did not answer for {gap:.0f} ms'
