#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`watari migrate` between two real libvirt hosts: the moves that succeed, and those the gate refuses.

hosta runs QEMU as root, hostb as Debian ships it (own user, dynamic ownership, seccomp), so every
there-and-back passes both. The guest checks its own memory; a client outside talks to it meanwhile.
"""
import contextlib
import json
import os
import pathlib
import re
import shutil
import sqlite3
import sys
import tempfile
import threading
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "lab"))
sys.dont_write_bytecode = True
from watari_lab import HostSpec, Lab, client, furnished, guest  # noqa: E402

TIME_LIMIT_S = 600
EVERY_RUN = ('ThereAndBack.test_compressible', 'Others', 'Gate')
WATARI = os.environ.get("WATARI", str(TOP / "build-asan/src/cli/watari"))
ASAN = {name: os.environ[name] for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS") if name in os.environ}
MIGRATED, FAILED = 0, 4
# Generous: sanitizers and emulated guests on two cores that may have other work.
DOWNTIME = ("--max-downtime", "20s")


def setUpModule():
    global lab
    hosts = [HostSpec("hosta"), HostSpec("hostb", unprivileged=True)]
    lab = Lab(f"move{os.getpid() % 100000}", hosts, watari=WATARI, watari_env=ASAN)
    unittest.addModuleCleanup(lab.down)
    lab.up()


def leftovers(host):
    """What a move might leave: movers, their directories, incoming QEMUs."""
    found = [line for _, line in host.processes("watari mover")]
    found += [line for _, line in host.processes("-incoming defer") if not host.virsh("list", "--name").stdout.strip()]
    found += [path for path in ("/run/watari", "/run/libvirt/watari") if host.exists(path)]
    return found


class Move(unittest.TestCase):
    """One guest serves all tests: each moves it from where it is to the other host. Booting costs more than moving."""

    name = "g1"

    @classmethod
    def setUpClass(cls):
        if not guest.where(lab, cls.name):
            guest.start(lab, "hosta", cls.name, memory_mib=128)

    def setUp(self):
        """From where to where, and no load left from the test before."""
        (self.here,) = guest.where(lab, self.name)
        self.there = self.other(self.here)
        guest.load(lab, self.name, "none")

    @staticmethod
    def other(host):
        return "hostb" if host == "hosta" else "hosta"

    def migrate(self, source, destination, *options, name=None, environment=None, node=None, timeout=180):
        argv = ["watari", "migrate", name or self.name, destination, "--json", *DOWNTIME, *options]
        if node:
            argv[2] = f"{source}:{argv[2]}"
        done = lab.node(node or source).run(argv, check=False, timeout=timeout, env=environment)
        self.assertTrue(done.stdout, f"no report; it said: {done.stderr}")
        report = json.loads(done.stdout)
        report["said"] = done.stderr
        self.assertEqual(report["exit_code"], done.returncode)
        return report

    def move(self, *options, **more):
        """From here to there, which must work; the report."""
        report = self.migrate(self.here, self.there, *options, **more)
        self.assert_migrated(report, self.there)
        return report

    def assert_migrated(self, report, destination):
        self.assertEqual(report["outcome"], "migrated", report["said"])
        self.assertEqual(report["exit_code"], MIGRATED)
        self.assertTrue(report["proof"]["stream"])
        self.assertIsNone(report["bytes"]["opaque"])
        self.assertEqual(guest.where(lab, report["vm"]["name"]), {destination: "running"})
        self.assert_clean()

    def assert_stayed(self, report, source, code):
        self.assertEqual(report["exit_code"], code, report["said"])
        self.assertEqual(guest.where(lab, report["vm"]["name"]), {source: "running"})
        guest.check(lab, report["vm"]["name"])
        self.assert_clean()

    def assert_clean(self):
        for host in lab.hosts:
            self.assertEqual(leftovers(host), [], host.name)


class ThereAndBack(Move):
    """Each dirtying pattern that can converge, both ways, with the client watching."""

    def there_and_back(self, pattern, **load):
        guest.load(lab, self.name, pattern, **load)
        before = guest.state(lab, self.name)
        with client.Prober(lab, self.name) as prober:
            for source, destination in ((self.here, self.there), (self.there, self.here)):
                report = self.migrate_proven(source, destination)
                self.assert_migrated(report, destination)
                self.assertEqual(report["proof"]["memory"], "full")
                self.assertGreaterEqual(report["proof"]["memory_bytes"], 128 << 20)
                self.assertEqual(report["proof"]["memory_skipped"], [])
        after = guest.state(lab, self.name)
        self.assert_dirtied(pattern, before, after)
        guest.check(lab, self.name)
        self.assertTrue(prober.report["session"]["survived"], prober.report["session"])
        self.assertEqual(prober.report["http"]["failed"], 0)
        print(f"# {pattern}: longest gap {prober.report['longest_gap']['ms']:.0f} ms, own "
              f"{prober.report['own']['worst_gap_ms']:.0f} ms, lost {prober.report['udp']['lost']}")

    def migrate_proven(self, source, destination, **more):
        """QEMU 7.2 under TCG now and then loses a page that was written while it looked for dirty ones (docs/design.md).
        The proof of memory finds that and refuses, and the VM runs on: then it is moved again."""
        for _ in range(3):
            report = self.migrate(source, destination, "--verify-memory", "full", **more)
            if report["outcome"] == "migrated" or "the memory differs" not in report["said"]:
                break
            self.assert_stayed(report, source, FAILED)
            print(f"# QEMU lost a page: {report['said'].splitlines()[-1]}")
        return report

    def assert_dirtied(self, pattern, before, after):
        """The premise: the guest did change its memory while it moved."""
        changed = after["memory"]["dirtied_pages"] - before["memory"]["dirtied_pages"]
        if pattern == "none":
            self.assertEqual(changed, 0)
        else:
            self.assertGreater(changed, 100)

    def test_none(self):
        self.there_and_back("none")

    def test_few_bytes(self):
        self.there_and_back("few", rate=200, set_mib=16)

    def test_compressible(self):
        self.there_and_back("text", rate=200, set_mib=16)

    def test_random(self):
        self.there_and_back("random", rate=200, set_mib=16)


class FurnishedThereAndBack(Move):
    """The guest with firmware, TPM, display, channels, two disks and a seed, which are shared here (test_furnished copies them)."""

    name = "furnished"
    there_and_back, migrate_proven, assert_dirtied = ThereAndBack.there_and_back, ThereAndBack.migrate_proven, ThereAndBack.assert_dirtied

    @classmethod
    def setUpClass(cls):
        furnished.start(lab, "hosta", cls.name, True)
        cls.addClassCleanup(guest.stop, lab, None, cls.name)

    def test_compressible(self):
        before = furnished.inventory(lab.host(self.here), self.name)
        self.there_and_back("text", rate=100, set_mib=16)
        after = furnished.inventory(lab.host(self.here), self.name)
        for what in ("persistent definition", "autostart", "checkpoints", "nvram", "tpm", "bitmaps"):
            self.assertEqual(after[what], before[what], what)

    def owner(self, node):
        """Of its disk: owner, group, mode."""
        found = os.stat(node.path(furnished.images(self.name, True)["disk.qcow2"]))
        return found.st_uid, found.st_gid, found.st_mode

    def test_refused_where_the_disk_changes_hands(self):
        """QEMU runs as root at hosta, as libvirt-qemu at hostb, and libvirt there takes the disk. The one at the source opens it
        again after a failure."""
        for source, destination in (("hosta", "hostb"), ("hostb", "hosta")):
            guest.load(lab, self.name, "text", rate=100, set_mib=8)
            before = self.owner(lab.host(source))
            report = self.migrate(source, destination, "--verify-memory", "full", environment={"WATARI_TEST_FAULTS": "late-page"})
            self.assert_stayed(report, source, FAILED)
            self.assertIn("memory differs", report["error"]["what"])
            self.assertEqual(self.owner(lab.host(source)), before)
            self.assert_migrated(self.migrate_proven(source, destination), destination)


class Switchover(Move):
    def told(self, move):
        """What the source's mover told of a move, by the journal of this host."""
        state = lab.host(self.here).path("/var/lib/watari")
        copy = self.enterContext(tempfile.TemporaryDirectory())  # SQLite does not open a path with a link in it
        for path in pathlib.Path(state).glob("journal.sqlite*"):
            shutil.copy(path, copy)
        with contextlib.closing(sqlite3.connect(f"{copy}/journal.sqlite")) as journal:
            return [kind for (kind,) in journal.execute(
                "SELECT kind FROM events WHERE move = ? AND text = 'source' ORDER BY id", (move,))]

    def test_the_stop_begins_with_empty_hands(self):
        """Before the end of the first pass QEMU is held until all has arrived, once."""
        told = self.told(self.move("--bandwidth", "8M")["id"])
        self.assertEqual(told.count("mover-pass-end"), 1, told)
        self.assertLess(told.index("mover-pass-end"), told.index("mover-stopped"), told)


