# SPDX-License-Identifier: Apache-2.0
"""The lab itself: it stands, its wires do what they are told, and nothing of it is ever left."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from labkit import TOP, LabTrace, children, machine, namespaces_of, plain_move  # noqa: E402
from watari_lab import CommandError, HostSpec, Lab, LabError  # noqa: E402
from watari_lab import disks, guest, guest_image, list_labs, mirror, wire  # noqa: E402
from watari_lab.measure import measure  # noqa: E402

TIME_LIMIT_S = 420
PREFIX = f"t{os.getpid() % 100000}"

DOMAIN = """<domain type='qemu'><name>idle</name><memory unit='MiB'>32</memory>
<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os><devices>
<interface type='bridge'><source bridge='br-svc'/><model type='virtio'/></interface>
<memballoon model='none'/></devices></domain>"""

RAISER = """
import sys, time
sys.path.insert(0, {lab_dir!r})
from watari_lab import Lab, HostSpec
with Lab({name!r}, [HostSpec("hosta"), HostSpec("hostb", unprivileged=True)]) as lab:
    lab.link(delay_ms=3, rate="1gbit", loss=0.01)
    host = lab.host("hostb")
    host.write_text("/lab/images/idle.xml", {domain!r})
    host.virsh("create", "/lab/images/idle.xml")
    sleeper = lab.host("hosta").popen(["sleep", "1000"])
    print("up", lab.pid, sleeper.inner_pid(), flush=True)
    time.sleep(1000)
"""


def run_lab(*words: str, check: bool = True) -> str:
    """The lab's command line, as somebody would type it."""
    argv = ["/usr/bin/python3", str(TOP / "lab" / "lab"), *words]
    result = subprocess.run(argv, text=True, capture_output=True, check=False, timeout=120)
    if check and result.returncode != 0:
        raise AssertionError(f"lab {' '.join(words)}: {result.stdout}{result.stderr}")
    return result.stdout + result.stderr


def start_raiser(name: str) -> tuple[subprocess.Popen, int]:
    """Another process that raises a busy lab; it, and the lab's supervisor."""
    text = RAISER.format(lab_dir=str(TOP / "lab"), name=name, domain=DOMAIN)
    raiser = subprocess.Popen(
        ["/usr/bin/python3", "-c", textwrap.dedent(text)], stdout=subprocess.PIPE, text=True
    )
    words = raiser.stdout.readline().split()
    if words[:1] != ["up"]:
        raise AssertionError("the other process could not raise its lab")
    return raiser, int(words[1])


