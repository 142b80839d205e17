# SPDX-License-Identifier: Apache-2.0
"""Post-copy: the guest runs at the destination with a part of its memory, and the rest follows over a slow link."""
import time

from watari_lab import guest

from answers import ATTENTION, COPYING, DECIDED, DESTINATION, KILLED, MOVED, PARTIAL, Answer
from faults import KILLS
from moments import Moment
from proven import Premise
from scene import MIB, PATIENCE_S, VM, Scene

AT_ONCE = ('--strategy', 'postcopy')  # in a guest of this size, before much of it has passed
LATE_S = 6  # earlier a thread of QEMU may wait for a page with its lock held, and cannot be recovered then (docs/design.md)


def is_in_precopy(scene):
    return scene.phase('source') == 'moving' and scene.arrived() > 6 * MIB


def has_switched(scene):
    return scene.phase('source') == 'postcopy'


def lacks_pages(scene):
    if not all(scene.phase(side) == 'postcopy' for side in ('source', 'destination')):
        if 'both' in scene.marks:
            raise Premise('post-copy was over')
        return False
    return time.monotonic() - scene.marks.setdefault('both', time.monotonic()) > LATE_S


PRECOPY = Moment('before the switch', COPYING, is_in_precopy)
SWITCH = Moment('at the switch', PARTIAL, has_switched, options=AT_ONCE)
PAGES_MISSING = Moment('while pages are missing', PARTIAL, lacks_pages, options=AT_ONCE)


class PostCopy(Scene):
    name = 'post-copy'
    moments = (PRECOPY, SWITCH, PAGES_MISSING)
    tried = (*KILLS, 'link cut for 5 s', 'SIGINT', 'SIGHUP')
    places = ('admin',)
    unprivileged = False  # that QEMU may not do it, unless the kernel is told
    rate = '25mbit'

    @classmethod
    def answer(cls, moment, fault):
        """From the switch on the guest is at the destination, and whatever breaks is mended or waits for `watari resolve`."""
        if moment.kind != PARTIAL:
            return super().answer(moment, fault)
        killed = KILLED in fault.does[DECIDED].codes
        return Answer((KILLED,) if killed else (MOVED, ATTENTION), (DESTINATION,))

    def start_guest(self):
        guest.start(self.lab, 'hosta', VM, memory_mib=128, pattern='random', rate=4000, set_mib=64)
        self.last_state = None

    def words(self, conductor):
        return ['watari', 'migrate', *self.vm_words(conductor), '--json', '-v', '--max-downtime', '25s', '--allow-postcopy',
                *self.link_words()]

    def link_words(self):
        return super().link_words()[:-2]  # the link itself is slow

    def launch(self, *cell):
        self.lab.link(rate=self.rate)
        super().launch(*cell)

    def play(self, cell):
        try:
            return super().play(cell)
        finally:
            self.lab.link(rate=None)

    def resolve(self):
        """Until the last page is there, as the words say."""
        end = time.monotonic() + PATIENCE_S
        code, document = self.ask_resolve()
        while code == ATTENTION and document['situation'] in ('post-copy', 'moving') and time.monotonic() < end:
            time.sleep(2)
            code, document = self.ask_resolve()
        assert code == MOVED, f'resolve answers {code}: {document["error"]}'
