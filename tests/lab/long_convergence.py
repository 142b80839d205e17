#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How a move comes to its end on links that make that hard: a round trip of 40 ms; a guest that changes its memory
faster than 100 Mbit/s carries it, with a ceiling that has room for its working set, and with one that has not; one that
is slowed down."""
import json
import os
import pathlib
import sys
import time
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "lab"))
sys.dont_write_bytecode = True
from watari_lab import HostSpec, Lab, client, guest  # noqa: E402

TIME_LIMIT_S = 900
ALONE = True
WATARI = os.environ.get("WATARI_TEST_BINARY", str(TOP / "build-asan/src/cli/watari"))
ASAN = {name: os.environ[name] for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS") if name in os.environ}
FAILED = 4
MIB = 1 << 20


class Convergence(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(f"end{os.getpid() % 100000}", [HostSpec("hosta"), HostSpec("hostb")], watari=WATARI, watari_env=ASAN)
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        guest.start(cls.lab, "hosta", "g1", memory_mib=320)

    def setUp(self):
        (self.here,) = guest.where(self.lab, "g1")
        self.there = "hostb" if self.here == "hosta" else "hosta"

    def tearDown(self):
        guest.load(self.lab, "g1", "none")
        self.lab.link(rate="1gbit", delay_ms=0)
        guest.check(self.lab, "g1")

    def migrate(self, *options):
        argv = ["watari", "migrate", "g1", self.there, "--json", "--link-address", f"{self.there}-mig", *options]
        done = self.lab.host(self.here).run(argv, check=False, timeout=400)
        self.assertTrue(done.stdout, done.stderr)
        report = json.loads(done.stdout)
        report["said"] = done.stderr
        return report

    def move(self, *options):
        report = self.migrate(*options)
        self.assertEqual(report["exit_code"], 0, report["said"])
        self.assertTrue(report["proof"]["stream"])
        self.assertRegex(report["proof"]["stream_tag"], "^[0-9a-f]{32}$")
        self.assertEqual(guest.where(self.lab, "g1"), {self.there: "running"})
        return report

    def test_round_trip_of_40_ms(self):
        self.lab.link(rate="1gbit", delay_ms=20)
        guest.load(self.lab, "g1", "few", rate=200, set_mib=16)
        with client.Prober(self.lab, "g1") as prober:
            report = self.move("--max-downtime", "5s", "--verify-memory", "full")
        self.assertGreater(report["link"]["round_trip_us"], 39000)
        self.assertTrue(prober.report["session"]["survived"])
        print(f"# 40 ms: {report['times']['stop_to_release_ms']} ms from the stop to the hand-over, "
              f"longest gap {prober.report['longest_gap']['ms']:.0f} ms")

    def test_working_set_within_the_ceiling(self):
        """4 MiB are dirty again before they are sent: the limit must be raised, to about those 4 MiB."""
        self.lab.link(rate="100mbit")
        guest.load(self.lab, "g1", "random", rate="max", set_mib=4)
        report = self.move("--max-downtime", "5s")
        changes = report["convergence"]["changes"]
        reasons = {change["reason"] for change in changes}
        self.assertIn("flat", reasons, changes)
        self.assertLessEqual(report["convergence"]["limit_ms"], 3000)
        self.assertLessEqual(report["times"]["downtime_ms"], 5000)
        self.assertGreater(changes[-1]["bytes"], MIB)
        print(f"# 4 MiB at 100 Mbit/s: limit {report['convergence']['limit_ms']} ms, "
              f"stopped for {report['times']['downtime_ms']} ms, {report['bytes']['iterations']} passes")

    def test_working_set_beyond_the_ceiling(self):
        """64 MiB at 100 Mbit/s are 5 s: with a ceiling of 1 s it ends by itself, and says why."""
        self.lab.link(rate="100mbit")
        guest.load(self.lab, "g1", "random", rate="max", set_mib=64)
        report = self.migrate("--max-downtime", "1s")
        self.assertEqual(report["exit_code"], FAILED, report["said"])
        self.assertIn("faster than the link", report["error"]["what"])
        self.assertLessEqual(report["convergence"]["limit_ms"] or 0, 600)
        self.assertEqual(guest.where(self.lab, "g1"), {self.here: "running"})

    def test_slowed_down_within_what_is_permitted(self):
        """CPU-bound at 1.3 times the link: it does not arrive by itself, and does with 40 % of slowdown."""
        guest.load(self.lab, "g1", "random", rate="max", set_mib=160, order="random")
        time.sleep(2)
        first, at = self.dirtied(), time.monotonic()
        time.sleep(5)
        rate = (self.dirtied() - first) * 4096 / (time.monotonic() - at)
        self.lab.link(rate=f"{int(rate * 8 / 1000 / 1.3)}kbit")
        report = self.move("--max-downtime", "500ms", "--max-slowdown", "40")
        self.assertGreater(report["convergence"]["slowdown"], 1)
        self.assertLessEqual(report["convergence"]["slowdown"], 40)
        self.assertLessEqual(report["times"]["downtime_ms"], 500)
        print(f"# 1.3 times the link of {rate / 1.3 / 1e6:.1f} MB/s: slowed down by {report['convergence']['slowdown']} %, "
              f"stopped for {report['times']['downtime_ms']} ms, {report['bytes']['iterations']} passes")

    def dirtied(self):
        return guest.state(self.lab, "g1")["memory"]["dirtied_pages"]


if __name__ == "__main__":
    unittest.main()