class NothingStays(unittest.TestCase):
    """However a lab ends, there is no trace of it, and other labs do not notice."""

    def setUp(self) -> None:
        self.before = machine()

    def assert_gone(self, name: str, trace: LabTrace) -> None:
        self.assertEqual(trace.wait_gone(), [])
        self.assertNotIn(name, list_labs())

    def assert_premise(self, trace: LabTrace, programs: tuple[str, ...]) -> None:
        lines = []
        for pid in trace.processes:
            lines.append(pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace"))
        for program in programs:
            self.assertTrue(any(program in line for line in lines), f"no {program} in {lines}")
        self.assertGreaterEqual(len(trace.namespaces), 5 * 5)  # the lab and its four nodes

    def test_raiser_killed_and_down(self) -> None:
        """Two labs at once: kill -9 the raiser of one, put the other down by hand."""
        first, second = PREFIX + "a", PREFIX + "b"
        raiser, supervisor = start_raiser(first)
        self.addCleanup(raiser.wait)
        self.addCleanup(raiser.kill)
        run_lab("--lab", second, "up")
        other = Lab.attach(second)
        self.addCleanup(other.down)
        other.link(delay_ms=2)
        traces = LabTrace(supervisor), LabTrace(other.pid)
        programs = ("libvirtd", "sshd", "packet-delay")
        self.assert_premise(traces[0], (*programs, "qemu-system", "sleep"))
        self.assert_premise(traces[1], programs)
        self.assertLessEqual({first, second}, set(list_labs()))
        raiser.kill()
        raiser.wait()
        raiser.stdout.close()
        self.assert_gone(first, traces[0])
        # The other one is as well as before.
        self.assertEqual(other.admin.run(["ssh", "hostb", "hostname"]).stdout, "hostb\n")
        self.assertNotEqual(traces[1].left(), [])
        run_lab("--lab", second, "down")
        self.assert_gone(second, traces[1])
        self.assertEqual(machine(), self.before)

    def test_supervisor_killed(self) -> None:
        name = PREFIX + "c"
        with Lab(name, [HostSpec("hosta")]) as lab:
            trace = LabTrace(lab.pid)
            self.assert_premise_small(trace)
            os.kill(lab.pid, signal.SIGKILL)
            self.assert_gone(name, trace)
        self.assertEqual(machine(), self.before)

    def assert_premise_small(self, trace: LabTrace) -> None:
        self.assertGreaterEqual(len(trace.namespaces), 5 * 4)

    def test_down_of_one_who_does_not_wait(self) -> None:
        """It was asked for: whether the answer finds a reader changes nothing, and nobody has to wait for it."""
        lab = Lab(PREFIX + "e", [HostSpec("hosta")]).up()
        self.addCleanup(lab.down)
        trace = LabTrace(lab.pid)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(wire.socket_name(lab.name))
            connection.shutdown(socket.SHUT_RD)
            wire.send_message(connection, {"op": "down"})
        self.assert_gone(lab.name, trace)

    def test_raised_in_a_thread(self) -> None:
        """A lab belongs to the process, not to the thread that raised it."""
        lab = Lab(PREFIX + "d", [HostSpec("hosta")])
        thread = threading.Thread(target=lab.up)
        thread.start()
        thread.join()
        time.sleep(0.5)
        trace = LabTrace(lab.pid)
        self.assertEqual(lab.host("hosta").run(["hostname"]).stdout, "hosta\n")
        lab.down()
        self.assert_gone(lab.name, trace)

    def test_killed_while_raising(self) -> None:
        """`lab up` killed half-way: the lab does not come up behind its back."""
        name = PREFIX + "g"
        argv = ["/usr/bin/python3", str(TOP / "lab" / "lab"), "--lab", name, "up"]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as raiser:
            deadline = time.monotonic() + 30
            supervisors: list[int] = []
            while not supervisors and time.monotonic() < deadline:
                supervisors = [pid for pid in children(raiser.pid) if namespaces_of(pid)]
            self.assertTrue(supervisors)
            time.sleep(0.3)
            trace = LabTrace(supervisors[0])
            raiser.kill()
        deadline = time.monotonic() + 60
        while name in list_labs() and time.monotonic() < deadline:
            time.sleep(0.1)
        self.assert_gone(name, trace)
        self.assertEqual(machine(), self.before)

    def test_failed_raising(self) -> None:
        """A lab that cannot stand says why, and is gone."""
        with self.assertRaisesRegex(LabError, "could not be raised"):
            Lab(PREFIX + "e", [HostSpec("hosta")], binds=["/nowhere/at/all"]).up()
        self.assertNotIn(PREFIX + "e", list_labs())
        self.assertEqual(machine(), self.before)

    def test_name_taken_and_names_refused(self) -> None:
        with Lab(PREFIX + "f", []):
            with self.assertRaisesRegex(LabError, "is up already"):
                Lab(PREFIX + "f", []).up()
        with self.assertRaisesRegex(LabError, "cannot be used"):
            Lab("No Such Name")
        with self.assertRaisesRegex(LabError, "build it first"):
            Lab(PREFIX + "f", [], watari="/no/such/watari").up()
        with self.assertRaisesRegex(LabError, "used twice"):
            Lab(PREFIX + "f", [HostSpec("hosta"), HostSpec("hosta")]).up()
        self.assertIn("does not answer", run_lab("--lab", "nosuchlab", "down", check=False))


class SharedLab(unittest.TestCase):
    """One lab for all the tests of a class."""

    lab: Lab

    @classmethod
    def setUpClass(cls) -> None:
        cls.lab = Lab(f"{PREFIX}{cls.__name__[0].lower()}x").up()
        cls.addClassCleanup(cls.lab.down)

    def tearDown(self) -> None:
        self.lab.restore()
        self.lab.link(rate=None, delay_ms=0, loss=0, mtu=1500, drop_above=0)

    def reaches(self, node: str, address: str, port: int = 22) -> bool:
        probe = ["timeout", "1", "bash", "-c", f"exec 3<>/dev/tcp/{address}/{port}"]
        return self.lab.node(node).run(probe, check=False).returncode == 0


class Wires(SharedLab):
    """The migration network is shaped, delayed, lossy and cut; the others are left alone."""

    def measure(self, seconds: float = 1.0):
        return measure(self.lab, "hosta", "hostb", seconds=seconds)

    def test_unshaped(self) -> None:
        result = self.measure()
        self.assertLess(result.rtt_ms, 5)
        self.assertGreater(result.rate_bits, 200e6)  # far more on an idle machine

    def test_rate(self) -> None:
        self.lab.link(rate="100mbit")
        result = self.measure()
        self.assertGreater(result.rate_bits, 60e6)
        self.assertLess(result.rate_bits, 105e6)
        self.lab.link(rate=None)
        self.assertGreater(self.measure().rate_bits, 200e6)

    def test_delay(self) -> None:
        self.lab.link(delay_ms=10)
        result = self.measure()
        self.assertGreater(result.rtt_ms, 20)
        self.assertLess(result.rtt_ms, 45)
        self.lab.link(delay_ms=30)  # while it runs
        self.assertGreater(self.measure().rtt_ms, 60)
        self.lab.link(delay_ms=0)
        self.assertLess(self.measure().rtt_ms, 5)

    def test_delay_is_of_packets(self) -> None:
        """TCP's own handshake is late, so this is no proxy: nothing answers in the middle."""
        self.lab.link(delay_ms=50)
        argv = ["bash", "-c", "time exec 3<>/dev/tcp/hostb-mig/22"]
        start = time.monotonic()
        self.lab.host("hosta").run(argv)
        self.assertGreater(time.monotonic() - start, 0.1)

    def test_loss(self) -> None:
        self.lab.link(loss=0.2)
        pings = self.count_answers(200)
        self.assertGreater(pings, 80)  # 128 expected: 0.8 squared
        self.assertLess(pings, 170)
        self.lab.link(loss=0.001)
        self.assertGreater(self.measure().rate_bits, 1e7)  # and TCP lives with some

    def count_answers(self, count: int) -> int:
        """Of `count` datagrams, how many come back."""
        text = f"""
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("10.30.0.12", 7)); s.settimeout(1)
for i in range({count}): s.send(b"x"); time.sleep(0.002)
n = 0
try:
    while s.recv(9): n += 1
except OSError: print(n)
"""
        echo = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("10.30.0.12", 7)); print("ready", flush=True)
