#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A running move, seen and steered from another terminal: status, watch, cancel, tune; clients that write nonsense or do
not read; a conductor that was killed."""
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "lab"))
sys.dont_write_bytecode = True
from screen import Screen, width  # noqa: E402
from watari_lab import HostSpec, Lab, guest  # noqa: E402

TIME_LIMIT_S = 600
WATARI = os.environ.get("WATARI_TEST_BINARY", str(TOP / "build-asan/src/cli/watari"))
ASAN = {name: os.environ[name] for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS") if name in os.environ}
REFUSED, FAILED, CANCELLED = 3, 4, 6
SOCKETS = "/var/lib/watari/moves"


class Control(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(f"ctl{os.getpid() % 100000}", [HostSpec("hosta"), HostSpec("hostb")], watari=WATARI, watari_env=ASAN)
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        guest.start(cls.lab, "hosta", "g1", memory_mib=128, pattern="random", rate=50, set_mib=32)

    def setUp(self):
        (self.here,) = guest.where(self.lab, "g1")
        self.there = "hostb" if self.here == "hosta" else "hosta"
        self.host = self.lab.host(self.here)

    def watari(self, *words, code=0):
        done = self.host.run(["watari", *words], check=False, timeout=120)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def slow(self, *options):
        """A move that will take a minute, once it copies memory; its process."""
        move = self.host.popen(["watari", "migrate", "g1", self.there, "--json", "--bandwidth", "1M", "--max-downtime", "20s",
                                "--link-address", f"{self.there}-mig",
                                *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.reap, move)
        self.wait_for(lambda: (self.live() or {}).get("phase") == "perform" and self.live()["bytes"] > 1 << 20)
        return move

    @staticmethod
    def reap(move):
        if move.poll() is None:
            move.kill()
        move.communicate()

    def wait_for(self, condition, seconds=60):
        deadline = time.monotonic() + seconds
        while not (result := condition()):
            self.assertLess(time.monotonic(), deadline, "it did not come to that")
            time.sleep(0.2)
        return result

    def status(self):
        return json.loads(self.watari("status", "g1", "--json").stdout)["moves"]

    def live(self):
        moves = self.status()
        return moves[0]["live"] if moves else None

    def end(self, move, code):
        out, said = move.communicate(timeout=120)
        self.assertEqual(move.returncode, code, said)
        return json.loads(out)

    def assert_stayed(self):
        self.assertEqual(guest.where(self.lab, "g1"), {self.here: "running"})
        guest.check(self.lab, "g1")
        self.assertEqual(self.sockets(), [])

    def sockets(self):
        return os.listdir(self.host.path(SOCKETS))

    def visit(self):
        """A client of the test's own, that need not know the protocol."""
        (name,) = self.sockets()
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.addCleanup(client.close)
        folder = os.open(self.host.path(SOCKETS), os.O_PATH)
        try:
            client.connect(f"/proc/self/fd/{folder}/{name}")
        finally:
            os.close(folder)
        client.settimeout(20)
        return client

    def test_status_and_watch_and_cancel(self):
        move = self.slow()
        (row, *_) = self.status()
        self.assertEqual((row["state"], row["outcome"], row["vm"]["name"]), ("running", None, "g1"))
        self.assertEqual(row["live"]["limits"]["bandwidth"], 1 << 20)
        self.assertIn("copying memory", self.watari("status").stdout)
        watch = self.host.popen(["watari", "watch", "g1", "--json"], stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.reap, watch)
        first = json.loads(watch.stdout.readline())["bytes"]
        self.wait_for(lambda: json.loads(watch.stdout.readline())["bytes"] > first)
        self.assertIn("runs at the source", self.watari("cancel", "g1").stdout)
        self.assertEqual(self.end(move, CANCELLED)["outcome"], "cancelled")
        last = json.loads(watch.communicate(timeout=20)[0].splitlines()[-1])
        self.assertEqual((last["t"], last["outcome"], watch.returncode), ("ended", "cancelled", CANCELLED))
        self.assertEqual(self.status()[0]["state"], "ended")
        self.assert_stayed()
        self.assertIn("no move of g1 is running", self.watari("cancel", "g1", code=REFUSED).stderr)

    def test_watch_on_a_terminal(self):
        """One line that is drawn anew, never wider than the terminal, and gone in the end."""
        move = self.slow()
        screen = Screen(columns=46)
        self.addCleanup(screen.close)
        watch = self.host.popen(["watari", "watch", "g1"], stdin=screen.terminal, stdout=screen.terminal,
                                stderr=screen.terminal, env={"TERM": "xterm"})
        self.addCleanup(self.reap, watch)
        screen.hand_over()
        self.wait_for(lambda: screen.read() and len(set(screen.drawn())) > 4)
        self.assertEqual(len(screen.lines()), 1, screen.lines())
        self.watari("cancel", "g1")
        while screen.read():
            pass
        self.assertEqual(watch.wait(20), CANCELLED)
        drawn, (last,) = screen.drawn(), screen.lines()
        self.assertLess(max(width(line) for line in drawn[:-1]), 46)
        self.assertTrue(any("copying memory" in line for line in drawn), drawn)
        self.assertTrue(last.startswith("watari: "), last)
        self.end(move, CANCELLED)
        self.assert_stayed()

    def test_tune_makes_it_tighter_and_never_looser(self):
        move = self.slow("--max-downtime", "10s")
        self.watari("tune", "g1", "--bandwidth", "2M")
        self.assertEqual(self.live()["limits"]["bandwidth"], 2 << 20)
        self.watari("tune", "g1", "--bandwidth", "1M")
        self.assertIn("already", self.watari("tune", "g1", "--max-downtime", "11s", code=REFUSED).stderr)
        self.assertEqual(self.live()["limits"]["bandwidth"], 1 << 20)
        self.watari("tune", "g1", "--bandwidth", "128K", "--max-downtime", "300ms")
        limits = self.live()["limits"]
        self.assertEqual((limits["bandwidth"], limits["max_downtime_ms"]), (128 << 10, 300))
        time.sleep(2)  # what is in the buckets
        before, at = self.live()["wire_bytes"], time.monotonic()
        time.sleep(4)
        rate = (self.live()["wire_bytes"] - before) / (time.monotonic() - at)
        self.assertLess(rate, 256 << 10)
        self.watari("cancel", "g1")
        self.end(move, CANCELLED)
        self.assert_stayed()

    def test_clients_that_misbehave(self):
        move = self.slow()
        for nonsense in (b"\xff\xfe\n", b"[" * 1000 + b"\n", b"x" * 200000, b'{"t":"tune","bandwidth":"no"}\n' * 100, b'{"t":1}\n'):
            client = self.visit()
            try:
                client.sendall(nonsense)
            except OSError:
                pass  # it was dropped in the middle
        deaf = [self.visit() for _ in range(20)]  # more than there is room for
        for client in deaf:
            try:
                client.sendall(b'{"t":"watch"}\n' + b'{"t":"status"}\n' * 3000)
            except OSError:
                pass
        before = self.wire()
        self.wait_for(lambda: self.wire() > before)
        for client in deaf:
            client.close()
        self.wait_for(lambda: self.live() is not None)  # there is room again
        self.watari("cancel", "g1")
        self.end(move, CANCELLED)
        self.assert_stayed()

    def wire(self):
        return int(self.host.run(["cat", "/sys/class/net/mig0/statistics/tx_bytes"]).stdout)

    def test_a_killed_conductor(self):
        move = self.slow()
        (row, *_) = self.status()
        self.assertEqual(len(self.sockets()), 1)
        pids = [pid for pid, line in self.host.processes("watari migrate g1")]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        move.communicate(timeout=60)
        self.wait_for(lambda: self.status()[0]["state"] == "broken-off", 20)
        self.assertEqual(self.status()[0]["id"], row["id"])
        self.assertIn("watari resolve", self.watari("status", "g1").stdout)
        self.assertIn("resolve", self.watari("cancel", "g1", code=REFUSED).stderr)
        self.assertEqual(self.sockets(), [])  # removed by whoever found it
        self.wait_for(lambda: guest.where(self.lab, "g1") == {self.here: "running"})
        self.watari("resolve", "g1")
        self.assertEqual(self.status()[0]["state"], "ended")
        self.assert_stayed()


if __name__ == "__main__":
    unittest.main()
