# SPDX-License-Identifier: Apache-2.0
"""From single moves to medians: one Cell for each guest, link and contender."""
import dataclasses
import statistics

from . import catalog

FIGURES = ("bytes", "later_bytes", "total_s", "job_ms", "downtime_ms", "gap_ms", "gap_own_ms", "quiet_gap_ms",
           "own_worst_ms", "work_kept", "cpu_s", "cpu_above_s", "cpu_guest_s", "cpu_link_s", "peak_mib", "passes", "page_bytes",
           "management_bytes", "memory_bytes", "memory_s")


@dataclasses.dataclass
class Spread:
    """What several moves gave."""

    median: float
    least: float
    most: float
    count: int


@dataclasses.dataclass
class Cell:
    guest: str
    link: str
    contender: str
    moved: int
    not_converged: int
    failed: int
    figures: dict  # name: Spread, of the moves that came to their end
    bytes_at_limit: float | None  # median of those that did not
    errors: list

    @property
    def runs(self):
        return self.moved + self.not_converged + self.failed

    def median(self, figure):
        return self.figures[figure].median if figure in self.figures else None


def _spread(values):
    return Spread(statistics.median(values), min(values), max(values), len(values))


def _values(records, figure):
    if figure == "peak_mib":
        return [max(record["movers_peak_mib"]) for record in records if record.get("movers_peak_mib")]
    return [record[figure] for record in records if record.get(figure) is not None]


def _cell(key, records):
    moved = [record for record in records if record["outcome"] == "moved"]
    stuck = [record for record in records if record["outcome"] == "not-converged"]
    failed = [record for record in records if record["outcome"] == "failed"]
    figures = {figure: _spread(values) for figure in FIGURES if (values := _values(moved, figure))}
    at_limit = [record["bytes"] for record in stuck if "bytes" in record]
    return Cell(*key, len(moved), len(stuck), len(failed), figures, statistics.median(at_limit) if at_limit else None,
                [record.get("error", "") for record in failed])


def newest(records):
    """Of each cell, the moves that were measured with the same things as its newest one; of each repetition the last."""
    marks = {}
    for record in records:
        marks[record["guest"], record["link"], record["contender"]] = record["fingerprint"]
    chosen = {}
    for record in records:
        key = (record["guest"], record["link"], record["contender"])
        if record["fingerprint"] == marks[key]:
            chosen[*key, record["repetition"]] = record
    return list(chosen.values())


def _order(table, name):
    names = list(table)
    return names.index(name) if name in names else len(names)


def cells(records):
    """{(guest, link, contender): Cell}, in the order of the catalogue."""
    groups = {}
    for record in newest(records):
        groups.setdefault((record["guest"], record["link"], record["contender"]), []).append(record)
    ordered = sorted(groups, key=lambda key: (_order(catalog.GUESTS, key[0]), _order(catalog.LINKS, key[1]),
                                              _order(catalog.CONTENDERS, key[2]), key[2]))
    return {key: _cell(key, groups[key]) for key in ordered}
