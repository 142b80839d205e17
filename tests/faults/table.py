# SPDX-License-Identifier: Apache-2.0
"""The one table: every way at every moment under every fault, and what may be answered.

A fault is a row here; what it does to a move (answers.py) says what is right at each kind of moment. Where a cell is not run,
the reason stands in NOT_RUN, or in the fault's own `only`. A new way needs a row in ways.WAYS, a new fault one in FAULTS.
"""
import dataclasses
import functools
import os
import re
import signal

import faults
import faults_directory
import faults_machines
import own_disks
from answers import (ATTENTION, BACK_OR_REFUSED, BREAKS, CANCELS, COPYING, DARK, DECIDED, DELAYS, DESTINATION, DIES, EARLY, EITHER,
                     FAILED, HARMLESS, KILLED, MAY_BREAK, MOVED, NOWHERE, OVER, REFUSED, SOURCE, STOPPED, Answer)
from moments import Moment
from ways import WAYS

ADMIN = ('admin',)
EVERYWHERE = ('admin', 'source', 'destination')
NOT_YET = 'cannot be forced: it is not there yet'
COPIES = ('live, disks copied', 'quick, disks copied', 'offline')
THROUGH = ('quick through a directory',)
GONE = 'cannot be forced: it has ended by then'


@dataclasses.dataclass(frozen=True)
class Fault:
    """does: a table of answers.py. not_run: {kind of moment: reason}. places: where the conductor runs, in cells of their own."""

    name: str
    event: faults.Event
    does: dict
    places: tuple = ADMIN
    has_ceiling: bool = False  # the way's options for a low ceiling, and for little patience with the link
    is_impatient: bool = False
    options: tuple = ()  # more words, of a live move
    not_run: dict = dataclasses.field(default_factory=dict)
    ways: tuple = ()  # names of those that it can strike; (): all

    def may_strike(self, way):
        return not self.ways or way.name in self.ways


# The guest's own QEMU is killed: no move loses it, and none may say that it runs. Where the move could be completed it is.
SOURCE_ENDS = {EARLY: Answer((REFUSED, FAILED), (NOWHERE,)), COPYING: Answer((FAILED,), (NOWHERE,)),
               STOPPED: Answer((FAILED,), (NOWHERE,)), DECIDED: Answer((MOVED, FAILED, ATTENTION), (DESTINATION, NOWHERE)),
               OVER: Answer((MOVED,), (DESTINATION,))}
# The copy that arrives is; behind the hand-over that is the guest.
ARRIVING_ENDS = {**BREAKS, DECIDED: Answer((FAILED, ATTENTION), (SOURCE,)), OVER: Answer((MOVED, ATTENTION), (NOWHERE,))}
SOURCE_HOST_ENDS = {EARLY: Answer((REFUSED, FAILED, ATTENTION), (NOWHERE,)), COPYING: Answer((FAILED, ATTENTION), (NOWHERE,)),
                    STOPPED: Answer((FAILED, ATTENTION), (NOWHERE,)),
                    DECIDED: Answer((MOVED, FAILED, ATTENTION), (DESTINATION, NOWHERE)),
                    OVER: Answer((MOVED, ATTENTION), (DESTINATION,))}
DESTINATION_HOST_ENDS = {EARLY: Answer((REFUSED, FAILED, ATTENTION), (SOURCE,)), COPYING: Answer((FAILED, ATTENTION), (SOURCE,)),
                         STOPPED: Answer((FAILED, ATTENTION), (SOURCE,)), DECIDED: Answer((FAILED, ATTENTION), (SOURCE,)),
                         OVER: Answer((MOVED, ATTENTION), (NOWHERE,))}
# A conductor that hangs: memory goes on to the gate without it, and no further.
GIVEN_UP = {**DIES, DECIDED: Answer((KILLED,), (SOURCE,))}
# What cannot be written down is not begun, as long as the guest runs at the source.
UNWRITTEN = {**HARMLESS, EARLY: BACK_OR_REFUSED, COPYING: EITHER}
# A dead conductor, and somebody who moves the VM again: it may go there by that.
DIES_AND_AGAIN = {kind: Answer((KILLED,), (SOURCE, DESTINATION)) for kind in DIES}

