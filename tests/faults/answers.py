# SPDX-License-Identifier: Apache-2.0
"""What a move may answer when something happens to it: by what the fault does to a move, and by how far that had come."""
import dataclasses

MOVED, REFUSED, FAILED, ATTENTION, CANCELLED, KILLED = 0, 3, 4, 5, 6, 137
ENDS = {MOVED: 'destination', REFUSED: 'source', FAILED: 'source', CANCELLED: 'source'}  # what a code promises
SOURCE, DESTINATION, NOWHERE = 'source', 'destination', 'nowhere'

# How far a move has come. A moment of a way is of one of these kinds.
EARLY = 'early'  # nothing moves yet
COPYING = 'copying'  # the guest runs at the source
STOPPED = 'stopped'  # the guest stands still, nothing is handed over
DECIDED = 'decided'  # the hand-over is decided, not everybody knows it
OVER = 'over'  # the guest runs at the destination
PARTIAL = 'partial'  # post-copy: neither host alone has the guest
KINDS = (EARLY, COPYING, STOPPED, DECIDED, OVER)


@dataclasses.dataclass(frozen=True)
class Answer:
    """The exit codes that are right, and where the guest may be then. With ATTENTION (or a killed conductor) that is what
    `watari resolve` must bring about; NOWHERE: the fault itself was the guest's end."""

    codes: tuple
    ends: tuple

    def lost(self):
        return Answer(self.codes, (NOWHERE,))


BACK = Answer((FAILED,), (SOURCE,))
BACK_OR_REFUSED = Answer((REFUSED, FAILED), (SOURCE,))
GOES_ON = Answer((MOVED,), (DESTINATION,))
EITHER = Answer((MOVED, FAILED), (SOURCE, DESTINATION))
UNCLEAR = Answer((MOVED, FAILED, ATTENTION), (SOURCE, DESTINATION))

# What a fault does to a move: by kind of moment.
BREAKS = {EARLY: BACK_OR_REFUSED, COPYING: BACK, STOPPED: BACK, DECIDED: EITHER, OVER: GOES_ON}
DELAYS = {EARLY: Answer((MOVED, REFUSED), (SOURCE, DESTINATION)), COPYING: GOES_ON, STOPPED: GOES_ON, DECIDED: GOES_ON, OVER: GOES_ON}
HARMLESS = dict.fromkeys(KINDS, GOES_ON)
MAY_BREAK = {EARLY: Answer((MOVED, REFUSED, FAILED), (SOURCE, DESTINATION)), COPYING: EITHER, STOPPED: EITHER, DECIDED: EITHER,
             OVER: GOES_ON}
DARK = {EARLY: BACK_OR_REFUSED, COPYING: UNCLEAR, STOPPED: UNCLEAR, DECIDED: UNCLEAR,
        OVER: Answer((MOVED, ATTENTION), (DESTINATION,))}
CANCELS = {**dict.fromkeys(KINDS, Answer((CANCELLED,), (SOURCE,))), DECIDED: Answer((CANCELLED, MOVED), (SOURCE, DESTINATION)),
           OVER: GOES_ON}
DIES = {**dict.fromkeys(KINDS, Answer((KILLED,), (SOURCE,))), DECIDED: Answer((KILLED,), (SOURCE, DESTINATION)),
        OVER: Answer((KILLED,), (DESTINATION,))}
