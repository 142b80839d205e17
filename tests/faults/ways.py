# SPDX-License-Identifier: Apache-2.0
"""The ways of moving: each is a Scene with its guest, its command line and its moments."""
from moments import AFTER, BEGIN, BEHIND, MID, SWITCHOVER
from scene import Scene
from way_disks import LiveWithDisks
from way_offline import Offline
from way_postcopy import PostCopy
from way_quick import Quick, QuickWithDisks
from way_rehearse import Rehearse
from way_through import Through


class Live(Scene):
    """Memory alone, in pre-copy: the guest has no disk."""

    name = 'live'
    moments = (BEGIN, MID, SWITCHOVER, BEHIND, AFTER)


WAYS = (Live, LiveWithDisks, Quick, QuickWithDisks, Through, PostCopy, Offline, Rehearse)