FAULTS = (
    Fault('kill -9 of the source mover', faults.KillMover('source'), BREAKS, ('admin', 'source')),
    Fault('kill -9 of the destination mover', faults.KillMover('destination'), BREAKS, ('admin', 'destination')),
    Fault('kill -9 of the conductor', faults.KillConductor(), DIES, EVERYWHERE),
    Fault('kill -9 of the source libvirtd', faults.KillLibvirtd('source'), BREAKS, ('admin', 'source')),
    Fault('kill -9 of the destination libvirtd', faults.KillLibvirtd('destination'), BREAKS, ('admin', 'source')),
    Fault('kill -9 of the source QEMU', faults.KillQemu('source'), SOURCE_ENDS),
    Fault('kill -9 of the destination QEMU', faults.KillQemu('destination'), ARRIVING_ENDS, not_run={EARLY: NOT_YET}),
    Fault('sshd gone at the source', faults.SshdGone('source'), BREAKS, ('admin', 'destination')),
    Fault('sshd gone at the destination', faults.SshdGone('destination'), BREAKS, ('admin', 'source')),
    Fault('link cut for 5 s', faults.Cut('migration', 5), DELAYS),
    Fault('link cut for longer than the limit', faults.Cut('migration', 9), BREAKS, is_impatient=True),
    Fault('all networks cut for 45 s', faults.Cut('all', 45), DARK, ('admin', 'source')),
    Fault('corrupted bytes', faults.Corrupt(), HARMLESS,
          not_run={kind: 'cannot be forced: too few bytes pass' for kind in (STOPPED, DECIDED, OVER)}),
    Fault('SIGINT', faults.Signal(signal.SIGINT), CANCELS, ('admin', 'source')),
    Fault('SIGTERM', faults.Signal(signal.SIGTERM), CANCELS),
    Fault('SIGHUP', faults.Signal(signal.SIGHUP), HARMLESS),
    Fault('SIGSTOP of the source mover', faults.HangMover('source'), BREAKS, has_ceiling=True, is_impatient=True),
    Fault('SIGSTOP of the source mover and its child', faults.HangMover('source', and_child=True), BREAKS,
          has_ceiling=True, is_impatient=True, not_run={OVER: GONE}),
    Fault('SIGSTOP of the destination mover', faults.HangMover('destination'), BREAKS, has_ceiling=True, is_impatient=True),
    Fault('SIGSTOP of the conductor for 8 s', faults.HangConductor(8), MAY_BREAK),
    Fault('SIGSTOP of the conductor for good', faults.HangConductorForGood(), GIVEN_UP, options=faults.HangConductorForGood.CEILING),
    Fault('SIGSTOP of the source libvirtd for 8 s', faults.Hang('libvirtd', 'source', 8), MAY_BREAK),
    Fault('SIGSTOP of the destination libvirtd for 8 s', faults.Hang('libvirtd', 'destination', 8), MAY_BREAK),
    Fault('SIGSTOP of the destination QEMU for 8 s', faults.Hang('QEMU', 'destination', 8), MAY_BREAK, not_run={EARLY: NOT_YET}),
    Fault('journal full', faults.JournalFull(), UNWRITTEN),
    Fault('journal read-only', faults.JournalReadOnly(), HARMLESS,
          not_run={kind: 'cannot be forced: what is open for writing cannot be made read-only; it is from the beginning'
                   for kind in (COPYING, STOPPED, DECIDED, OVER)}),
    Fault('journal locked for 6 s', faults.JournalLocked(6), HARMLESS),
    Fault('journal locked for 25 s', faults.JournalLocked(25), HARMLESS),
    Fault('clock an hour ahead at the source', faults.StepClock('source', 3600), HARMLESS, ('admin', 'source')),
    Fault('clock an hour back at the source', faults.StepClock('source', -3600), HARMLESS, ('source',)),
    Fault('clock an hour ahead at the destination', faults.StepClock('destination', 3600), HARMLESS, ('admin', 'destination')),
    Fault('clock an hour back at the destination', faults.StepClock('destination', -3600), HARMLESS, ('destination',)),
    Fault('a second move from the same conductor', faults.SecondMove(), HARMLESS),
    Fault('a second move from another conductor', faults.SecondMove(elsewhere=True), HARMLESS),
    Fault('conductor killed, then a new move', faults.AnewAfterCrash(), DIES_AND_AGAIN),
    Fault('conductor killed, then resolve killed', faults.ResolveKilled(), DIES),
    Fault('conductor killed, then two resolve at once', faults.ResolveTwice(), DIES),
    Fault('destination disk full', own_disks.DestinationFull(), BREAKS, ways=COPIES),
    Fault('destination disk full while the link is cut', own_disks.LinkCutAndFull(), BREAKS, ways=COPIES),
    Fault('the directory is full', faults_directory.DirectoryFull(), BREAKS, ways=THROUGH),
    Fault('the directory is gone at the source', faults_directory.DirectoryGone('source'), BREAKS, ways=THROUGH),
    Fault('the directory is gone at the destination', faults_directory.DirectoryGone('destination'), BREAKS, ways=THROUGH),
    Fault('the directory is read-only', faults_directory.DirectoryReadOnly(), HARMLESS, ways=THROUGH),
    Fault('the state is changed', faults_directory.StateSpoilt(faults_directory.change), BREAKS, ways=THROUGH),
    Fault('the state is cut short', faults_directory.StateSpoilt(faults_directory.cut_short), BREAKS, ways=THROUGH),
    Fault('the state is removed', faults_directory.StateSpoilt(os.unlink), BREAKS, ways=THROUGH),
    Fault("the conductor's machine crashed", faults_machines.ConductorCrash(), DIES),
    Fault('the source host crashed', faults_machines.HostCrash('source'), SOURCE_HOST_ENDS),
    Fault('the destination host crashed', faults_machines.HostCrash('destination'), DESTINATION_HOST_ENDS),
)

