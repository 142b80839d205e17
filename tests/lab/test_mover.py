#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The movers between two real QEMUs (no libvirt): hand-over, gate, proofs, faults, cuts, kills.

The guest is the small ROM of tests/capture: it changes its memory all the time, so a lost or stale
page would show. In every failing scenario the source's guest must go on.
"""
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/lab"), str(ROOT / "tests/capture")]
sys.dont_write_bytecode = True
from mover_pair import MoverFailed, MoverPair  # noqa: E402
from qmp import Qemu  # noqa: E402

WATARI = os.environ.get("WATARI_TEST_BINARY", str(ROOT / "build-asan/src/cli/watari"))
UUID = "5d3b6c1e-6a0b-4f7e-9b1e-0d8c2a4f6e11"
MEMORY = "64M"


def round_counter(qemu):
    """The guest's own counter, read from its memory (the ROM writes it into each dirty page)."""
    path = f"{qemu.directory}/page"
    qemu.do("pmemsave", val=0x100000, size=4096, filename=path)
    with open(path, "rb") as page:
        data = page.read()
    return max(int.from_bytes(data[at:at + 4], "little") for at in range(0, 4096, 8))


class Scenario(unittest.TestCase):
    settings = {}

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="watari-mover-")
        self.addCleanup(shutil.rmtree, self.directory)
        os.environ["WATARI_RUN_DIR"] = f"{self.directory}/run"
        self.build_rom()
        self.qemus = []
        self.pair = None

    def build_rom(self):
        capture = ROOT / "tests/capture/guest.S"
        self.rom = f"{self.directory}/rom"
        subprocess.run(["as", "--32", "-o", f"{self.rom}.o", capture], check=True)
        subprocess.run(["ld", "-m", "elf_i386", "-Ttext=0", "--oformat=binary", "-o", self.rom,
                        f"{self.rom}.o"], check=True)

    def qemu(self, name, *arguments):
        qemu = Qemu(["qemu-system-x86_64", "-accel", "tcg", "-machine", "pc-q35-7.2", "-m", MEMORY,
                     "-uuid", UUID, "-nodefaults", "-display", "none", "-bios", self.rom,
                     *arguments], self.directory, self.directory, name)
        qemu.directory = self.directory
        self.addCleanup(qemu.stop)
        for capability in ("return-path",):
            qemu.do("migrate-set-capabilities",
                    capabilities=[{"capability": capability, "state": True}])
        return qemu

    def start(self, **settings):
        self.source = self.qemu("source")
        self.pair = MoverPair(WATARI, self.directory, uuid=UUID, **settings)
        self.addCleanup(self.pair.close)
        self.destination = self.qemu("destination", "-S", "-incoming",
                                     f"unix:{self.pair.destination.socket}")
        self.source.do("migrate-set-parameters", max_bandwidth=0, downtime_limit=100)
        time.sleep(0.5)
        self.before = round_counter(self.source)
        self.assertGreater(self.before, 0, "the guest does not run")

    def migrate(self):
        self.source.do("migrate", uri=f"unix:{self.pair.source.socket}")

    def status(self, timeout=30):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            status = self.source.do("query-migrate")["status"]
            if status in ("completed", "failed", "cancelled"):
                return status
            time.sleep(0.02)
        self.fail(f"migration still “{status}” after {timeout} s")

    def assert_moved(self):
        self.assertEqual(self.status(), "completed")
        outcomes = self.pair.finish()
        self.assertEqual([o["outcome"] for o in outcomes], ["handed-over"] * 2)
        self.assertEqual(outcomes[0]["bytes"], outcomes[1]["bytes"])
        self.assertEqual(self.source.do("query-status")["status"], "postmigrate")
        self.destination.do("cont")
        time.sleep(0.3)
        after = round_counter(self.destination)
        self.assertGreater(after, self.before)
        return outcomes

    def assert_runs_at_source(self):
        self.assertIn(self.status(), ("failed", "cancelled"))
        stopped = round_counter(self.source)
        if self.source.do("query-status")["status"] != "running":
            self.source.do("cont")  # libvirt does that
        time.sleep(0.5)
        self.assertGreater(round_counter(self.source), stopped)


class Moves(Scenario):
    def test_hand_over(self):
        self.start(connections=2)
        self.migrate()
        source, destination = self.assert_moved()
        self.assertGreater(source["pages"]["normal"], 100)
        self.assertGreater(source["pages"]["zero"], 10000)
        self.assertNotIn("opaque", source)
        self.assertGreater(source["device_bytes"], 1000)
        self.assertTrue(all(lane > 0 for lane in source["lanes"]), source["lanes"])
        # a page that the destination's QEMU has like that already is not handed on again
        handed_on = {**source["pages"], "normal": source["pages"]["normal"] - source["content"]["same_pages"]}
        self.assertEqual(handed_on, destination["pages"])

    def test_source_listens(self):
        self.start(listen="source", connections=4)
        self.migrate()
        self.assert_moved()

    def test_unknown_stream_still_migrates(self):
        self.start(faults=["unknown"])
        self.migrate()
        source, _ = self.assert_moved()
        self.assertIn("opaque", source)
        self.assertEqual(source["pages"]["normal"], 0)

    def test_bandwidth_cap(self):
        cap = 2 * 1024 * 1024
        self.start(bandwidth=cap)
        started = time.monotonic()
        self.migrate()
        source, _ = self.assert_moved()
        seconds = time.monotonic() - started
        self.assertLess(source["wire_sent"] / seconds, 1.1 * cap)