class Links(Move):
    """How the two movers reach each other."""

    def test_all_connections_carry(self):
        report = self.move("--connections", "4")
        carried = report["link"]["connection_bytes"]
        self.assertEqual(len(carried), 4)
        self.assertGreater(min(carried), report["bytes"]["wire_sent"] / 40, carried)

    def test_destination_connects_to_a_port_of_the_range(self):
        report = self.move("--connect-from", "destination", "--ports", "50100-50101",
                           "--link-address", lab.host(self.here).address("migration"))
        self.assertEqual(report["link"]["kind"], "tcp")

    def test_through_ssh_where_only_port_22_is_open(self):
        for host in lab.hosts:
            host.firewall_only_ssh()
            self.addCleanup(host.firewall_off)
        self.assertEqual(self.move()["link"]["kind"], "ssh")

    def test_bandwidth_cap_on_the_wire(self):
        cap = 8 << 20
        source = lab.host(self.here)
        device = migration_device(source)
        before = transmitted(source, device)
        report = self.move("--bandwidth", str(cap), "--link-address", lab.host(self.there).address("migration"))
        sent = transmitted(source, device) - before
        self.assertGreater(sent, 20 << 20, "nothing went over the migration network")
        self.assertLess(sent / (report["times"]["migration_ms"] / 1000), 1.1 * cap)

    def test_a_wire_that_loses(self):
        """One in a hundred, and once more on a long way of 40 Mbit/s."""
        self.addCleanup(lab.link, rate=None, delay_ms=0, loss=0)
        address = lab.host(self.there).address("migration")
        lab.link(loss=0.01)
        self.move("--link-address", address)
        lab.link(rate="40mbit", delay_ms=40, loss=0)
        self.setUp()
        self.move("--link-address", lab.host(self.there).address("migration"))

    def test_from_an_administrators_machine(self):
        self.move(node="admin")
        report = self.migrate(self.there, f"qemu+ssh://root@{self.here}/system", node="admin")
        self.assert_migrated(report, self.here)

    def test_another_remote_shell(self):
        script = '#!/bin/sh\necho "$@" >>/tmp/myshell.log\nexec ssh "$@"\n'
        lab.host(self.here).write_text("/usr/local/bin/myshell", script, 0o755)
        self.move("--rsh", "myshell")
        self.assertIn("watari", lab.host(self.here).read_text("/tmp/myshell.log"))


