# SPDX-License-Identifier: Apache-2.0
"""The command: plans, measures, keeps, reports."""
import argparse
import os
import pathlib
import signal
import sys
import time

from watari_lab.errors import CommandError, LabError

from . import catalog, report, schedule, store

TOP = pathlib.Path(__file__).resolve().parents[2]
DISTURBED = 0.15  # a share of the machine's processor time; what is measured beside so much says little
DESCRIPTION = """\
Moves the same saved guests over the same links with QEMU's own means and with Watari, in turn, and
writes one table (Markdown, JSON, SVG charts). What is measured already is not measured again: a run
that was stopped goes on, one with another binary measures Watari's moves anew."""
EPILOG = f"""\
families: {', '.join(f"{family.name} ({family.title})" for family in catalog.FAMILIES.values())}
guests: {', '.join(catalog.GUESTS)}
links: {', '.join(catalog.LINKS)}
contenders: {', '.join(catalog.CONTENDERS)}

examples:
  make bench                                               the core table: under 2 hours on two cores
  make bench ARGS="--guests idle --links 1gbit --repetitions 1"
  make bench ARGS="--guests random --links 1gbit unshaped --contenders plain tls watari"
  make bench ARGS="--idle-gap 20"                          20 moves of the idle guest at 1 Gbit/s
  make bench ARGS="--family disks"                         Watari beside virsh migrate --copy-storage-all
  make bench ARGS="--family memory-from-disk --links 1gbit --repetitions 1"
  make bench ARGS="--report"                               the table of what there is, nothing measured"""


