#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What is done with a guest that changes its memory faster than the link carries it: given up early, with the numbers;
slowed down within what is permitted; and a switchover that does not fit is broken off and counted."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "lab"))
sys.dont_write_bytecode = True
from watari_lab import HostSpec, Lab, guest  # noqa: E402

TIME_LIMIT_S = 900
WATARI = os.environ.get("WATARI_TEST_BINARY", str(TOP / "build-asan/src/cli/watari"))
ASAN = {name: os.environ[name] for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS") if name in os.environ}
MOVED, USAGE, FAILED = 0, 2, 4
PAGE = 4096


class Strategy(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(f"str{os.getpid() % 100000}", [HostSpec("hosta"), HostSpec("hostb")], watari=WATARI, watari_env=ASAN)
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        guest.start(cls.lab, "hosta", "g1", memory_mib=192)

    def setUp(self):
        (self.here,) = guest.where(self.lab, "g1")
        self.there = "hostb" if self.here == "hosta" else "hosta"

    def tearDown(self):
        guest.load(self.lab, "g1", "none")
        self.lab.link(rate="1gbit")
        guest.check(self.lab, "g1")

    def migrate(self, *options, **more):
        argv = ["watari", "migrate", "g1", self.there, "--json", "--link-address", f"{self.there}-mig", *options]
        done = self.lab.host(self.here).run(argv, check=False, timeout=400, **more)
        self.assertTrue(done.stdout, done.stderr)
        report = json.loads(done.stdout)
        report["said"] = done.stderr
        return report

    def link_for(self, times, **load):
        """The guest dirties random pages, TIMES as fast as the link will carry them from now on."""
        guest.load(self.lab, "g1", "random", order="random", verify=0, **load)
        time.sleep(2)
        first, at = self.dirtied(), time.monotonic()
        time.sleep(4)
        rate = (self.dirtied() - first) * PAGE / (time.monotonic() - at)
        self.assertGreater(rate, 1 << 20, "the guest hardly dirties anything")
        self.lab.link(rate=f"{int(rate * 8 / 1000 / times)}kbit")

    def dirtied(self):
        return guest.state(self.lab, "g1")["memory"]["dirtied_pages"]

    def throttle(self, host):
        asked = self.lab.host(host).virsh("qemu-monitor-command", "g1", '{"execute":"query-migrate-parameters"}').stdout
        known = json.loads(asked)["return"]
        return {name: known[name] for name in ("cpu-throttle-initial", "max-cpu-throttle")}

    def test_twice_the_link_is_given_up_in_the_third_round(self):
        self.link_for(2, rate=3000, set_mib=128)
        report = self.migrate("-v")
        self.assertEqual(report["exit_code"], FAILED, report["said"])
        self.assertLessEqual(report["bytes"]["iterations"], 3)
        self.assertIn("faster than the link", report["error"]["what"])
        for option in ("--max-downtime", "--max-slowdown", "--allow-postcopy"):
            self.assertIn(option, report["error"]["next"])
        last = report["convergence"]["decisions"][-1]
        self.assertEqual(last["step"], "stop")
        self.assertGreater(last["dirty_rate"], last["drain"])
        self.assertEqual(guest.where(self.lab, "g1"), {self.here: "running"})
        print(f"# dirtied {last['dirty_rate'] / 1e6:.1f} of {last['drain'] / 1e6:.1f} MB/s: given up in pass "
              f"{report['bytes']['iterations']}; needs {last['needed_downtime_ms']} ms or {last['needed_slowdown']} %")

    def test_a_permission_that_does_not_do_is_used_up_and_given_back(self):
        self.link_for(4, rate="max", set_mib=96)
        before = self.throttle(self.here)
        report = self.migrate("--max-slowdown", "20", "-v")
        self.assertEqual(report["exit_code"], FAILED, report["said"])
        self.assertIn("throttle", [decision["step"] for decision in report["convergence"]["decisions"]])
        self.assertLessEqual(report["convergence"]["slowdown"], 20)
        self.assertEqual(self.throttle(self.here), before)

    def test_what_a_killed_conductor_leaves_is_set_back(self):
        """QEMU's throttle and downtime limit at the source, where the VM stays: by resolve, from the journal."""
        node = self.lab.host(self.here)
        self.link_for(4, rate="max", set_mib=96)
        before = self.throttle(self.here), node.virsh("migrate-getmaxdowntime", "g1").stdout
        moving = node.popen(["watari", "migrate", "g1", self.there, "--link-address", f"{self.there}-mig",
                             "--max-slowdown", "20"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)
        with moving:
            end = time.monotonic() + 90
            while self.throttle(self.here) == before[0]:
                self.assertLess(time.monotonic(), end, "the throttle is never held")
                time.sleep(0.2)
            os.kill(moving.inner_pid(), signal.SIGKILL)
        self.assertNotEqual(self.throttle(self.here), before[0])
        done = node.run(["watari", "resolve", "g1"], check=False, timeout=200)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(guest.where(self.lab, "g1"), {self.here: "running"})
        self.assertEqual((self.throttle(self.here), node.virsh("migrate-getmaxdowntime", "g1").stdout), before)

    def test_a_switchover_that_does_not_fit_is_broken_off_and_counted(self):
        report = self.migrate("--max-downtime", "400ms", env={"WATARI_TEST_FAULTS": "gate"})
        self.assertEqual(report["exit_code"], FAILED, report["said"])
        self.assertIn("broken off", report["error"]["what"])
        self.assertIn("--max-downtime", report["error"]["next"])
        numbers = report["convergence"]
        self.assertEqual(numbers["broken_off"], 1)
        self.assertGreaterEqual(numbers["broken_off_ms"], 400 - numbers["hand_over_ms"] - 50)
        self.assertEqual(guest.where(self.lab, "g1"), {self.here: "running"})

    def test_words_that_contradict_each_other(self):
        report = self.migrate("--strategy", "live", "--allow-postcopy")
        self.assertEqual(report["exit_code"], USAGE)


if __name__ == "__main__":
    unittest.main()
