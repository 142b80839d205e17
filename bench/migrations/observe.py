# SPDX-License-Identifier: Apache-2.0
"""What is counted while a guest moves: bytes on the wires, processor time, memory of the movers, passes."""
import datetime
import os
import resource
import subprocess
import threading
import time

TICKS = os.sysconf("SC_CLK_TCK")
SAMPLE_S = 0.02
LOOK_S = 0.25  # how often new processes are looked for


def interface_bytes(pid, interface):
    """(received, sent) of an interface in the network of a process."""
    with open(f"/proc/{pid}/net/dev", encoding="ascii") as file:
        for line in file:
            name, _, figures = line.partition(":")
            if name.strip() == interface:
                fields = figures.split()
                return int(fields[0]), int(fields[8])
    raise LookupError(f"no interface {interface}")


def _stat(path):
    """(comm, utime + stime, those of children that were waited for), in seconds."""
    with open(path, encoding="utf-8", errors="replace") as file:
        head, _, tail = file.read().rpartition(")")
    fields = tail.split()
    return (head.partition("(")[2], (int(fields[11]) + int(fields[12])) / TICKS,
            (int(fields[13]) + int(fields[14])) / TICKS)


def process_seconds(pid):
    try:
        return _stat(f"/proc/{pid}/stat")[1]
    except OSError:
        return 0.0


def vcpu_seconds(pid):
    """What a QEMU's vCPU threads have used: the guest's own work, and TCG's, none of the migration's."""
    total = 0.0
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            comm, own, _ = _stat(f"/proc/{pid}/task/{task}/stat")
            if comm.startswith("CPU "):
                total += own
    except OSError:
        return None  # it has just ended
    return total


def _peak_kib(pid):
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


def hosts_seconds(nodes, without=()):
    """Processor time used so far by everything on these hosts, ended processes included: who ends leaves its time to
    whoever waits for it, and what we started ourselves leaves it to us."""
    namespaces = {os.readlink(f"/proc/{node.pid}/ns/pid") for node in nodes}
    total = 0.0
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) in without:
            continue
        try:
            if os.readlink(f"/proc/{name}/ns/pid") in namespaces:
                _, own, children = _stat(f"/proc/{name}/stat")
                total += own + children
        except OSError:
            continue
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return total + used.ru_utime + used.ru_stime


def path_seconds(node):
    """hosts_seconds of one host less what its guest's vCPUs have used."""
    qemu = _pid_of(node, "qemu-system-x86_64")
    return hosts_seconds([node]) - (vcpu_seconds(qemu) or 0.0 if qemu else 0.0)


def machine_seconds():
    """Processor time of everything on this machine, without interrupts."""
    with open("/proc/stat", encoding="ascii") as file:
        return sum(int(word) for word in file.readline().split()[1:4]) / TICKS


def own_seconds(prober):
    """Of the bench itself and its prober."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime + (process_seconds(prober) if prober else 0.0)


def link_device(lab):
    """Process id of the lab's packet-delay, or None while it is not in the way."""
    todo = [lab.pid]
    while todo:
        pid = todo.pop()
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
                if file.read().startswith("packet-delay"):
                    return pid
            with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
                todo += [int(word) for word in file.read().split()]
        except OSError:
            continue
    return None


def _pid_of(node, containing):
    return next((pid for pid, _ in node.processes(containing)), None)


class Passes:
    """The instants at which QEMU begins its passes, as libvirt tells them."""

    def __init__(self, node, name):
        self.begun = {}  # number: seconds since the epoch
        words = ["virsh", "event", name, "migration-iteration", "--loop", "--timestamp"]
        self.process = node.popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.pid = self.process.inner_pid()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            stamp, _, event = line.partition(": event ")
            if "iteration: '" in event:
                number = int(event.rpartition("iteration: '")[2].split("'")[0])
                moment = datetime.datetime.strptime(stamp.strip(), "%Y-%m-%d %H:%M:%S.%f%z")
                self.begun[number] = moment.timestamp()

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.thread.join(5)
        self.process.stdout.close()


class Watch(threading.Thread):
    """Samples the wire, the vCPUs and the movers from begin() to finish()."""

    def __init__(self, lab, source, destination):
        super().__init__(daemon=True)
        self.source, self.destination = source, destination
        self.samples = []  # (seconds since the epoch, bytes on the migration network)
        self.qemus = {}  # host name: process id
        self.vcpu_first, self.vcpu_last = {}, {}
        self.movers = {}  # host name: peak KiB
        self.ending = threading.Event()
        self.device = link_device(lab)
        self.without = ()

    def bytes(self, network="mig0"):
        return sum(interface_bytes(self.source.pid, network))

    def begin(self, without=(), prober=None):
        self.without, self.prober = [pid for pid in without if pid], prober
        self._look()
        for host, pid in self.qemus.items():
            self.vcpu_first[host] = vcpu_seconds(pid) or 0.0
        self.wire_before, self.management_before = self.bytes(), self.bytes("mgt0")
        self.device_before = process_seconds(self.device) if self.device else 0.0
        self.cpu_before = hosts_seconds([self.source, self.destination], self.without)
        self.began = time.monotonic()
        self.others_before = machine_seconds() - own_seconds(prober)
        self.start()

    def _look(self):
        for node in (self.source, self.destination):
            if pid := _pid_of(node, "qemu-system-x86_64"):
                self.qemus[node.name] = pid
            for pid, _ in node.processes("watari mover"):
                self.movers[node.name] = max(self.movers.get(node.name, 0), _peak_kib(pid))

    def _sample(self):
        self.samples.append((time.time(), self.bytes()))
        for host, pid in self.qemus.items():
            seconds = vcpu_seconds(pid)
            if seconds is not None and seconds >= self.vcpu_last.get(host, 0.0):
                self.vcpu_last[host] = seconds

    def run(self):
        looked = 0.0
        while not self.ending.wait(SAMPLE_S):
            if time.monotonic() - looked > LOOK_S:
                self._look()
                looked = time.monotonic()
            self._sample()

    def finish(self):
        """Call it as soon as the move's command has ended and was waited for."""
        cpu = hosts_seconds([self.source, self.destination], self.without) - self.cpu_before
        device = process_seconds(self.device) - self.device_before if self.device else 0.0
        others = machine_seconds() - own_seconds(self.prober) - self.others_before - cpu - device
        share = others / (time.monotonic() - self.began) / os.cpu_count()
        self.ending.set()
        self.join()
        self._sample()
        guest = sum(last - self.vcpu_first.get(host, 0.0) for host, last in self.vcpu_last.items())
        return {
            "bytes": self.bytes() - self.wire_before,
            "management_bytes": self.bytes("mgt0") - self.management_before,
            "cpu_s": round(cpu - guest, 3),
            "cpu_guest_s": round(guest, 3),
            "cpu_link_s": round(device, 3),
            "others_cpu": round(max(0.0, share), 3),
            "movers_peak_mib": [round(kib / 1024, 1) for _, kib in sorted(self.movers.items())] or None,
        }

    def bytes_since(self, moment):
        """Bytes on the migration network since then, good to one sample."""
        before = [total for at, total in self.samples if at <= moment]
        return self.samples[-1][1] - (before[-1] if before else self.wire_before)
