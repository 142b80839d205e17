#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The movers carry disks: QEMU's own tools write to the source mover, QEMU's storage daemon has the images at the
destination. No VM, no libvirt: tests/lab/test_disks.py has both."""
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/lab")]
sys.dont_write_bytecode = True
from mover_pair import MoverFailed, MoverPair  # noqa: E402

WATARI = os.environ.get("WATARI_TEST_BINARY", str(ROOT / "build-asan/src/cli/watari"))
MIB = 1 << 20
SIZE = 48 * MIB


def run(*argv, **more):
    return subprocess.run([str(word) for word in argv], check=True, capture_output=True, text=True, **more).stdout


def allocated(path):
    return os.stat(path).st_blocks * 512


class Storage:
    """qemu-storage-daemon: the images of the destination behind one NBD socket."""

    def __init__(self, socket, images):
        argv = ["qemu-storage-daemon", "--nbd-server", f"addr.type=unix,addr.path={socket}"]
        for name, (path, form) in images.items():
            argv += ["--blockdev", f"driver=file,node-name={name}f,filename={path},discard=unmap",
                     "--blockdev", f"driver={form},node-name={name},file={name}f,discard=unmap",
                     "--export", f"type=nbd,id={name},node-name={name},name={name},writable=on"]
        self.process = subprocess.Popen(argv)
        deadline = time.monotonic() + 10
        while not os.path.exists(socket) and time.monotonic() < deadline:
            time.sleep(0.01)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait()


class Scenario(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="watari-disks-")
        self.addCleanup(shutil.rmtree, self.directory)
        os.environ["WATARI_RUN_DIR"] = f"{self.directory}/run"
        os.environ["WATARI_STATE_DIR"] = f"{self.directory}/state"

    def image(self, name, form="raw", size=SIZE):
        path = f"{self.directory}/{name}"
        run("qemu-img", "create", "-q", "-f", form, path, size)
        return path

    def filled(self, name, seed=1, size=SIZE):
        """A raw image with text, noise, repetitions, zeros that are written, and holes."""
        path = self.image(name, size=size)
        source = random.Random(seed)
        block = source.randbytes(4096)
        with open(path, "r+b") as image:
            image.write(source.randbytes(3 * MIB))
            image.seek(8 * MIB)
            image.write(b"the quick brown fox jumps over the lazy dog\n" * 60000)
            image.seek(16 * MIB)
            image.write(block * 512)
            image.seek(24 * MIB)
            image.write(bytes(2 * MIB))
            image.seek(32 * MIB + 512)
            image.write(source.randbytes(MIB + 777))
        return path

    def start(self, images, fresh=True, **settings):
        """IMAGES: export -> (path, format) at the destination."""
        disks = [{"target": name, "export": name, "path": path, "format": form, "fresh": fresh}
                 for name, (path, form) in images.items()]
        self.pair = MoverPair(WATARI, self.directory, disks=disks, **settings)
        self.addCleanup(self.pair.close)
        self.storage = Storage(self.pair.destination.disk_socket, images)
        self.addCleanup(self.storage.stop)

    def uri(self, name):
        return f"nbd+unix:///{name}?socket={self.pair.source.disk_socket}"

    def io(self, name, *commands, check=True):
        argv = ["qemu-io", "-f", "raw", self.uri(name)]
        for command in commands:
            argv += ["-c", command]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
        if check:
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done

    def copy(self, path, name):
        """As QEMU's mirror would: flushed at the end, holes as zeros."""
        run("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", path, self.uri(name), timeout=120)

    def stats(self, name):
        self.pair.source.stats = {}
        deadline = time.monotonic() + 5
        while "disks" not in self.pair.source.stats and time.monotonic() < deadline:
            time.sleep(0.05)
        return {disk["target"]: disk for disk in self.pair.source.stats["disks"]}[name]

    def compare(self, path, other, form="raw"):
        self.storage.stop()
        run("qemu-img", "compare", "-f", "raw", "-F", form, path, other)


