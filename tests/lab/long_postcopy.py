#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""More of what may happen in post-copy; what a change should not come through without is in test_postcopy.py."""
import json
import pathlib
import signal
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.dont_write_bytecode = True
import test_postcopy as kit  # noqa: E402
from watari_lab import guest  # noqa: E402

TIME_LIMIT_S = 700
setUpModule = kit.setUpModule


class PostCopyMore(kit.PostCopyCase):
    def test_link_cut_for_longer_than_the_limit(self):
        """After the switch there is no way back, so a limit would help nobody."""
        move = self.start("--link-timeout", "2s").wait_postcopy()
        kit.lab.cut("migration")
        time.sleep(8)
        self.assertTrue(move.still_goes_on(), "it gave up")
        kit.lab.restore()
        self.assertEqual(self.assert_arrived(move)["postcopy"]["recoveries"], 0)

    def test_destination_mover_killed(self):
        self.kill("destination")

    def test_conductor_killed(self):
        """The movers carry it to the end; then `watari resolve` says where the VM is, and nothing is left."""
        move = self.start().wait_postcopy()
        move.process.kill()
        move.process.wait()
        middle = kit.lab.admin.run(["watari", "resolve", kit.NAME, "--json", "--dry-run"], check=False, timeout=kit.PATIENCE_S)
        self.assertIn(json.loads(middle.stdout)["situation"], ("post-copy", "handed-over", "migrated"))
        end = time.monotonic() + kit.PATIENCE_S
        while guest.where(kit.lab, kit.NAME) != {self.there: "running"} and time.monotonic() < end:
            kit.lab.admin.run(["watari", "resolve", kit.NAME, "--json"], check=False, timeout=kit.PATIENCE_S)
        self.assertEqual(guest.where(kit.lab, kit.NAME), {self.there: "running"})
        kit.lab.link(rate="1gbit")
        self.assert_intact()
        for host in kit.lab.hosts:
            host.run(["watari", "mover", "--sweep"])
        self.assert_clean()

    def test_cancel_after_the_switch_is_refused(self):
        move = self.start().wait_postcopy()
        move.process.send_signal(signal.SIGINT)
        self.assert_arrived(move)
        self.assertIn("cannot be cancelled any more", move.words())


if __name__ == "__main__":
    unittest.main()