# (way, moment or '' for all, fault) that is not run, and why.
LOCKED = 'a thread of QEMU may wait for a page with its lock held, and then libvirt cannot recover it (docs/design.md)'
LIBVIRT_ENDS = ('the fault itself is the end of the guest: a libvirtd that is started again before Finish ends the copy that came '
                '(tried, docs/design.md)')
PART_LOST = 'the fault itself would be the end of the guest: a part of its memory was there'
NOT_RUN = {
    ('post-copy', 'at the switch', 'kill -9 of the source mover'): LOCKED,
    ('post-copy', 'at the switch', 'kill -9 of the destination mover'): LOCKED,
    ('post-copy', 'at the switch', 'kill -9 of the destination QEMU'): PART_LOST,
    ('post-copy', 'at the switch', 'kill -9 of the destination libvirtd'): LIBVIRT_ENDS,
    ('post-copy', 'while pages are missing', 'kill -9 of the destination QEMU'): PART_LOST,
    ('live', 'after the hand-over', 'kill -9 of the source QEMU'): 'cannot be forced: libvirt ends it in the same moment',
}


@dataclasses.dataclass(frozen=True)
class Cell:
    way: type
    moment: Moment
    fault: Fault
    place: str  # where the conductor runs

    @property
    def answer(self):
        return self.way.answer(self.moment, self.fault)

    @property
    def options(self):
        ceiling = self.way.ceiling() if self.fault.has_ceiling else ()
        return (*ceiling, *(self.way.impatient if self.fault.is_impatient else ()), *self.fault.options)

    @property
    def is_probed(self):
        """A client asks all the time, and it is heard who tells the network where the guest is: where it comes back from a stop."""
        return self.moment.kind == STOPPED and self.answer.ends == (SOURCE,)

    @property
    def name(self):
        where = '' if self.place == 'admin' else f', conductor at the {self.place}'
        return f'{self.way.name}, {self.moment.name}: {self.fault.name}{where}'

    @property
    def file_name(self):
        return re.sub('[^A-Za-z0-9]+', '_', self.name).strip('_') + '.json'

    @property
    def why_not(self):
        """None: it is run."""
        for key in ((self.way.name, self.moment.name, self.fault.name), (self.way.name, '', self.fault.name)):
            if key in NOT_RUN:
                return NOT_RUN[key]
        return self.fault.not_run.get(self.moment.kind)


@functools.cache
def cells():
    return [Cell(way, moment, fault, place) for way in WAYS for moment in way.moments for fault in FAULTS
            if fault.may_strike(way) and way.tries(moment.name, fault.name) for place in way.places or fault.places]


def find(way, moment, fault, place='admin'):
    """The cell that is named like this."""
    (cell,) = (cell for cell in cells()
               if (cell.way.name, cell.moment.name, cell.fault.name, cell.place) == (way, moment, fault, place))
    return cell
