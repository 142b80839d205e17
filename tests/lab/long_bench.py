#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The bench itself (bench/migrations): a tiny table from end to end, gone on with after a stop."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

TOP = pathlib.Path(__file__).resolve().parents[2]
TIME_LIMIT_S = 600
WATARI = os.environ.get("WATARI_TEST_BINARY", str(TOP / "build-asan/src/cli/watari"))


def bench(results, *words, guest="tiny"):
    argv = [TOP / "bench/run", "--results", results, "--watari", WATARI, "--guests", guest, "--links", "unshaped",
            "--repetitions", "1", *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=400, check=False)


class Tiny(unittest.TestCase):
    def test_table_and_going_on(self):
        with tempfile.TemporaryDirectory() as results:
            first = bench(results, "--contenders", "watari")
            self.assertEqual(first.returncode, 0, first.stderr)
            second = bench(results, "--contenders", "watari", "multifd-zstd-tls")
            self.assertEqual(second.returncode, 0, second.stderr)
            self.assertIn("1 moves to do", second.stderr)
            self.check_moves(pathlib.Path(results))

    def test_disks(self):
        """One guest state, moved with its disk by both and without by one: what is copied is on the wire besides."""
        with tempfile.TemporaryDirectory() as results:
            done = bench(results, "--contenders", "virsh-copy", "multifd-zstd", "watari-copy", guest="tiny-disk")
            self.assertEqual(done.returncode, 0, done.stderr)
            lines = (pathlib.Path(results) / "moves.jsonl").read_text().splitlines()
        moves = {move["contender"]: move for move in map(json.loads, lines)}
        for name, move in moves.items():
            with self.subTest(name):
                self.assertEqual(move["outcome"], "moved", move.get("error"))
                self.assertEqual(move["wrong_pages"], 0)
                self.assertGreater(move["memory_s"], 0)
                copied = move["bytes"] - move["memory_bytes"]
                if name == "multifd-zstd":
                    self.assertLess(copied, 1 << 20)
                else:
                    self.assertGreater(copied, 4 << 20)

    def check_moves(self, results):
        moves = [json.loads(line) for line in (results / "moves.jsonl").read_text().splitlines()]
        self.assertEqual([move["contender"] for move in moves], ["watari", "multifd-zstd-tls"])
        for move in moves:
            with self.subTest(move["contender"]):
                self.assertEqual(move["outcome"], "moved", move.get("error"))
                self.assertTrue(move["session_survived"])
                self.assertEqual(move["wrong_pages"], 0)
                for figure in ("bytes", "total_s", "job_ms", "downtime_ms", "gap_ms", "cpu_s", "passes"):
                    self.assertGreater(move[figure], 0, figure)
                # 32 MiB of pages of its own and a kernel; nothing is sent twice for long.
                self.assertLess(move["bytes"], 400 << 20)
        self.assertGreater(min(moves[0]["movers_peak_mib"]), 1)
        self.assertIn("**watari**", (results / "report.md").read_text())
        self.assertEqual(len(json.loads((results / "report.json").read_text())["cells"]), 2)
        for figure in ("bytes", "total_s", "gap_ms"):
            xml.etree.ElementTree.parse(results / f"{figure}.svg")


if __name__ == "__main__":
    sys.exit(unittest.main())