def migration_device(host):
    address = host.address("migration")
    told = host.run(["ip", "-o", "-4", "address", "show"]).stdout
    return re.search(rf"^\d+: (\S+)\s+inet {re.escape(address)}/", told, re.M)[1]


def transmitted(host, device):
    return int(host.run(["cat", f"/sys/class/net/{device}/statistics/tx_bytes"]).stdout)


class Others(unittest.TestCase):
    """Guests of their own: two that cross, and persistent ones."""

    migrate, assert_migrated, assert_clean = Move.migrate, Move.assert_migrated, Move.assert_clean

    def start(self, name, host="hosta", **options):
        guest.start(lab, host, name, memory_mib=96, **options)
        self.addCleanup(guest.stop, lab, None, name)

    def defined(self, name):
        return [host.name for host in lab.hosts
                if name in host.virsh("list", "--all", "--persistent", "--name").stdout.split()]

    def test_two_moves_in_opposite_directions(self):
        self.start("left", "hosta", pattern="text", rate=100, set_mib=16)
        self.start("right", "hostb", pattern="text", rate=100, set_mib=16)
        reports = {}

        def go(name, source, destination):
            reports[name] = self.migrate(source, destination, name=name)

        threads = [threading.Thread(target=go, args=row)
                   for row in (("left", "hosta", "hostb"), ("right", "hostb", "hosta"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assert_migrated(reports["left"], "hostb")
        self.assert_migrated(reports["right"], "hosta")
        for name in reports:
            guest.check(lab, name)

    def test_a_persistent_vm_moves_whole_and_a_copy_of_the_definition_may_stay(self):
        self.start("kept", persistent=True)
        self.assert_migrated(self.migrate("hosta", "hostb", name="kept"), "hostb")
        self.assertEqual(self.defined("kept"), ["hostb"])
        report = self.migrate("hostb", "hosta", "--persistent", name="kept")
        self.assertEqual(report["outcome"], "migrated", report["said"])
        self.assertEqual(self.defined("kept"), ["hosta", "hostb"])


class Plugged(unittest.TestCase):
    """Memory and processors that a VM was given while it ran."""

    name = "plugged"
    migrate, migrate_proven, assert_migrated, assert_clean = Move.migrate, ThereAndBack.migrate_proven, Move.assert_migrated, Move.assert_clean
    assert_stayed = Move.assert_stayed

    def start(self):
        text = guest.small_xml(lab, "hosta", self.name, memory_mib=128, vcpus=3, pattern="text", rate=100, set_mib=16,
                               words="memhp_default_state=online")
        for old, new in (("<vcpu>3<", "<vcpu current='1'>3<"),
                         ("<memory unit", "<maxMemory slots='4' unit='MiB'>1024</maxMemory><memory unit"),
                         ("</cpu>", "<numa><cell id='0' cpus='0-2' memory='128' unit='MiB'/></numa></cpu>")):
            self.assertEqual(text.count(old), 1, old)
            text = text.replace(old, new)
        node = lab.host("hosta")
        node.write_text("/root/plugged.xml", text)
        node.virsh("create", "/root/plugged.xml")
        self.addCleanup(guest.stop, lab, None, self.name)
        guest.wait_ready(lab, self.name)

    def plug(self, node, mib, processors):
        node.write_text("/root/dimm.xml", f"<memory model='dimm'><target><size unit='MiB'>{mib}</size><node>0</node></target></memory>")
        node.virsh("attach-device", self.name, "/root/dimm.xml", "--live")
        node.virsh("setvcpus", self.name, str(processors), "--live")

    def has(self, node):
        """DIMMs and processors, by QEMU's own word."""
        dimms = node.virsh("qemu-monitor-command", self.name, "--hmp", "info memory-devices").stdout.count("Memory device [dimm]")
        processors = node.virsh("qemu-monitor-command", self.name, "--hmp", "info cpus").stdout.count("CPU #")
        return dimms, processors

    def test_plugged_in_while_it_runs(self):
        """It comes along, byte for byte, and more can be plugged in where the VM is then."""
        self.start()
        here, there = lab.host("hosta"), lab.host("hostb")
        self.plug(here, 128, 2)
        self.assertEqual(self.has(here), (1, 2))
        report = self.migrate_proven("hosta", "hostb", name=self.name)
        self.assert_migrated(report, "hostb")
        self.assertGreaterEqual(report["proof"]["memory_bytes"], 256 << 20)
        self.assertEqual((report["proof"]["memory_skipped"], self.has(there)), ([], (1, 2)))
        # of another size: of two that are equally large the proof cannot know which is which, leaves them out and says so
        self.plug(there, 256, 3)
        self.assertEqual(self.has(there), (2, 3))
        guest.check(lab, self.name)
        report = self.migrate_proven("hostb", "hosta", name=self.name)
        self.assert_migrated(report, "hosta")
        self.assertGreaterEqual(report["proof"]["memory_bytes"], 512 << 20)
        self.assertEqual((report["proof"]["memory_skipped"], self.has(here)), ([], (2, 3)))
        guest.check(lab, self.name)


class Gate(Move):
    """What must not pass the gate, and what must pass it all the same."""

    def refuse(self, fault, *options):
        guest.load(lab, self.name, "text", rate=100, set_mib=8)
        report = self.migrate(self.here, self.there, *options, environment={"WATARI_TEST_FAULTS": fault})
        self.assert_stayed(report, self.here, FAILED)
        return report["error"]["what"]

    def test_a_flipped_page_is_refused(self):
        self.assertIn("differs from what the source sent", self.refuse("page"))

    def test_flipped_device_state_is_refused(self):
        self.assertIn("differs from what the source sent", self.refuse("device"))

    def test_a_page_spoilt_after_its_tag_is_found_by_the_memory_proof(self):
        self.assertIn("memory differs", self.refuse("late-page", "--verify-memory", "full"))

    def test_too_long_a_stop_is_broken_off(self):
        self.assertIn("broken off", self.refuse("gate", "--max-downtime", "1s"))

    def test_a_stream_with_something_unknown_still_migrates(self):
        report = self.migrate(self.here, self.there, environment={"WATARI_TEST_FAULTS": "unknown"})
        self.assertEqual(report["outcome"], "migrated", report["said"])
        self.assertIsNotNone(report["bytes"]["opaque"])
        self.assertEqual(guest.where(lab, self.name), {self.there: "running"})
        guest.check(lab, self.name)


if __name__ == "__main__":
    unittest.main()