class Refusals(Scenario):
    def refuse(self, code, endless=False, **settings):
        self.start(**settings)
        if endless:  # round after round: the guest is never below that
            self.source.do("migrate-set-parameters", max_bandwidth=2 << 20, downtime_limit=1)
        self.migrate()
        self.assert_runs_at_source()
        outcomes = self.pair.finish()
        self.assertEqual(outcomes[0]["outcome"], "aborted")
        self.assertIn(code, [o.get("code") for o in outcomes])

    def test_flipped_page(self):
        self.refuse("verify", faults=["page"])

    def test_flipped_device_state(self):
        self.refuse("verify", faults=["device"])

    def test_stop_limit(self):
        self.refuse("limit", faults=["gate"], stop_limit_ms=300)

    def test_abort_in_precopy(self):
        self.start(bandwidth=200000)
        self.migrate()
        self.pair.source.wait("connected")
        self.pair.source.send("abort", reason="the test says so")
        self.assert_runs_at_source()

    def test_abort_at_the_gate(self):
        self.start(faults=["gate"])
        self.migrate()
        self.pair.source.wait("loaded")
        self.pair.source.send("abort", reason="the test says so")
        self.assert_runs_at_source()


def add_lies():
    """Each encoder lies at the source; the batch's tag catches it at the destination. (Pages that stay
    the same do not occur in this guest: test-encoders has those.)"""
    for encoder in ("bytes", "zero", "literal", "reference", "delta", "packed"):
        def test(self, encoder=encoder):
            # a slow link: else nothing may be encoded at all, and nobody lies
            self.refuse("verify", endless=encoder == "delta", bandwidth=8 << 20, faults=[f"lie-{encoder}"])
        setattr(Refusals, f"test_lying_{encoder}", test)


add_lies()


class Deaths(Scenario):
    """Each of the movers, and each control channel, ends in mid pre-copy and at the gate."""

    def die(self, side, act, moment):
        # Nobody tells the source mover that its peer was killed (a conductor would): the link does.
        self.start(link_timeout_ms=3000,
                   **({"faults": ["gate"]} if moment == "loaded" else {"bandwidth": 200000}))
        self.migrate()
        self.pair.source.wait(moment)
        act(getattr(self.pair, side).process)
        self.assert_runs_at_source()


def kill(process):
    process.send_signal(signal.SIGKILL)


def orphan(process):
    process.stdin.close()


def add_deaths():
    for side in ("source", "destination"):
        for act in (kill, orphan):
            for moment, where in (("connected", "precopy"), ("loaded", "gate")):
                def test(self, side=side, act=act, moment=moment):
                    self.die(side, act, moment)
                setattr(Deaths, f"test_{act.__name__}_{side}_in_{where}", test)


add_deaths()


class Proofs(Scenario):
    def qemu(self, name, *arguments):
        """libvirt's pid file, which the source mover looks for."""
        qemu = super().qemu(name, *arguments)
        if name == "source":
            if not os.path.isdir("/run/libvirt/qemu"):
                os.makedirs("/run/libvirt/qemu")
                self.addCleanup(os.removedirs, "/run/libvirt/qemu")
            self.pid_file = f"/run/libvirt/qemu/watari-test-{os.getpid()}.pid"
            with open(self.pid_file, "w") as pid_file:
                pid_file.write(str(qemu.process.pid))
            self.addCleanup(os.unlink, self.pid_file)
        return qemu

    def start(self, **settings):
        super().start(name=f"watari-test-{os.getpid()}", **settings)

    def prove(self, mode, **settings):
        self.start(verify=mode, **settings)
        self.migrate()
        verified = self.pair.source.wait("verified", 30)
        self.assertEqual(verified["mode"], mode)
        self.assertEqual(verified["skipped"], [])
        self.assert_moved()
        return verified

    def test_full(self):
        self.assertGreaterEqual(self.prove("full")["bytes"], 64 << 20)

    def test_full_with_many_workers_and_little_memory(self):
        """Whatever the workers' number and the caches' size, the memory is the same. A slow link: codec streams."""
        verified = self.prove("full", cores=4, memory_limit=128 << 20, bandwidth=4 << 20)
        self.assertGreaterEqual(verified["bytes"], 64 << 20)

    def test_sample(self):
        self.assertEqual(self.prove("sample")["pages"], 2048)

    def test_full_finds_what_tags_cannot(self):
        self.start(verify="full", faults=["late-page"])
        self.migrate()
        self.assert_runs_at_source()
        outcomes = self.pair.finish()
        self.assertIn("memory differs", outcomes[0]["reason"])


if __name__ == "__main__":
    unittest.main()
