#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`watari migrate` between versions: Debian 12 (QEMU 7.2, libvirt 9.0) and Debian 13 (QEMU 10.0, libvirt
11.3), the guest under load, its memory compared at each gate. The reader goes by the bytes it sees, so
every one of these streams must be understood up to the first device section."""
import json
import os
import pathlib
import sys
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "lab"))
sys.dont_write_bytecode = True
from watari_lab import HostSpec, Lab, guest  # noqa: E402

TIME_LIMIT_S = 900
WATARI = os.environ.get("WATARI_TEST_BINARY", str(TOP / "build-asan/src/cli/watari"))
ASAN = {name: os.environ[name] for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS") if name in os.environ}
WALK = ("old2", "new1", "new2", "old1")  # 12 to 12, 12 to 13, 13 to 13, 13 to 12


class Versions(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        hosts = [HostSpec("old1"), HostSpec("old2"), HostSpec("new1", release="trixie"),
                 HostSpec("new2", release="trixie")]
        cls.lab = Lab(f"pair{os.getpid() % 100000}", hosts, watari=WATARI, watari_env=ASAN)
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()

    def move(self, source, destination):
        done = self.lab.host(source).run(["watari", "migrate", "g1", destination, "--json", "--max-downtime", "20s",
                                          "--verify-memory", "full"], check=False, timeout=180)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        report = json.loads(done.stdout)
        self.assertIsNone(report["bytes"]["opaque"])
        self.assertEqual(report["proof"]["memory_skipped"], [])
        self.assertEqual(guest.where(self.lab, "g1"), {destination: "running"})

    def test_walk(self):
        guest.start(self.lab, "old1", "g1", memory_mib=128, pattern="text", rate=100, set_mib=16)
        here = "old1"
        for there in WALK:
            with self.subTest(f"{here} to {there}"):
                self.move(here, there)
            here = there
        guest.check(self.lab, "g1")


if __name__ == "__main__":
    unittest.main()