class Copies(Scenario):
    def test_raw(self):
        there = self.image("there")
        here = self.filled("here")
        self.start({"vda": (there, "raw")})
        self.copy(here, "vda")
        stats = self.stats("vda")
        self.assertGreater(stats["flushes"], 0)
        self.assertGreater(stats["reference"], MIB, "repeated blocks are referred to")
        self.assertLess(stats["literal"], 8 * MIB)
        self.assertLess(self.pair.source.stats["wire_sent"], 6 * MIB)
        agreed = [event for event in self.pair.source.events if event["what"] == "disk-agreed"]
        self.assertTrue(agreed, "no digest was compared")
        self.compare(here, there)
        self.assertLessEqual(allocated(there), allocated(here) + MIB, "sparse stays sparse")

    def test_two_disks_of_two_kinds(self):
        images = {"vda": (self.image("a"), "raw"), "vdb": (self.image("b", "qcow2"), "qcow2")}
        first, second = self.filled("here-a"), self.filled("here-b", seed=2)
        self.start(images)
        both = [subprocess.Popen(["qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", path, self.uri(name)])
                for path, name in ((first, "vda"), (second, "vdb"))]
        self.assertEqual([process.wait(120) for process in both], [0, 0])
        self.compare(first, images["vda"][0])
        self.compare(second, images["vdb"][0], "qcow2")

    def test_nothing_travels_twice(self):
        there, here = self.image("there", "qcow2"), self.filled("here")
        self.start({"vda": (there, "qcow2")})
        self.copy(here, "vda")
        before = self.stats("vda")
        self.copy(here, "vda")
        after = self.stats("vda")
        self.assertLess(after["literal"] - before["literal"], 64 * 1024)
        self.assertGreater(after["same"] - before["same"], 6 * MIB)
        self.compare(here, there, "qcow2")

    def test_used_image(self):
        """What lay on the destination's image before is gone, also where zeros are written."""
        there, here = self.filled("there", seed=7), self.filled("here")
        self.start({"vda": (there, "raw")}, fresh=False)
        self.copy(here, "vda")
        self.compare(here, there)

    def test_no_encoders(self):
        there, here = self.image("there"), self.filled("here")
        self.start({"vda": (there, "raw")}, compress="off")
        self.copy(here, "vda")
        stats = self.stats("vda")
        self.assertEqual(stats["reference"], 0)
        self.assertGreater(self.pair.source.stats["wire_sent"], stats["literal"])
        self.compare(here, there)

    def test_odd_sizes(self):
        size = 5 * MIB + 512
        there, here = self.image("there", size=size), self.image("here", size=size)
        with open(here, "r+b") as image:
            image.seek(size - 5000)
            image.write(random.Random(3).randbytes(5000))
        self.start({"vda": (there, "raw")})
        self.copy(here, "vda")
        self.io("vda", "write -P 7 1 3", "write -P 8 4095 4098", "read -P 8 4095 4098", "read -P 7 1 3",
                "write -z 10 9000", "read -P 0 10 9000", f"write -P 9 {size - 3} 3", "flush")
        self.storage.stop()
        with open(there, "rb") as image:
            data = image.read()
        self.assertEqual(data[:10], b"\0\7\7\7" + bytes(6))
        self.assertEqual(data[-3:], b"\x09" * 3)
        self.assertEqual(len(data), size)

    def test_order_of_overlapping_writes(self):
        """Each write is answered early; the last one must win, byte for byte, whatever the pieces."""
        there, here = self.image("there", size=4 * MIB), self.image("here", size=4 * MIB)
        self.start({"vda": (there, "raw")})
        source, commands = random.Random(5), []
        for _ in range(400):
            offset, length = source.randrange(0, 200000), source.randrange(1, 60000)
            what = source.choice((f"write -P {source.randrange(1, 255)}", "write -z", "discard" if 0 else "write -z -u"))
            commands.append(f"{what} {offset} {length}")
        argv = [word for command in commands for word in ("-c", command)]
        run("qemu-io", "-f", "raw", here, *argv)
        self.io("vda", *commands, "flush")
        self.compare(here, there)

    def test_rate(self):
        """The copy can be held back, and let go in the middle."""
        there, here = self.image("there"), self.filled("here")
        self.start({"vda": (there, "raw")}, disk_rate=4 * MIB)
        began = time.monotonic()
        self.io("vda", *[f"write -P 1 {i}M 1M" for i in range(8)], "flush")
        slow = time.monotonic() - began
        self.assertGreater(slow, 1.5)
        self.pair.source.send("limits", disk_rate=0)
        began = time.monotonic()
        self.copy(here, "vda")
        self.assertLess(time.monotonic() - began, slow * 4, "24 MiB are under way at that rate for 6 s")
        self.compare(here, there)

    def test_big_and_empty(self):
        """8 TiB of nothing: a first pass of zeros, as QEMU's mirror makes it, costs a few KiB."""
        there = self.image("there", size=8 << 40)
        self.start({"vda": (there, "raw")})
        began = time.monotonic()
        self.io("vda", *[f"write -z -u {tib << 40} 1G" for tib in range(8)], "flush")
        self.stats("vda")
        self.assertLess(self.pair.source.stats["wire_sent"], 64 * 1024)
        self.assertLess(allocated(there), MIB)
        self.assertLess(self.pair.source.stats["rss_kib"], 600 * 1024)
        self.assertLess(time.monotonic() - began, 60)