def parser():
    made = argparse.ArgumentParser(prog="make bench", description=DESCRIPTION, epilog=EPILOG,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    add = made.add_argument
    add("--family", metavar="NAME", choices=catalog.FAMILIES, default="core",
        help="guests, links and contenders that belong together, as far as they are not chosen one by one (default: core)")
    add("--guests", nargs="+", metavar="GUEST", choices=catalog.GUESTS)
    add("--links", nargs="+", metavar="LINK", choices=catalog.LINKS)
    add("--contenders", nargs="+", metavar="NAME", choices=catalog.CONTENDERS)
    add("--variant", metavar="NAME=WORDS", action="append", default=[], type=catalog.variant,
        help="one more contender: watari migrate with these words; with --disks copy among them the disk is local")
    add("--repetitions", type=int, default=3, metavar="N")
    add("--idle-gap", type=int, metavar="N", help="N moves of the idle guest at 1 Gbit/s, by Watari unless --contenders"
        " says otherwise")
    add("--limit", type=float, metavar="SECONDS", help="a guest that has not moved by then has not converged"
        f" (default: {catalog.LIMIT_S}, with disks {catalog.LIMIT_DISKS_S})")
    add("--watari", default=str(TOP / "build/src/cli/watari"), metavar="PATH")
    add("--results", default=str(TOP / "build/bench-results"), metavar="DIR")
    add("--fresh", action="store_true", help="forget earlier results (saved guests are kept)")
    add("--report", action="store_true", help="only write the report")
    add("--plan", action="store_true", help="only say what would be measured and how long it would take")
    return made


def choose(options):
    """(guests, links, contenders, repetitions) as asked for; what is left open is the family's."""
    if options.idle_gap:
        names = options.contenders or ["watari"]
        return ([catalog.GUESTS["idle"]], [catalog.LINKS["1gbit"]],
                [*(catalog.CONTENDERS[name] for name in names), *options.variant], options.idle_gap)
    family = catalog.FAMILIES[options.family]
    return ([catalog.GUESTS[name] for name in options.guests or family.guests],
            [catalog.LINKS[name] for name in options.links or family.links],
            [*(catalog.CONTENDERS[name] for name in options.contenders or family.contenders), *options.variant],
            options.repetitions)


def say(text=""):
    print(text, file=sys.stderr, flush=True)


def tell(record):
    if record["outcome"] == "failed":
        return f"FAILED: {record.get('error', '')[:200]}"
    if record["outcome"] == "not-converged":
        return f"has not converged, {record['bytes'] / 2**20:.0f} MiB so far"
    busy = record.get("others_cpu", 0)
    return (f"{record['total_s']:.1f} s, {record['bytes'] / 2**20:.1f} MiB, gap {record['gap_ms']:.0f} ms, "
            f"CPU {record['cpu_s']:.1f} s"
            + (f" (DISTURBED: something else took {busy:.0%} of the machine)" if busy > DISTURBED else ""))


class Run:
    def __init__(self, options):
        self.options = options
        options.limit = options.limit or catalog.FAMILIES[options.family].limit_s
        self.guests, self.links, self.contenders, repetitions = choose(options)
        self.items = schedule.items(self.guests, self.links, self.contenders, repetitions)
        self.store = store.Store(options.results, options.fresh)
        self.clock = schedule.Clock((record for record in self.store.records if "took_s" in record), options.limit)
        self.session = time.strftime("%Y-%m-%dT%H:%M:%S")

    def plan(self):
        """Before anything is known of versions: all items that no result has the key of."""
        known = {store.key(record) for record in self.store.records}
        todo = [item for item in self.items if item.key not in known]
        seconds = self.clock.left_s(todo)
        seconds += sum(schedule.PREPARE_S[guest.kind] + guest.warm_s
                       for guest in {item.guest.name: item.guest for item in todo}.values())
        say(f"{len(self.items)} moves ({len(self.guests)} guests, {len(self.links)} links, {len(self.contenders)} "
            f"contenders), {len(self.items) - len(todo)} of them measured before; about {schedule.span(seconds)}")

    def measure(self):
        from . import stage
        with stage.Stage(f"bench{os.getpid() % 10000}", self.options.watari, self.options.results, say) as here:
            self.versions = {**here.versions(), "watari": store.file_digest(self.options.watari)}
            todo = [item for item in self.items if not self.store.find(item.key, self.mark(item), self.options.limit)]
            for guest in {item.guest.name: item.guest for item in todo}.values():
                say(f"{guest.title}: ready after {here.prepare(guest, here.versions()):.0f} s")
            say(f"{len(todo)} moves to do, about {schedule.span(self.clock.left_s(todo))}")
            while todo:
                self.one(here, todo.pop(0), todo)

    def mark(self, item):
        return store.fingerprint(self.versions, item.guest, item.link, item.contender)

    def one(self, here, item, rest):
        from . import move
        began = time.monotonic()
        doing = move.Move(here, item.guest, item.link, item.contender, self.options.limit)
        try:
            figures = doing.run()
        except (LabError, CommandError, OSError) as error:
            figures = {**doing.record, "outcome": "failed", "error": str(error)[-400:]}
        took = time.monotonic() - began
        self.clock.note(item, took)
        self.store.add({**dict(zip(store.KEY, item.key)), "fingerprint": self.mark(item), "session": self.session,
                        "at": time.strftime("%Y-%m-%dT%H:%M:%S"), "took_s": round(took, 1), "versions": self.versions,
                        "limit_s": self.options.limit, **figures})
        place = len(self.items) - len(rest)
        say(f"[{place}/{len(self.items)}] {item.guest.name} {item.link.name} {item.contender.name} #{item.repetition}: "
            f"{tell(figures)}" + (f"; {schedule.span(self.clock.left_s(rest))} left" if rest else ""))

    def report(self):
        report.write(self.store.records, self.options.results, self.options.variant)
        say(f"{self.options.results}/report.md, report.json, *.svg")


def main(argv=None):
    options = parser().parse_args(argv)
    run = Run(options)
    if options.plan:
        run.plan()
        return 0
    if not options.report:
        if os.geteuid() != 0:
            say("bench: the lab makes namespaces and interfaces: run it as root (sudo make bench)")
            return 2
        run.plan()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell had it ignored
        try:
            run.measure()
        except KeyboardInterrupt:
            say("\nstopped; the same command goes on from here")
            return 130
        except (LabError, CommandError) as error:
            say(f"bench: {error}")
            return 1
    run.report()
    print((pathlib.Path(options.results) / "report.md").read_text())
    return 0
