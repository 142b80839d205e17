# SPDX-License-Identifier: Apache-2.0
"""What bench/migrations makes of its results: order, going on, medians, aims, report, charts."""
import pathlib
import sys
import tempfile
import unittest
import xml.etree.ElementTree

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "bench"), str(TOP / "lab")]
sys.dont_write_bytecode = True
from migrations import aims, catalog, charts, cli, report, schedule, store, summary  # noqa: E402

VERSIONS = {"qemu": "10.0", "libvirt": "11.3", "kernel": "6.1", "cores": 2, "accelerator": "qemu", "watari": "abc"}


def record(guest, link, contender, repetition=1, **figures):
    usual = {"outcome": "moved", "fingerprint": "one", "session": "s", "at": "2026-01-02T03:04:05", "took_s": 20,
             "versions": VERSIONS, "limit_s": 120, "bytes": 100 << 20, "total_s": 4.0, "gap_ms": 100.0, "gap_own_ms": 1.0}
    return {"guest": guest, "link": link, "contender": contender, "repetition": repetition, **usual, **figures}


def found(records, words):
    return next(verdict for verdict in aims.judge(records) if words in verdict.text)


class Plan(unittest.TestCase):
    def test_core_table_fits(self):
        """The first guess for the core table is under two hours, and covers everything once for each repetition."""
        items = schedule.items(list(catalog.GUESTS.values())[:4], list(catalog.LINKS.values())[:3],
                               [catalog.CONTENDERS[name] for name in catalog.core(catalog.CONTENDERS)], 3)
        self.assertEqual(len(items), 4 * 3 * 5 * 3)
        self.assertEqual(len({item.key for item in items}), len(items))
        self.assertLess(schedule.Clock().left_s(items), 7200)

    def test_contenders_take_turns(self):
        names = [catalog.CONTENDERS[name] for name in ("plain", "watari")]
        items = schedule.items([catalog.GUESTS["idle"]], [catalog.LINKS["1gbit"]], names, 2)
        self.assertEqual([item.contender.name for item in items], ["plain", "watari", "watari", "plain"])

    def test_clock_learns(self):
        item = schedule.items([catalog.GUESTS["idle"]], [catalog.LINKS["1gbit"]], [catalog.CONTENDERS["plain"]], 1)[0]
        clock = schedule.Clock()
        clock.note(item, 77)
        self.assertEqual(clock.estimate_s(item), 77)

    def test_what_is_chosen(self):
        def chosen(*words):
            return cli.choose(cli.parser().parse_args(words))

        guests, links, contenders, repetitions = chosen()
        self.assertEqual(([g.name for g in guests], [n.name for n in links], repetitions),
                         (["idle", "redis", "few", "sqlite"], ["1gbit", "100mbit", "40ms"], 3))
        self.assertEqual([c.name for c in chosen("--idle-gap", "20")[2]], ["watari"])
        self.assertEqual(chosen("--variant", "w4=--connections 4")[2][-1].words, ("--connections", "4"))


class Keeping(unittest.TestCase):
    def test_goes_on(self):
        with tempfile.TemporaryDirectory() as place:
            store.Store(place).add(record("idle", "1gbit", "plain"))
            path = pathlib.Path(place, "moves.jsonl")
            path.write_text(path.read_text() + '{"guest": "idle", "li')  # stopped while writing
            again = store.Store(place)
            self.assertEqual(len(again.records), 1)
            self.assertTrue(again.find(("idle", "1gbit", "plain", 1), "one"))
            self.assertIsNone(again.find(("idle", "1gbit", "plain", 2), "one"))
            self.assertIsNone(again.find(("idle", "1gbit", "plain", 1), "other versions"))
            again.add(record("idle", "1gbit", "plain", 2))
            self.assertEqual(len(store.Store(place).records), 2)
            self.assertEqual(store.Store(place, fresh=True).records, [])

    def test_failed_ones_are_tried_again(self):
        with tempfile.TemporaryDirectory() as place:
            kept = store.Store(place)
            kept.add(record("idle", "1gbit", "plain", outcome="failed"))
            self.assertIsNone(kept.find(("idle", "1gbit", "plain", 1), "one"))
            kept.add(record("idle", "1gbit", "xbzrle", outcome="not-converged"))
            for limit, counts in ((120, True), (200, False)):
                self.assertEqual(kept.find(("idle", "1gbit", "xbzrle", 1), "one", limit) is not None, counts)

    def test_the_binary_counts_for_watari_alone(self):
        guest, link = catalog.GUESTS["idle"], catalog.LINKS["1gbit"]
        for name, same in (("plain", True), ("watari", False)):
            marks = [store.fingerprint({**VERSIONS, "watari": binary}, guest, link, catalog.CONTENDERS[name])
                     for binary in ("a", "b")]
            self.assertEqual(marks[0] == marks[1], same)


