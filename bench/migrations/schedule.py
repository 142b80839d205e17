# SPDX-License-Identifier: Apache-2.0
"""What is to be measured, in which order, and how long it will take."""
import dataclasses
import statistics

from . import catalog, move

OVERHEAD_S = move.SETTLE_S + 5  # restore, prober, ending, looking
PREPARE_S = {"debian": 60, "small": 25}  # and the time that the guest warms up


@dataclasses.dataclass(frozen=True)
class Item:
    guest: catalog.Guest
    link: catalog.Link
    contender: catalog.Contender
    repetition: int

    @property
    def key(self):
        return (self.guest.name, self.link.name, self.contender.name, self.repetition)

    @property
    def cell(self):
        return self.key[:3]


def possible(guest, contender):
    """What moves a disk along needs a guest that has one."""
    return guest.has_disk or not contender.copies


def items(guests, links, contenders, repetitions):
    """Repetition by repetition, link by link, guest by guest, contenders in turn; who begins changes, so that nobody
    always has the machine as the one before left it."""
    planned = []
    for repetition in range(1, repetitions + 1):
        for link in links:
            for guest in guests:
                first = (repetition - 1) % len(contenders)
                planned += [Item(guest, link, contender, repetition)
                            for contender in contenders[first:] + contenders[:first] if possible(guest, contender)]
    return planned


def guess_s(item, limit_s=catalog.LIMIT_S):
    """How long a move may take when nothing is known of it yet."""
    rate = item.link.mbit / 8 / 1.048  # MiB/s
    plain, ratio = item.guest.first_pass_mib, item.contender.ratio
    if item.contender.name == "xbzrle":
        dirty = item.guest.dirty_mib_s * 0.5
    else:
        dirty = item.guest.dirty_mib_s * ratio
    if dirty >= rate * 0.95:
        return limit_s
    copied = item.contender.copied_mib * item.guest.has_disk
    return min(limit_s, plain * ratio / (rate - dirty) + plain / 150 + copied / rate + copied / 100 + 1)


class Clock:
    """Time left, by what the same cell took before, else by a guess corrected by how guesses have done so far."""

    def __init__(self, known=(), limit_s=catalog.LIMIT_S):
        self.limit_s = limit_s
        self.took = {}
        self.errors = []
        for record in known:
            cell = tuple(record[name] for name in ("guest", "link", "contender"))
            self.took.setdefault(cell, []).append(record["took_s"])

    def note(self, item, took_s):
        if item.cell not in self.took:
            self.errors.append(took_s / (guess_s(item, self.limit_s) + OVERHEAD_S))
        self.took.setdefault(item.cell, []).append(took_s)

    def estimate_s(self, item):
        if item.cell in self.took:
            return statistics.median(self.took[item.cell])
        return (guess_s(item, self.limit_s) + OVERHEAD_S) * (statistics.median(self.errors) if self.errors else 1)

    def left_s(self, todo):
        return sum(self.estimate_s(item) for item in todo)


def span(seconds):
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"
