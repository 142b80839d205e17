#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What is said before a move: `watari plan`, plans in files, `watari rehearse`, `watari score`.

Real hosts, a real guest that dirties its memory, a client outside that would notice if it stopped.
"""
import base64
import contextlib
import json
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "lab"))
sys.dont_write_bytecode = True
import ticker  # noqa: E402
from watari_lab import HostSpec, Lab, client, disks, guest  # noqa: E402

TIME_LIMIT_S = 500
WATARI = os.environ.get("WATARI_TEST_BINARY", str(TOP / "build-asan/src/cli/watari"))
ASAN = {name: os.environ[name] for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS") if name in os.environ}
OK, USAGE, REFUSED, CANCELLED = 0, 2, 3, 6
PLAN = "/tmp/watari-test.plan"


def setUpModule():
    global lab
    hosts = [HostSpec("hosta"), HostSpec("hostb", unprivileged=True)]
    lab = Lab(f"plan{os.getpid() % 100000}", hosts, watari=WATARI,
              watari_env=ASAN)
    unittest.addModuleCleanup(lab.down)
    lab.up()
    guest.start(lab, "hosta", "g1", memory_mib=128)


def leftovers(host):
    found = [line for _, line in host.processes("watari mover")]
    found += [line for _, line in host.processes("-incoming defer") if not host.virsh("list", "--name").stdout.strip()]
    found += [path for path in ("/run/watari", "/run/libvirt/watari") if host.exists(path)]
    return found


class Ahead(unittest.TestCase):
    vm = "g1"

    def setUp(self):
        (self.here,) = guest.where(lab, self.vm)
        self.there = "hostb" if self.here == "hosta" else "hosta"
        self.calm()

    def calm(self):
        guest.load(lab, self.vm, "none")

    def watari(self, *words, host=None, **more):
        return lab.node(host or self.here).run(["watari", *words], check=False, timeout=120, **more)

    def ahead(self, *words, code=OK):
        """The report of a plan, a rehearsal or a move."""
        done = self.watari(*words, "--json")
        self.assertTrue(done.stdout, done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual(done.returncode, code, done.stderr)
        report["said"] = done.stderr
        return report

    def counted(self):
        """What QEMU says of the pages that it was asked to count."""
        node = lab.host(self.here)
        answer = node.virsh("qemu-monitor-command", self.vm, '{"execute": "query-dirty-rate"}').stdout
        return json.loads(answer)["return"]

    def assert_untouched(self):
        self.assertEqual(guest.where(lab, "g1"), {self.here: "running"})
        guest.check(lab, "g1")
        for host in lab.hosts:
            deadline = time.monotonic() + 10
            while leftovers(host) and time.monotonic() < deadline:
                time.sleep(0.2)
            self.assertEqual(leftovers(host), [], host.name)


class Plan(Ahead):
    def test_what_is_measured(self):
        """The numbers are those of this guest: a load that is put on it is seen."""
        idle = self.ahead("plan", "g1", self.there)
        guest.load(lab, "g1", "random", rate=1000, set_mib=32)
        busy = self.ahead("plan", "g1", self.there)
        self.assertEqual(busy["outcome"], "planned")
        for report in (idle, busy):
            facts = report["forecast"]["facts"]
            self.assertEqual(facts["memory"], 128 << 20)
            self.assertGreater(facts["sample_pages"], 4000)
            self.assertTrue(0.2 < facts["data"] < 0.95, facts)
            self.assertGreater(facts["link_rate"], 1e6)
            self.assertTrue(all(host["cpus"] >= 1 and host["speed"] > 0 for host in facts["hosts"]))
            self.assertEqual([row["strategy"] for row in report["forecast"]["strategies"]], ["live", "postcopy", "quick"])
        changed = [report["forecast"]["facts"]["looks"][-1] for report in (idle, busy)]
        self.assertLess(changed[0], 1500)
        self.assertGreater(changed[1], 2000)
        # random pages do not pack
        self.assertGreater(busy["forecast"]["facts"]["changed_bytes"], 3000)
        self.assert_untouched()

    def test_cap_and_ceiling_count(self):
        """A VM that changes its memory faster than the cap carries is said to need another ceiling."""
        guest.load(lab, "g1", "random", rate=6000, set_mib=64)
        report = self.ahead("plan", "g1", self.there, "--bandwidth", "2M", "--max-downtime", "100ms")
        found = {check["check"]: check for check in report["checks"]}
        self.assertEqual(found["convergence"]["result"], "warn")
        self.assertIn("--max-downtime", found["convergence"]["next"])
        self.assertFalse(report["forecast"]["strategies"][0]["converges"])
        self.assertLess(report["forecast"]["facts"]["link_rate"], 4 << 20)

    def test_page(self):
        done = self.watari("plan", "g1", self.there, "-q")
        self.assertEqual(done.returncode, OK, done.stderr)
        for words in ("Plan: g1 from", "total time", "longest stop", "Checks", "Back-out plan", "watari resolve g1"):
            self.assertIn(words, done.stdout)

    def test_nothing_is_disturbed(self):
        """Measuring a guest under load: no gap, and it counts on. QEMU, which would crash when it emulates, was not asked
        to count what is written."""
        guest.load(lab, "g1", "text", rate=500, set_mib=32)
        with client.Prober(lab, "g1") as prober:
            for _ in range(2):
                self.ahead("plan", "g1", self.there)
        self.assertTrue(prober.report["session"]["survived"], prober.report["session"])
        self.assertEqual(prober.report["http"]["failed"], 0)
        emulates = guest.acceleration() == "qemu"
        self.assertEqual(self.counted()["status"], "unstarted" if emulates else "measured")
        self.assert_untouched()

    def test_mover_killed_while_it_measures(self):
        """The guest does not depend on who looks at it."""
        node = lab.host(self.here)
        running = lab.node(self.here).popen(["watari", "plan", "g1", self.there, "-q"])
        deadline = time.monotonic() + 20
        movers = []
        while not movers and time.monotonic() < deadline:
            movers = [pid for pid, line in node.processes("watari mover")]
            time.sleep(0.1)
        self.assertTrue(movers)
        time.sleep(1.5)  # linked, and looking
        for pid in movers:
            os.kill(pid, signal.SIGKILL)
        running.wait(60)
        self.assertEqual(running.returncode, REFUSED)
        self.assert_untouched()


class Disks(Ahead):
    """A disk that must be copied, and that the guest writes to."""

    vm = "g2"

    @classmethod
    def setUpClass(cls):
        image = disks.make(lab.host("hosta"), "/lab/images/g2.raw")
        guest.start(lab, "hosta", cls.vm, memory_mib=96, disks=[guest.Disk(image)],
                    words=f"watari.disk_set={disks.AREA_MIB} watari.mem=16")
        cls.addClassCleanup(guest.stop, lab, None, cls.vm)

    def written(self):
        (disk,) = guest.state(lab, self.vm)["disks"]
        return disk["writes"] * disks.BLOCK

    def assert_seen(self, facts, least, most):
        self.assertTrue(8 << 20 < facts["disk_bytes"] < 32 << 20, facts["disk_bytes"])
        self.assertTrue(least <= facts["disk_write_rate"] <= most, (least, facts["disk_write_rate"], most))

    def calm(self):
        guest.load(lab, self.vm, "none", disk_rate=0)

    def test_what_the_guest_writes(self):
        idle = self.ahead("plan", "g2", self.there)
        self.assert_seen(idle["forecast"]["facts"], 0, 20e3)
        guest.load(lab, self.vm, disk_rate=500)
        before, begin = self.written(), time.monotonic()
        done = self.watari("plan", "g2", self.there, "--disk-bandwidth", "100K", "-o", PLAN)
        real = (self.written() - before) / (time.monotonic() - begin)
        self.assertGreater(real, 200e3)  # the premise
        self.assertEqual(done.returncode, OK, done.stderr)
        self.assertRegex(done.stdout, "disks to copy +[0-9.]+ MiB, to which the VM writes [0-9.]+ [KM]iB/s")
        # under a cap that is less it is told what follows from it
        self.assertIn("each of its writes waits for the destination", done.stderr)
        self.assert_seen(json.loads(lab.host(self.here).read_text(PLAN))["forecast"]["facts"], real / 2, real * 2)
        # a move looks beside what it does anyway, and waits for nothing
        report = self.ahead("migrate", "g2", self.there, "--max-downtime", "20s")
        self.assertEqual(report["outcome"], "migrated")
        self.assert_seen(report["forecast"]["facts"], real / 4, real * 4)


class Counted(Ahead):
    """A guest of a few bytes on KVM, where that runs: QEMU is asked to count what is written. Half of what it writes is
    what was there."""

    vm = "t1"
    WRITES = 256

    @classmethod
    def setUpClass(cls):
        if not ticker.runs_on_kvm():
            raise unittest.SkipTest("KVM does not run even a guest of a few bytes here")
        ticker.install(lab, cls.WRITES)
        lab.host("hosta").write_text("/tmp/t1.xml", ticker.domain(cls.vm, kind="kvm", cpu="", log="/lab/images/serial-t1.log"))
        lab.host("hosta").virsh("create", "/tmp/t1.xml")
        cls.addClassCleanup(guest.stop, lab, None, cls.vm)

    def calm(self):
        """It has no load to change."""

    def ticks(self):
        return os.stat(lab.host(self.here).path("/lab/images/serial-t1.log")).st_size

    def assert_goes_on(self):
        self.assertEqual(guest.where(lab, self.vm), {self.here: "running"})
        before = self.ticks()
        time.sleep(1)
        self.assertGreater(self.ticks() - before, ticker.TICKS / 2)

    def test_dirtied_is_not_changed(self):
        pids = [pid for pid, line in lab.host(self.here).processes("guest=t1")]
        before, begin = self.ticks(), time.monotonic()
        facts = self.ahead("plan", "t1", self.there)["forecast"]["facts"]
        rate = (self.ticks() - before) / (time.monotonic() - begin)
        self.assertEqual((self.counted()["status"], self.counted()["mode"]), ("measured", "dirty-bitmap"))
        self.assertTrue(0.7 < facts["dirtied_rate"] / (rate * self.WRITES) < 1.3, (rate, facts))
        seconds, pages = facts["looks"][2:4]  # that of one second
        self.assertTrue(1.4 < facts["dirtied_rate"] / (pages / seconds) < 2.8, facts)
        self.assert_goes_on()
        self.assertEqual([pid for pid, line in lab.host(self.here).processes("guest=t1")], pids)

    def test_counting_is_over_before_it_migrates(self):
        """A rehearsal migrates right after it; a move does without."""
        report = self.ahead("rehearse", "t1", self.there)
        self.assertEqual(report["outcome"], "rehearsed")
        self.assertGreater(report["forecast"]["facts"]["dirtied_rate"], 1000)
        self.assert_goes_on()
        report = self.ahead("migrate", "t1", self.there, "--max-downtime", "20s")
        self.assertEqual(report["outcome"], "migrated")
        if report["forecast"]:  # so small a VM may be there before it is measured
            self.assertEqual(report["forecast"]["facts"]["dirtied_rate"], 0)
        self.here = self.there
        self.assertEqual(self.counted()["status"], "unstarted")
        self.assert_goes_on()


class Beside(Ahead):
    """A live move waits for no sample: here the last look at the memory comes six seconds late."""
    LATE = {**ASAN, "WATARI_TEST_FAULTS": "slow-look"}

    def move(self, *options):
        done = self.watari("migrate", "g1", self.there, "--json", "--max-downtime", "20s", *options, env=self.LATE)
        report = json.loads(done.stdout)
        self.assertEqual(report["outcome"], "migrated", done.stderr)
        score = json.loads(self.watari("score", "--json").stdout)
        self.assertEqual([move["id"] for move in score["moves"][:1]], [report["id"]], report["notes"])
        return report

    def told(self, move):
        """What the journal has of it, in order."""
        copy = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, copy)
        for end in ("", "-wal", "-shm"):
            if lab.host(self.here).exists(f"/var/lib/watari/journal.sqlite{end}"):
                data = lab.host(self.here).run(["base64", f"/var/lib/watari/journal.sqlite{end}"]).stdout
                pathlib.Path(f"{copy}/journal.sqlite{end}").write_bytes(base64.b64decode(data))
        with contextlib.closing(sqlite3.connect(f"{copy}/journal.sqlite")) as journal:
            return [kind for (kind,) in journal.execute("SELECT kind FROM events WHERE move = ? ORDER BY id", (move,))]

    def assert_not_waited(self, report):
        phases = report["times"]["phases_ms"]
        self.assertLess(phases["forecast"], 3000, phases)
        before = sum(ms for phase, ms in phases.items() if phase != "perform")
        self.assertGreater(report["forecast"]["known_ms"], before)

    def test_copies_before_it_is_predicted(self):
        """The forecast is made beside the first pass, of the whole sample, and is kept before the outcome is known."""
        guest.load(lab, "g1", "random", rate=100, set_mib=48)
        report = self.move("--bandwidth", "3M")
        self.assert_not_waited(report)
        self.assertGreater(report["forecast"]["facts"]["looks"][2], 6, report["forecast"])
        told = self.told(report["id"])
        self.assertLess(told.index("mover-connected"), told.index("forecast"), told)
        self.assertLess(told.index("forecast"), told.index("mover-stopped"), told)

    def test_stops_before_it_is_measured(self):
        """Then the first look has to do: of a stopped VM the second one would say that it writes nothing."""
        guest.load(lab, "g1", "random", rate=100, set_mib=24)
        report = self.move("--bandwidth", "8M")
        self.assert_not_waited(report)
        self.assertEqual(len(report["forecast"]["facts"]["looks"]), 2, report["forecast"])
        self.assertGreater(report["forecast"]["facts"]["hosts"][0]["speed"], 0)


class PlanFile(Ahead):
    def test_carried_out_once(self):
        self.ahead("plan", "g1", self.there, "--max-downtime", "20s", "--bandwidth", "40M", "-o", PLAN)
        report = self.ahead("migrate", "--plan", PLAN)
        self.assertEqual(report["outcome"], "migrated")
        self.assertEqual(guest.where(lab, "g1"), {self.there: "running"})
        # the forecast is the plan's, and is scored
        score = json.loads(self.watari("score", "--json").stdout)
        self.assertEqual(score["moves"][0]["id"], report["id"])
        self.assertEqual(score["moves"][0]["total_ms"]["outcome"], report["times"]["total_ms"])
        # the VM is not where it was
        again = self.ahead("migrate", "--plan", PLAN, code=REFUSED)
        self.assertEqual(again["outcome"], "refused")

    def test_the_world_has_changed(self):
        self.ahead("plan", "g1", self.there, "-o", PLAN)
        node = lab.host(self.here)
        node.virsh("suspend", "g1")
        try:
            report = self.ahead("migrate", "--plan", PLAN, code=REFUSED)
        finally:
            node.virsh("resume", "g1")
        self.assertIn("the VM's state was “running” and is “paused”", report["error"]["what"])
        self.assertIn("watari plan", report["error"]["next"])
        self.assert_untouched()

    def test_nonsense(self):
        node = lab.node(self.here)
        for text in ("", "[]", "{}", "{\"format\": 1}", "x" * 100,
                     json.dumps({"format": 1, "vm": "g1", "destination": self.there, "words": ["--rsh=x", "rm"],
                                 "world": {}, "forecast": {}}),
                     json.dumps({"format": 1, "vm": "--help", "destination": self.there, "words": [],
                                 "world": {}, "forecast": {}})):
            with self.subTest(text=text[:30]):
                node.run(["sh", "-c", f"cat > {PLAN}"], input=text)
                report = self.ahead("migrate", "--plan", PLAN, code=USAGE)
                self.assertIn(PLAN, report["error"]["what"])
        report = self.ahead("migrate", "--plan", "/nowhere", code=USAGE)
        self.assertIn("/nowhere", report["error"]["what"])
        report = self.ahead("migrate", "--plan", PLAN, "g1", self.there, code=USAGE)
        self.assertIn("beside --plan", report["error"]["what"])


class Rehearsal(Ahead):
    @contextlib.contextmanager
    def uninterrupted(self, vm):
        """libvirt tells of no stop meanwhile."""
        events = lab.node(self.here).popen(
            ["virsh", "event", "--all", "--loop", "--timeout", "100", "--domain", vm],
            stdout=subprocess.PIPE, text=True)
        time.sleep(0.5)
        yield
        events.terminate()
        said, _ = events.communicate(timeout=20)
        self.assertNotIn("Suspended", said)
        self.assertNotIn("Stopped", said)

    def rehearse(self, *options, code=OK):
        with self.uninterrupted("g1"), client.Prober(lab, "g1") as prober:
            report = self.ahead("rehearse", "g1", self.there, *options, code=code)
        self.assertTrue(prober.report["session"]["survived"])
        self.assert_untouched()
        return report

    def test_idle_and_busy(self):
        for pattern, load in (("none", {}), ("random", {"rate": 800, "set_mib": 32})):
            with self.subTest(pattern):
                guest.load(lab, "g1", pattern, **load)
                report = self.rehearse()
                self.assertEqual(report["outcome"], "rehearsed")
                seen = report["rehearsal"]
                # nearly all of the memory has crossed, and never all of it
                self.assertGreater(seen["pages"], 5000)
                self.assertGreaterEqual(seen["left_pages"], 512)
                self.assertGreater(seen["wire_bytes"], 1 << 20)

    def halt(self, name):
        """A guest whose processor stands still for good."""
        guest.start(lab, self.here, name, memory_mib=96)
        self.addCleanup(guest.stop, lab, None, name)
        guest.power(lab, name, "halt")
        deadline = time.monotonic() + 20
        while "System halted" not in guest.serial(lab, name) and time.monotonic() < deadline:
            time.sleep(0.2)
        self.assertIn("System halted", guest.serial(lab, name))

    def test_halted(self):
        """Nothing is dirtied, so only the hold keeps QEMU from its end; the move that follows carries what was said."""
        self.halt("g2")
        with self.uninterrupted("g2"):
            report = self.ahead("rehearse", "g2", self.there)
        self.assertEqual(report["outcome"], "rehearsed")
        self.assertEqual(guest.where(lab, "g2"), {self.here: "running"})
        self.assert_untouched()
        move = self.ahead("migrate", "g2", self.there, "--max-downtime", "2s")  # the machine may be busy
        self.assertEqual(guest.where(lab, "g2"), {self.there: "running"})
        said = report["forecast"]["strategies"][0]["bytes"]["p50"]
        # One move on a machine that may be busy: how good forecasts are is judged over many, by bench/forecast.
        self.assertLess(abs(move["bytes"]["wire_sent"] / said - 1), 0.15)

    def test_traffic_is_bounded(self):
        report = self.rehearse("--max-traffic", "4M")
        self.assertLess(report["rehearsal"]["wire_bytes"], 8 << 20)
        self.assertEqual(report["outcome"], "rehearsed")

    def test_time_is_bounded(self):
        report = self.rehearse("--bandwidth", "1M", "--max-time", "4s")
        self.assertLess(report["rehearsal"]["copy_ms"], 20000)
        self.assertLess(report["rehearsal"]["pages"], 12000)

    def test_cancelled(self):
        running = lab.node(self.here).popen(["watari", "rehearse", "g1", self.there, "--bandwidth", "1M", "-q"])
        time.sleep(8)
        running.terminate()
        running.wait(60)
        self.assertEqual(running.returncode, CANCELLED)
        self.assert_untouched()


if __name__ == "__main__":
    unittest.main()
