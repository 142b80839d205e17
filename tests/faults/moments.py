# SPDX-License-Identifier: Apache-2.0
"""The moments of a move.

A moment says how far the move has come then (KIND of answers.py decides what may be answered), how it is recognised, and what
keeps the move there: a test fault of the program (held_by, WATARI_TEST_FAULTS, or held_at,
WATARI_TEST_HOLD), a frozen conductor, or that it lasts anyway.
"""
import collections.abc
import dataclasses

from answers import COPYING, DECIDED, EARLY, OVER, STOPPED
from scene import MIB, VM
from witness import Witness, vcpu_ns


@dataclasses.dataclass(frozen=True)
class Moment:
    name: str
    kind: str
    reached: collections.abc.Callable  # of a Scene
    held_by: str = ''
    held_at: str = ''  # a phase or an event of the journal, WATARI_TEST_HOLD
    options: tuple = ()
    freezes: bool = False  # the conductor is stopped (SIGSTOP) when it is reached, and continued when the fault has struck


def has_movers(scene):
    return scene.phase('source') and scene.phase('destination')


def is_copying(scene):
    return scene.phase('source') == 'moving' and scene.arrived() > 12 * MIB


def source_is(phase):
    return lambda scene: scene.phase('source') == phase


def runs_there(scene):
    """The guest computes at the destination; the conductor asks both hosts, tidies up and reports."""
    return sum(vcpu_ns(scene.hosts['destination'], VM).values()) > Witness.BUSY_NS


BEGIN = Moment('early', EARLY, has_movers)
MID = Moment('mid pre-copy', COPYING, is_copying)
SWITCHOVER = Moment('during switchover', STOPPED, source_is('loaded'), held_by='gate')
BEHIND = Moment('behind the gate', DECIDED, source_is('released'), held_by='release')
AFTER = Moment('after the hand-over', OVER, runs_there, freezes=True)