while True: s.sendto(*s.recvfrom(9))
"""
        python = ["/usr/bin/python3", "-c"]
        server = self.lab.host("hostb").popen([*python, echo], stdout=subprocess.PIPE, text=True)
        try:
            server.stdout.readline()
            return int(self.lab.host("hosta").run([*python, text]).stdout)
        finally:
            server.kill()
            server.communicate()

    def test_cuts(self) -> None:
        addresses = {"migration": "hostb-mig", "management": "hostb", "service": "hostb-svc"}
        for cut in (*addresses, "all"):
            with self.subTest(cut=cut):
                self.lab.cut(cut)
                for network, address in addresses.items():
                    self.assertEqual(self.reaches("hosta", address), cut not in (network, "all"))
                self.lab.restore()
                for address in addresses.values():
                    self.assertTrue(self.reaches("hosta", address))

    def test_cut_while_delayed_and_of_one_host(self) -> None:
        self.lab.link(delay_ms=1)
        self.assertTrue(self.reaches("hosta", "hostb-mig"))
        self.lab.cut("migration", host="hostb")
        self.assertFalse(self.reaches("hosta", "hostb-mig"))
        self.assertTrue(self.reaches("hosta", "hostb"))
        self.lab.restore("migration", host="hostb")
        self.assertTrue(self.reaches("hosta", "hostb-mig"))

    def test_a_cut_breaks_nothing_that_waits(self) -> None:
        """A TCP connection outlives a short cut."""
        shell = self.lab.host("hosta").popen(
            ["ssh", "hostb-mig", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            for cut in (False, True, False):
                if cut:
                    self.lab.cut("migration")
                    threading.Timer(1.5, self.lab.restore).start()
                start = time.monotonic()
                shell.stdin.write("hello\n")
                shell.stdin.flush()
                self.assertEqual(shell.stdout.readline(), "hello\n")
                self.assertEqual(time.monotonic() - start > 1, cut)
        finally:
            shell.kill()
            shell.communicate()

    def sends(self, length: int) -> bool:
        """Whether an IP packet of this length reaches the other host and is answered by it."""
        text = f"""
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.5)
s.setsockopt(socket.IPPROTO_IP, 10, 3)  # IP_MTU_DISCOVER, IP_PMTUDISC_PROBE: never fragments
s.connect(("10.30.0.12", 9)); s.send(bytes({length - 28}))
try: s.recv(9)
except ConnectionRefusedError: sys.exit(0)
except OSError: sys.exit(1)
"""
        return self.lab.host("hosta").run(["/usr/bin/python3", "-c", text], check=False).returncode == 0

    def test_lengths(self) -> None:
        """An MTU that hosts believe in and the wire does not carry: small packets pass, large ones vanish."""
        self.assertEqual([self.sends(length) for length in (1500, 1501)], [True, False])
        self.lab.link(mtu=9000)
        self.assertTrue(self.sends(9000))
        self.lab.link(drop_above=1500)
        self.assertEqual([self.sends(length) for length in (1500, 1501)], [True, False])
        self.assertTrue(self.reaches("hosta", "hostb-mig"))
        pipe = "timeout 2 ssh -o ConnectTimeout=1 hostb-mig true"
        self.assertNotEqual(self.lab.host("hosta").run(["sh", "-c", pipe], check=False).returncode, 0)
        self.lab.link(mtu=1500)  # while the wire is as it was
        self.assertEqual(self.lab.host("hosta").run(["sh", "-c", pipe]).returncode, 0)

    def test_nonsense(self) -> None:
        for changes in ({"rate": "fast"}, {"loss": 2}, {"delay_ms": -1}, {"mtu": 70}, {"mtu": 10000}):
            with self.subTest(changes=changes), self.assertRaises(LabError):
                self.lab.link(**changes)
        with self.assertRaises(LabError):
            self.lab.cut("telephone")
        self.assertEqual(self.lab.describe()["link"]["cuts"], [])


class Hosts(SharedLab):
    """Commands, files, daemons and the Watari under test."""

    def test_ssh_everywhere(self) -> None:
        for source, destination in (("hosta", "hostb"), ("hostb", "hosta"), ("admin", "hosta")):
            for suffix in ("", "-svc"):
                with self.subTest(source=source, destination=destination + suffix):
                    ssh = ["ssh", "-o", "BatchMode=yes", destination + suffix, "hostname"]
                    self.assertEqual(self.lab.node(source).run(ssh).stdout, destination + "\n")
        self.assertFalse(self.reaches("client", "10.20.0.11"))

    def test_hosts_are_apart(self) -> None:
        hosta, hostb = self.lab.host("hosta"), self.lab.host("hostb")
        hosta.write_text("/lab/shared/word", "for all")
        hosta.write_text("/lab/images/word", "for me")
        self.assertEqual(hostb.read_text("/lab/shared/word"), "for all")
        self.assertFalse(hostb.exists("/lab/images/word"))
        self.assertFalse(os.path.exists("/lab/shared/word"))
        uuids = set()
        for host in (hosta, hostb):
            uuids.add(host.virsh("capabilities").stdout.split("<uuid>")[1].split("<")[0])
            self.assertNotIn("libvirtd", "".join(line for _, line in self.lab.admin.processes()))
        self.assertEqual(len(uuids), 2)

    def test_qemu_user(self) -> None:
        for name, user in (("hosta", "root"), ("hostb", "libvirt-qemu")):
            with self.subTest(host=name):
                host = self.lab.host(name)
                host.write_text("/lab/images/idle.xml", DOMAIN)
                host.virsh("create", "/lab/images/idle.xml")
                try:
                    pid = host.processes("qemu-system")[0][0]
                    status = pathlib.Path(f"/proc/{pid}/status").read_text()
                    expected = host.run(["id", "-u", user]).stdout.strip()
                    self.assertRegex(status, rf"Uid:\s+{expected}\s")
                    self.assertEqual("Seccomp:\t2" in status, True)
                finally:
                    host.virsh("destroy", "idle")

    def test_commands(self) -> None:
        host = self.lab.host("hosta")
        with self.assertRaises(CommandError) as caught:
            host.run(["sh", "-c", "echo so it is >&2; exit 3"])
        self.assertEqual(caught.exception.returncode, 3)
        self.assertIn("so it is", str(caught.exception))
        with self.assertRaises(subprocess.TimeoutExpired):
            host.run(["sleep", "77.5"], timeout=0.5)
        self.assertEqual(host.processes("sleep 77.5"), [])
        self.assertEqual(host.run(["cat"], input="x").stdout, "x")
        child = host.popen(["sh", "-c", "trap 'exit 7' TERM; echo; while :; do sleep 0.05; done"], stdout=subprocess.PIPE)
        child.stdout.readline()
        child.terminate()
        self.assertEqual(child.wait(10), 7)
        child.stdout.close()

    def test_libvirtd(self) -> None:
        host = self.lab.host("hostb")
        first = host.libvirtd_pid()
        self.assertIsNotNone(first)
        host.kill_libvirtd()
        deadline = time.monotonic() + 5
        while host.libvirtd_pid() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertNotEqual(host.virsh("list", check=False).returncode, 0)
        host.start_libvirtd()
        self.assertNotEqual(host.libvirtd_pid(), first)
        self.assertEqual(host.virsh("list").returncode, 0)

    def test_sshd(self) -> None:
        host = self.lab.host("hostb")
        session = self.lab.admin.popen(["ssh", "hostb", "echo; sleep 1000"], stdout=subprocess.PIPE)
        session.stdout.readline()
        host.stop_sshd()
        self.assertEqual(session.wait(10), 255)
        session.stdout.close()
        self.assertFalse(self.reaches("admin", "hostb"))
        host.start_sshd()
        self.assertTrue(self.reaches("admin", "hostb"))

    def test_firewall(self) -> None:
        host = self.lab.host("hostb")
        argv = ["/usr/bin/python3", "-m", "http.server", "8080"]
        server = host.popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 10
            while not self.reaches("hosta", "hostb-mig", 8080) and time.monotonic() < deadline:
                time.sleep(0.1)
            self.assertTrue(self.reaches("hosta", "hostb-mig", 8080))
            host.firewall_only_ssh()
            self.assertFalse(self.reaches("hosta", "hostb-mig", 8080))
            self.assertTrue(self.reaches("hosta", "hostb"))
            self.assertTrue(self.reaches("hostb", "hosta-mig", 22))
            host.firewall_off()
            self.assertTrue(self.reaches("hosta", "hostb-mig", 8080))
        finally:
            server.kill()
            server.wait()

    def test_watari(self) -> None:
        host, ssh = self.lab.host("hostb"), ["ssh", "hostb", "watari"]
        self.assertEqual(self.lab.admin.run(ssh, check=False).returncode, 127)
        host.set_watari("/usr/bin/env", {"LAB_WORD": "it's here", "ASAN_OPTIONS": "a=1:b=2"})
        told = self.lab.admin.run(ssh).stdout
        self.assertIn("LAB_WORD=it's here\n", told)
        self.assertIn("ASAN_OPTIONS=a=1:b=2\n", told)
        host.set_watari("/bin/echo")
        self.assertEqual(self.lab.admin.run([*ssh, "a"]).stdout, "a\n")
        self.assertEqual(self.lab.describe()["notes"]["hostb"]["watari"], "/bin/echo")
        host.set_watari(None)
        self.assertEqual(self.lab.admin.run(ssh, check=False).returncode, 127)

    def test_command_line(self) -> None:
        name = self.lab.name
        self.assertIn("lab " + name, run_lab("status"))
        self.assertEqual(run_lab("--lab", name, "shell", "admin", "--", "ssh", "hostb", "hostname"), "hostb\n")
        self.assertIn("delay 2 ms", run_lab("--lab", name, "link", "delay", "2"))
        self.assertIn("cut: migration", run_lab("--lab", name, "link", "cut"))
        self.assertIn("cut: nothing", run_lab("--lab", name, "link", "restore"))
        self.assertIn("TCP", run_lab("--lab", name, "measure", "--seconds", "0.3"))
        for command in ("up", "down", "status", "shell", "guest", "client", "link", "measure"):
            self.assertIn("usage:", run_lab(command, "--help"))


class OtherHosts(unittest.TestCase):
    """Three hosts of the kinds that people have: without root login, with a clock of its own, with a LUN."""

    @classmethod
    def setUpClass(cls) -> None:
        specs = [HostSpec("hosta"), HostSpec("hostb", unprivileged=True, root_login=False, clock_s=3600), HostSpec("hostc")]
        cls.lab = Lab(f"{PREFIX}ox", specs).up()
        cls.addClassCleanup(cls.lab.down)
        cls.hosta, cls.hostb, cls.hostc = cls.lab.hosts

    def test_no_root_login(self) -> None:
        admin = self.lab.admin
        self.assertIn("Permission denied", admin.run(["ssh", "root@hostb", "id"], check=False).stderr)
        self.assertEqual(admin.run(["ssh", "ops@hostb", "id -un; sudo -n id -un"]).stdout, "ops\nroot\n")
        self.assertIn("running", admin.run(["ssh", "ops@hostb", "virsh -c qemu:///system list --all; echo running"]).stdout)
        self.assertEqual(self.hostb.run(["ssh", "hosta", "id", "-un"], user="ops").stdout, "ops\n")  # an account everywhere
        self.assertEqual(self.hostb.run(["ssh", "root@hosta", "id", "-un"], user="ops").stdout, "root\n")

    def test_clock(self) -> None:
        def ahead() -> float:
            return float(self.hostb.run(["date", "+%s.%N"]).stdout) - time.time()

        self.assertAlmostEqual(ahead(), 3600, delta=30)
        watch = "import time; print(time.time(), flush=True); input(); print(time.time(), flush=True)"
        runs = self.hostb.popen(
            ["/usr/bin/python3", "-c", watch], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        before = float(runs.stdout.readline())
        self.hostb.set_clock(-7200)  # it runs already
        self.addCleanup(self.hostb.set_clock, 3600)
        after = float(runs.communicate("\n", timeout=30)[0])
        self.assertAlmostEqual(after - before, -10800, delta=60)
        self.assertAlmostEqual(ahead(), -7200, delta=30)
        # libvirt waits for its jobs by the wall clock: it must go on as before, and log by its own time.
        self.assertEqual(self.hostb.virsh("list", "--all").returncode, 0)
        with self.assertRaisesRegex(LabError, "clock of its own"):
            self.hosta.set_clock(1)

    def test_block_devices(self) -> None:
        for host, devices in ((self.hosta, ["/dev/one"]), (self.hostb, ["/dev/one"])):
            disks.make(host, "/lab/images/lun.raw", 32, parts=disks.noise(host.name, 4))
            self.lab.block_device("/lab/images/lun.raw", devices[0], [host.name], "LVM-twins")
        self.lab.block_device("/lab/images/lun.raw", "/dev/both", ["hosta", "hostc"])
        sums = [host.run(["md5sum", device]).stdout.split()[0] for host, device in (
            (self.hosta, "/dev/one"), (self.hostb, "/dev/one"), (self.hosta, "/dev/both"), (self.hostc, "/dev/both"))]  # fmt: skip
        self.assertEqual([sums[0] == other for other in sums], [True, False, True, True])
        script = "cat /sys/dev/block/$(stat -c %Hr:%Lr /dev/one)/dm/uuid"
        for host in (self.hosta, self.hostb):
            self.assertEqual(host.run(["sh", "-c", script]).stdout, "LVM-twins\n")


class OnlyIpv6(unittest.TestCase):
    def test_addresses_and_names(self) -> None:
        with Lab(f"{PREFIX}6x", ipv6_only=True) as lab:
            hosta, hostb = lab.hosts
            for network in ("management", "migration"):
                address = hostb.address(network)
                self.assertEqual(hosta.run(["ssh", address, "hostname"]).stdout, "hostb\n")
            self.assertNotIn("10.20", hosta.run(["ip", "-4", "address"]).stdout)
            self.assertNotEqual(hosta.run(["getent", "hosts", "hostb"], check=False).returncode, 0)
            uri = f"qemu+ssh://root@[{hostb.address()}]/system"
            self.assertEqual(hosta.run(["virsh", "-c", uri, "hostname"]).stdout.strip(), "hostb")


class Mirror(unittest.TestCase):
    def test_taken_from_apt(self) -> None:
        lines = ["Packages Debian Debian-Security http://a/debian-security/", "Packages Other Debian http://b/",
                 "Packages Debian Debian file:/media/", "Sources Debian Debian http://c/", "Packages Debian Debian https://d/debian/"]  # fmt: skip
        self.assertEqual(mirror.choose(lines), "https://d/debian")
        self.assertIsNone(mirror.choose(lines[:4] + ["", "Packages"]))


class PlainMoves(SharedLab):
    """The stage stands: libvirt alone moves a guest live between these hosts."""

    def test_there_and_back(self) -> None:
        try:
            guest.start(self.lab, "hosta", "walker", pattern="text", rate=200, set_mib=8, memory_mib=128)
        except guest_image.ImageError as error:
            self.skipTest(str(error))
        for source, destination in (("hosta", "hostb"), ("hostb", "hosta")):
            with self.subTest(source=source, destination=destination):
                plain_move(self, self.lab, "walker", source, destination)


if __name__ == "__main__":
    unittest.main()
