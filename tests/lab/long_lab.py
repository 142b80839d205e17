# SPDX-License-Identifier: Apache-2.0
"""Hosts of two Debian releases: libvirt alone moves a guest live between all kinds of them."""

import os
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from labkit import plain_move  # noqa: E402
from watari_lab import HostSpec, Lab, guest  # noqa: E402

TIME_LIMIT_S = 900

HOSTS = [
    HostSpec("twelve"),
    HostSpec("twelveu", unprivileged=True),
    HostSpec("thirteen", release="trixie"),
    HostSpec("thirteenu", release="trixie", unprivileged=True),
]
# Each kind of pair once: 12 to 12, 12 to 13, 13 to 13 and back to 12, root and not.
WAY = ["twelve", "twelveu", "thirteenu", "thirteen", "thirteenu", "twelve", "thirteen", "twelveu"]


class Releases(unittest.TestCase):
    def test_a_walk_through_all(self) -> None:
        with Lab(f"r{os.getpid() % 100000}", HOSTS) as lab:
            for name, version in (("twelve", "QEMU 7.2"), ("thirteen", "QEMU 10.0")):
                self.assertIn(version, lab.host(name).virsh("version").stdout)
            guest.start(lab, WAY[0], "walker", pattern="text", rate=200, set_mib=8, memory_mib=128)
            for source, destination in zip(WAY, WAY[1:]):
                print(f"# {source} to {destination}", flush=True)
                plain_move(self, lab, "walker", source, destination)

    @unittest.skipUnless(os.environ.get("WATARI"), "WATARI does not name a binary")
    def test_watari_starts_there(self) -> None:
        hosts = [HostSpec("thirteen", release="trixie")]
        with Lab(f"w{os.getpid() % 100000}", hosts, watari=os.environ["WATARI"]) as lab:
            told = lab.host("thirteen").run(["watari", "--version"], env={"ASAN_OPTIONS": "detect_leaks=0"})
            self.assertIn("watari", told.stdout)


if __name__ == "__main__":
    unittest.main()