class Offline(Scenario):
    """No VM: qemu-img is all that writes."""

    def test_finished_without_memory(self):
        there, here = self.image("there"), self.filled("here")
        self.start({"vda": (there, "raw")})
        self.copy(here, "vda")
        self.pair.source.send("finish")
        for outcome in self.pair.finish():
            self.assertEqual(outcome["outcome"], "handed-over", outcome)
        told = [event["what"] for event in self.pair.source.events]
        self.assertIn("agreed", told)
        self.assertLess(told.index("disk-agreed"), told.index("released"))
        self.compare(here, there)

    def test_finish_out_of_turn(self):
        self.start({"vda": (self.image("there"), "raw")})
        self.pair.destination.send("finish")
        with self.assertRaises(MoverFailed):
            self.pair.destination.wait("done")

    def test_held_images(self):
        """Nobody can write to them, everybody can read them, and who writes already is seen."""
        images = {form: self.image(f"held.{form}", form) for form in ("raw", "qcow2")}
        self.start({"vda": (self.image("there"), "raw")})
        source = self.pair.source

        def write(form):
            argv = ["qemu-io", "-f", form, "-c", "write 0 4k", images[form]]
            return subprocess.run(argv, capture_output=True, text=True)

        source.send("hold", paths=list(images.values()))
        self.assertNotIn("reason", source.wait("held"))
        for form, path in images.items():
            self.assertIn("lock", write(form).stderr)
            self.copy_from(path, form)
        source.send("hold", paths=[])
        source.wait("held")
        for form, path in images.items():
            self.assertEqual(write(form).stderr, "")
            writer = subprocess.Popen(["qemu-io", "-f", form, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self.addCleanup(writer.communicate)
            writer.stdin.write(b"length\n")
            writer.stdin.flush()
            writer.stdout.readline()
            source.send("hold", paths=[path])
            self.assertEqual(source.wait("held")["path"], path)
        source.send("hold", paths=[f"{self.directory}/nothing"])
        self.assertIn("reason", source.wait("held"))

    def copy_from(self, path, form):
        run("qemu-img", "convert", "-f", form, "-O", "raw", path, f"{self.directory}/copy")


class Verified(Scenario):
    """What was written is read back before a flush is answered."""

    def verified(self):
        return [event for event in self.pair.destination.events if event["what"] == "disk-verified"]

    def test_good_disks(self):
        images = {"vda": (self.image("a"), "raw"), "vdb": (self.image("b", "qcow2"), "qcow2")}
        here = self.filled("here")
        self.start(images, verify_disks="full")
        for name in images:
            self.copy(here, name)
        self.io("vda", "write -P 3 1M 4k", "write -P 4 2000001 3", "flush")
        deadline = time.monotonic() + 5
        while not (partly := [event for event in self.verified() if event["skipped"]]):
            self.assertLess(time.monotonic(), deadline, "a block that is written in part is skipped, and that is told")
            time.sleep(0.05)
        self.assertEqual(partly[0]["skipped"], 1)
        self.assertLessEqual(partly[0]["blocks"], 511, "what was read once is not read again")
        told = self.verified()
        self.assertEqual({event["target"] for event in told}, {"vda", "vdb"})
        for name in images:
            self.assertGreater(sum(event["blocks"] for event in told if event["target"] == name), 6 * MIB // 4096)

    def test_disk_that_forgets(self):
        there, here = self.image("there"), self.filled("here")
        self.start({"vda": (there, "raw")}, verify_disks="full")
        self.copy(here, "vda")
        with open(there, "r+b") as image:
            image.seek(2 * MIB + 4096 * 7)
            image.write(b"rot")
        done = self.io("vda", f"write -P 3 {2 * MIB} 4k", "flush", check=False)
        self.assertIn("rror", done.stdout + done.stderr)
        outcome = self.pair.source.wait("done")
        self.assertIn(f"reads back differently at byte {2 * MIB + 4096 * 7}", outcome["reason"])


class Seeds(Scenario):
    """Images that the destination has already."""

    def offered(self, *expected):
        """Waits until the destination has looked through its seeds and kept what it found."""
        deadline = time.monotonic() + 20
        while len(list(pathlib.Path(self.directory, "state/seeds").glob("*.index"))) < len(expected):
            self.assertLess(time.monotonic(), deadline, "nothing is kept of the seed")
            time.sleep(0.05)

    def copied(self, here, seeds, form="qcow2"):
        """Copies HERE to a fresh image; what its statistics say, and the movers' bytes on the wire."""
        there = self.image(f"there{random.random()}", form)
        self.start({"vda": (there, form)}, seeds=seeds)
        self.offered(*[seed for seed in seeds or [] if os.path.exists(seed["path"])])
        time.sleep(0.2)  # the last offers are on their way
        self.copy(here, "vda")
        stats = self.stats("vda")
        self.compare(here, there, form)
        self.pair.close()
        self.assertIsNone(self.pair.source.outcome)
        return {**stats, "wire": self.pair.source.stats["wire_sent"]}

    def test_template(self):
        here = self.filled("here")
        template = self.image("template", "qcow2")
        run("qemu-img", "convert", "-n", "-f", "raw", "-O", "qcow2", here, template)
        plain = self.copied(here, None)
        seeded = self.copied(here, [{"path": template, "format": "qcow2"}])
        self.assertLess(seeded["wire"], plain["wire"] / 10)
        self.assertGreater(plain["wire"], 3 * MIB)
        self.assertEqual(seeded["asked"], 0)

    def test_more_than_may_be_asked_for_at_once(self):
        """What was taken in makes room: a disk may be longer than what the source keeps for questions."""
        here = self.image("here")
        with open(here, "r+b") as image:
            image.write(random.Random(11).randbytes(44 * MIB))
        shutil.copyfile(here, f"{self.directory}/template")
        seeded = self.copied(here, [{"path": f"{self.directory}/template", "format": "raw"}])
        self.assertGreater(seeded["reference"], 40 * MIB)
        self.assertLess(seeded["wire"], 4 * MIB)

    def test_kept_index_that_is_old(self):
        """The seed has changed and does not look like it: every page is asked for, and the copy is right."""
        here, seed = self.filled("here"), self.filled("seed")
        images = [{"path": seed, "format": "raw"}]
        self.copied(here, images)
        before = os.stat(seed)
        with open(seed, "r+b") as image:
            image.write(random.Random(99).randbytes(2 * MIB))
        os.utime(seed, ns=(before.st_atime_ns, before.st_mtime_ns))
        again = self.copied(here, images)
        self.assertEqual(again["asked"], 2 * MIB // 4096)

    def test_changed_seed_is_looked_through_again(self):
        here, seed = self.filled("here"), self.filled("seed", seed=8)
        images = [{"path": seed, "format": "raw"}]
        first = self.copied(here, images)
        shutil.copyfile(here, seed)
        index = next(pathlib.Path(self.directory, "state/seeds").glob("*.index"))
        kept = index.read_bytes()
        self.copied(here, images)
        self.assertNotEqual(index.read_bytes(), kept)
        self.assertLess(self.copied(here, images)["wire"], first["wire"] / 5)

    def test_damaged_index_and_missing_seed(self):
        here, seed = self.filled("here"), self.filled("seed")
        images = [{"path": seed, "format": "raw"}]
        self.copied(here, images)
        index = next(pathlib.Path(self.directory, "state/seeds").glob("*.index"))
        whole = index.read_bytes()
        self.assertEqual(index.stat().st_mode & 0o777, 0o600)
        for damage in (whole[:40], whole[:-5], b"x" * 80, whole[:48] + b"\xff" * 8 + whole[56:], b""):
            index.write_bytes(damage)
            self.copied(here, images)
        self.copied(here, images + [{"path": f"{self.directory}/nowhere", "format": "raw"}])


class BadLuck(Scenario):
    def broken(self, code):
        """Both movers gave up, and say why."""
        for mover in self.pair.movers:
            if not mover.outcome:
                mover.outcome = mover.wait("done")
            self.assertEqual(mover.outcome["outcome"], "aborted")
        self.assertEqual(self.pair.destination.outcome["code"], code)
        return self.pair.source.outcome["reason"]

    def test_disk_full(self):
        """The write is answered early; the failure comes later, and must not be lost."""
        small = f"{self.directory}/small"
        os.mkdir(small)
        run("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", small)
        self.addCleanup(run, "umount", small)
        run("qemu-img", "create", "-q", "-f", "raw", f"{small}/there", SIZE)
        self.start({"vda": (f"{small}/there", "raw")})
        self.addCleanup(self.storage.stop)
        done = self.io("vda", *[f"write -P {i + 1} {i}M 1M" for i in range(12)], "flush", check=False)
        self.assertIn("rror", done.stdout + done.stderr)
        self.assertIn("No space left", self.broken("disk"))

    def test_storage_vanishes(self):
        there, here = self.image("there"), self.filled("here")
        self.start({"vda": (there, "raw")})
        self.io("vda", "write -P 1 0 1M", "flush")
        self.storage.process.kill()
        self.io("vda", "write -P 2 0 1M", "flush", check=False)
        self.assertIn("vda", self.broken("disk"))

    def test_destination_mover_killed(self):
        there = self.image("there")
        self.start({"vda": (there, "raw")}, link_timeout_ms=2000)
        self.io("vda", "write -P 1 0 1M", "flush")
        self.pair.destination.process.kill()
        done = self.io("vda", "write -P 2 0 1M", "flush", check=False)
        self.assertIn("rror", done.stdout + done.stderr)

    def test_foreign_export(self):
        self.start({"vda": (self.image("there"), "raw")})
        self.assertNotEqual(self.io("vdz", "read 0 512", check=False).returncode, 0)
        self.io("vda", "write -P 1 0 4096", "flush")

    def test_bad_settings(self):
        for disks in ([{"target": "vda"}], [{"export": "a", "target": "a", "path": "x"}],
                      [{"export": "a", "target": "a"}] * 2, ["a"], [{}] * 65):
            with self.subTest(disks=str(disks)[:60]), self.assertRaisesRegex(MoverFailed, "disks"):
                MoverPair(WATARI, self.directory, disks=disks).close()


if __name__ == "__main__":
    unittest.main()