class Reckoning(unittest.TestCase):
    def test_medians_of_the_newest_kind(self):
        records = [record("idle", "1gbit", "plain", 1, fingerprint="old", total_s=99.0)]
        records += [record("idle", "1gbit", "plain", n, total_s=t) for n, t in ((1, 5.0), (2, 3.0), (3, 4.0), (3, 4.5))]
        cell = summary.cells(records)["idle", "1gbit", "plain"]
        spread = cell.figures["total_s"]
        self.assertEqual((spread.median, spread.least, spread.most, spread.count), (4.5, 3.0, 5.0, 3))

    def test_ratio(self):
        records = [record("idle", "1gbit", "multifd-zstd", bytes=1000), record("idle", "1gbit", "watari", bytes=920)]
        verdict = found(records, "idle, 1gbit: bytes")
        self.assertEqual((verdict.found, verdict.result), ("0.92", "reached"))
        records[1]["bytes"] = 930
        self.assertEqual(found(records, "idle, 1gbit: bytes").result, "missed")

    def test_who_does_not_converge(self):
        stuck = {"outcome": "not-converged", "bytes": 1000}
        records = [record("redis", "100mbit", name, **stuck) for name in ("plain", "multifd-zstd")]
        records.append(record("redis", "100mbit", "watari", bytes=800))
        self.assertEqual(found(records, "redis, 100mbit: bytes").result, "reached")
        self.assertEqual(found(records, "redis, 100mbit: converges").result, "reached")
        records[2].update(stuck)
        self.assertEqual(found(records, "redis, 100mbit: bytes").result, "missed")
        self.assertEqual(found(records, "redis, 100mbit: converges").result, "missed")

    def test_a_peer_that_failed_is_no_victory(self):
        records = [record("idle", "1gbit", "plain", outcome="failed"), record("idle", "1gbit", "watari")]
        self.assertEqual(found(records, "idle, 1gbit: total time against plain").result, "not measured")

    def test_gap_needs_twenty(self):
        records = [record("idle", "1gbit", "watari", n, gap_ms=50.0 + n) for n in range(1, 20)]
        self.assertEqual(found(records, "19 moves").result, "not measured")
        records.append(record("idle", "1gbit", "watari", 20, gap_ms=149.0))
        self.assertEqual(found(records, "20 moves").result, "missed")  # median 60.5
        for number, one in enumerate(records):
            one["gap_ms"] -= 2
        self.assertEqual(found(records, "20 moves").result, "reached")


class Telling(unittest.TestCase):
    def test_report(self):
        records = [record("idle", "1gbit", "plain", 1), record("idle", "1gbit", "plain", 2, total_s=6.0),
                   record("idle", "1gbit", "watari", outcome="not-converged", bytes=3 << 20),
                   record("redis", "1gbit", "xbzrle", outcome="failed", error="it broke")]
        text = report.markdown(records)
        self.assertIn("| idle | 1gbit | plain | 2 of 2 | 100.0 (100.0–100.0) |", text)
        self.assertIn("| **watari** | 0 of 1 | > 3.0 |", text)
        self.assertIn("redis 1gbit xbzrle: it broke", text)
        self.assertIn("does not carry over to KVM", text)
        with tempfile.TemporaryDirectory() as place:
            report.write(records, place)
            for chart in charts.CHARTS:
                drawn = xml.etree.ElementTree.parse(pathlib.Path(place, f"{chart.figure}.svg")).getroot()
                self.assertIn("not converged", "".join(drawn.itertext()))

    def test_nothing_measured(self):
        self.assertIn("Not measured", report.markdown([]))
        for chart in charts.CHARTS:
            xml.etree.ElementTree.fromstring(charts.draw(chart, {}))


if __name__ == "__main__":
    unittest.main()
