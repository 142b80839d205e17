# SPDX-License-Identifier: Apache-2.0
"""The report: one table and the aims in Markdown, everything in JSON, charts beside them."""
import collections
import dataclasses
import json
import pathlib
import statistics

from . import aims, catalog, charts, summary

MIB = 1 << 20
# heading, figure, divisor, decimals, whether the spread is shown
COLUMNS = (
    ("wire MiB", "bytes", MIB, 1, True),
    ("of it after pass 1", "later_bytes", MIB, 1, False),
    ("total s", "total_s", 1, 2, True),
    ("copying s", "job_ms", 1000, 2, False),
    ("downtime ms", "downtime_ms", 1, 0, True),
    ("longest gap ms", "gap_ms", 1, 0, True),
    ("quiet gap ms", "quiet_gap_ms", 1, 0, False),
    ("probe's own ms", "gap_own_ms", 1, 1, False),
    ("guest's pace %", "work_kept", 0.01, 0, False),
    ("CPU s", "cpu_s", 1, 2, True),
    ("of it above quiet", "cpu_above_s", 1, 2, False),
    ("memory part MiB", "memory_bytes", MIB, 1, True),
    ("memory part s", "memory_s", 1, 2, True),
    ("CPU s, link device", "cpu_link_s", 1, 2, False),
    ("movers' peak MiB", "peak_mib", 1, 0, False),
)
WORDS = """\
**wire**: bytes on the migration interface, both ways. **total**: the whole command, as somebody waits for it;
**copying**: libvirt's own time for the job. **downtime**: as QEMU and libvirt say. **longest gap**: between two answers to
a prober outside ({rate} UDP datagrams a second) during the move and 0.7 s after; **quiet gap**: the same while the restored
guest ran for {settle:g} s before; **probe's own**: the part of the gap that may be the prober's. **pace**: work done by the
guest during the move, against its pace before. **memory part**: from the beginning of QEMU's first pass over the memory to
the end of the command, so without the disk, where one moves along. **CPU**: all processes of both hosts (QEMUs without their vCPU threads,
libvirtds, ssh, movers), kernel time on their behalf included; **above quiet**: less what they took in as many seconds
before the move; the lab's packet-delay stands apart. Medians of the moves that
came to their end, least and most in brackets. A guest that has not moved within {limit:.0f} s has not converged.

Guests run under {accelerator}{tcg}."""
TCG = (": how much a migration slows a guest down there does not carry over to KVM, nor do gaps below some tens of "
       "milliseconds. Bytes, times and the processor time of the path do, as ratios in one run")


def _number(value, divisor, decimals):
    return f"{value / divisor:.{decimals}f}"


def _figure(cell, figure, divisor, decimals, spread):
    found = cell.figures.get(figure)
    if figure == "cpu_link_s" and found and not found.median:
        return ""
    if not found:
        return f"> {_number(cell.bytes_at_limit, divisor, decimals)}" if figure == "bytes" and cell.bytes_at_limit else ""
    text = _number(found.median, divisor, decimals)
    if spread and found.count > 1:
        text += f" ({_number(found.least, divisor, decimals)}–{_number(found.most, divisor, decimals)})"
    return text


def _converged(cell):
    text = f"{cell.moved} of {cell.runs}"
    return text + (f", {cell.failed} failed" if cell.failed else "")


def table(cells):
    heads = ["guest", "link", "contender", "converged", *(column[0] for column in COLUMNS)]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    before = None
    for (guest, link, contender), cell in cells.items():
        place = (guest, link) if (guest, link) != before else ("", "")
        before = (guest, link)
        name = f"**{contender}**" if contender.startswith("watari") else contender
        lines.append("| " + " | ".join([*place, name, _converged(cell),
                                        *(_figure(cell, *column[1:]) for column in COLUMNS)]) + " |")
    return "\n".join(lines)


def aims_table(verdicts):
    lines = ["| aim | wanted | found | |", "|---|---|---|---|"]
    lines += [f"| {v.text} | {v.limit} | {v.found} | {'**missed**' if v.result == 'missed' else v.result} |"
              for v in verdicts if v.result != "not measured"]
    left = collections.Counter(v.text.partition(",")[0] for v in verdicts if v.result == "not measured")
    told = ", ".join(f"{count} of {guest}" for guest, count in left.items())
    return "\n".join(lines) + (f"\n\nNot measured: {told}." if left else "")


def _head(records):
    versions = [record["versions"] for record in records if "versions" in record]
    if not versions:
        return ""
    newest, sessions = versions[-1], {record.get("session") for record in records}
    return (f"{len(records)} moves, {min(record['at'] for record in records)[:16]} to "
            f"{max(record['at'] for record in records)[:16]}, in {len(sessions)} "
            f"{'sitting' if len(sessions) == 1 else 'sittings'}; {newest['cores']} cores, QEMU {newest['qemu']}, libvirt "
            f"{newest['libvirt']}, kernel {newest['kernel']}; watari {', '.join(sorted({v['watari'] for v in versions}))}."
            + _disturbance(records))


def _disturbance(records):
    shares = [record["others_cpu"] * 100 for record in records if "others_cpu" in record]
    if not shares:
        return ""
    return (f" What was not part of a move took {statistics.median(shares):.0f} % of the machine's processor time in the "
            f"median move, {max(shares):.0f} % in the worst.")


def _legend(cells, variants):
    names = {**catalog.CONTENDERS, **{variant.name: variant for variant in variants}}
    used = dict.fromkeys(key[2] for key in cells)
    guests = dict.fromkeys(key[0] for key in cells)
    links = dict.fromkeys(key[1] for key in cells)
    parts = [f"{guest}: {catalog.GUESTS[guest].title}" for guest in guests]
    parts += [f"{link}: {catalog.LINKS[link].title}" for link in links]
    parts += [f"{name}: {names[name].title if name in names else 'a variant'}" for name in used]
    return "; ".join(parts) + "."


def _troubles(cells):
    for key, cell in cells.items():
        for error in dict.fromkeys(cell.errors):
            yield f"- {' '.join(key)}: {error.strip().splitlines()[-1] if error.strip() else 'failed without a word'}"


def markdown(records, variants=()):
    from . import move  # its numbers only
    chosen = summary.newest(records)
    cells = summary.cells(records)
    accelerator = chosen[-1].get("versions", {}).get("accelerator", "qemu") if chosen else "qemu"
    words = WORDS.format(settle=move.QUIET_S, rate=move.PROBE_RATE, limit=max((record.get("limit_s", 0) for record in chosen), default=0),
                         accelerator="KVM" if accelerator == "kvm" else "TCG", tcg="" if accelerator == "kvm" else TCG)
    parts = ["## Migrations side by side", _head(chosen), "### Aims", aims_table(aims.judge(records)), "### All figures",
             table(cells), _legend(cells, variants), words]
    if troubles := list(_troubles(cells)):
        parts += ["### Failed moves", "\n".join(troubles)]
    return "\n\n".join(parts) + "\n"


def document(records):
    """The same for programs."""
    return {
        "format": 1,
        "cells": [dataclasses.asdict(cell) for cell in summary.cells(records).values()],
        "aims": [dataclasses.asdict(verdict) for verdict in aims.judge(records)],
        "moves": summary.newest(records),
    }


def write(records, directory, variants=()):
    place = pathlib.Path(directory)
    (place / "report.md").write_text(markdown(records, variants))
    (place / "report.json").write_text(json.dumps(document(records), indent=1, ensure_ascii=False) + "\n")
    for chart in charts.CHARTS:
        (place / f"{chart.figure}.svg").write_text(charts.draw(chart, summary.cells(records)))
