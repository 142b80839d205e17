# SPDX-License-Identifier: Apache-2.0
"""What Watari is to reach, as ratios in one run, and whether the moves that were measured reach it."""
import dataclasses
import statistics

from . import catalog, summary

GAP_MOVES, GAP_MEDIAN_MS, GAP_WORST_MS = 20, 60, 150
LOADED = ("redis", "sqlite")


@dataclasses.dataclass
class Verdict:
    text: str
    limit: str
    found: str
    result: str  # "reached", "missed", "not measured"


def _ratio_aims():
    """(guest, link, figure, peer, at most), and who it is about if not Watari with the disk shared"""
    for link, most in (("1gbit", 0.92), ("100mbit", 0.8)):
        yield "idle", link, "bytes", "multifd-zstd", most
        yield "idle", link, "total_s", "multifd-zstd", 0.9
        yield "idle", link, "total_s", "plain", 0.35
    for guest in LOADED:
        for link in catalog.core(catalog.LINKS):
            yield guest, link, "bytes", "multifd-zstd", 0.9
            yield guest, link, "gap_ms", "multifd-zstd", 0.7
    yield "few", "1gbit", "later_bytes", "plain", 0.1
    yield "few", "1gbit", "later_bytes", "xbzrle", 0.5
    yield "random", "1gbit", "total_s", "plain", 1.05
    yield "random", "unshaped", "total_s", "tls", 0.6
    yield "random", "unshaped", "cpu_s", "tls", 0.6
    yield "random", "unshaped", "total_s", "watari-off", 1.0
    for link in catalog.FAMILIES["disks"].links:
        yield "idle", link, "total_s", "virsh-copy", 0.4, "watari-copy"
        yield "idle", link, "bytes", "virsh-copy", 0.4, "watari-copy"
    for guest, most in (("idle", 1 / 6), ("sqlite", 0.2), ("redis", 0.2)):
        for link, slower in (("1gbit", 0.5), ("100mbit", 0.2)):
            yield guest, link, "memory_bytes", "multifd-zstd", round(most, 3), "watari-copy"
            yield guest, link, "memory_s", "multifd-zstd", slower, "watari-copy"
    yield "sqlite", "1gbit", "gap_ms", "watari", 1.5, "watari-copy"


NAMES = {"bytes": "bytes", "later_bytes": "bytes after the first pass", "total_s": "total time", "gap_ms": "longest gap",
         "cpu_s": "CPU seconds", "memory_bytes": "bytes of the memory part", "memory_s": "time of the memory part"}


def _verdict(text, limit, found, reached):
    return Verdict(text, limit, found, "reached" if reached else "missed")


def _ratio(cells, guest, link, figure, peer, most, who="watari"):
    name = "" if who == "watari" else f" of {who}"
    text = f"{guest}, {link}: {NAMES[figure]}{name} against {peer}"
    ours, theirs = cells.get((guest, link, who)), cells.get((guest, link, peer))
    if not ours or not theirs or not theirs.moved + theirs.not_converged:
        return Verdict(text, f"≤ {most}", "", "not measured")
    if not ours.moved:
        return Verdict(text, f"≤ {most}", "Watari did not move it", "missed")
    if not theirs.moved:
        return _without_peer(text, ours, theirs, figure, most)
    mine, other = ours.median(figure), theirs.median(figure)
    if mine is None or not other:
        return Verdict(text, f"≤ {most}", "no figure", "not measured")
    return _verdict(text, f"≤ {most}", f"{mine / other:.2f}", mine / other <= most)


def _without_peer(text, ours, theirs, figure, most):
    """The peer never came to an end. What it had sent by then is the least it would have taken."""
    if figure == "bytes" and theirs.bytes_at_limit:
        ratio = ours.median(figure) / theirs.bytes_at_limit
        return _verdict(text, f"≤ {most}", f"below {ratio:.2f}: {theirs.contender} did not converge", ratio <= most)
    return _verdict(text, f"≤ {most}", f"{theirs.contender} did not converge", True)


def _convergence(cells):
    for guest in catalog.GUESTS:
        plain, ours = cells.get((guest, "100mbit", "plain")), cells.get((guest, "100mbit", "watari"))
        if plain and plain.not_converged and not plain.moved:
            text = f"{guest}, 100mbit: converges, which plain QEMU does not within {catalog.LIMIT_S} s"
            if not ours:
                yield Verdict(text, "all moves", "", "not measured")
            else:
                yield _verdict(text, "all moves", f"{ours.moved} of {ours.runs}", ours.moved == ours.runs)


def _empty(cells):
    ours, plain = cells.get(("empty", "1gbit", "watari")), cells.get(("empty", "1gbit", "plain"))
    text = "empty, 1gbit: bytes beyond the pages really used"
    if not ours or not ours.moved:
        return Verdict(text, "< 1 MiB", "", "not measured")
    used = plain.median("page_bytes") if plain and plain.moved else ours.median("page_bytes")
    over = (ours.median("bytes") - used) / 2**20
    return _verdict(text, "< 1 MiB", f"{over:.1f} MiB ({used / 2**20:.0f} MiB used)", over < 1)


def _gap(records):
    gaps = [record["gap_ms"] for record in records if record["outcome"] == "moved" and (
        record["guest"], record["link"], record["contender"]) == ("idle", "1gbit", "watari")]
    own = [record["gap_own_ms"] for record in records if "gap_own_ms" in record]
    text = f"idle, 1gbit, {len(gaps)} moves: longest gap seen from outside (the probe's own worst: " \
           f"{max(own, default=0):.0f} ms)"
    limit = f"median < {GAP_MEDIAN_MS} ms, worst < {GAP_WORST_MS} ms"
    if len(gaps) < GAP_MOVES:
        return Verdict(text, limit, "", "not measured")
    median, worst = statistics.median(gaps), max(gaps)
    return _verdict(text, limit, f"median {median:.0f} ms, worst {worst:.0f} ms",
                    median < GAP_MEDIAN_MS and worst < GAP_WORST_MS)


def judge(records):
    cells = summary.cells(records)
    found = [_ratio(cells, *aim) for aim in _ratio_aims()]
    return [*found, *_convergence(cells), _empty(cells), _gap(summary.newest(records))]
