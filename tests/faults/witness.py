# SPDX-License-Identifier: Apache-2.0
"""Who looks from outside, without asking libvirt or Watari: where the guest computes, and who says on its network where it is."""
import glob
import socket
import threading
import time

from watari_lab import netio


def read(path):
    with open(path, encoding='utf-8') as file:
        return file.read()


def vcpu_ns(node, vm):
    """Processor time of the guest's vCPUs on a host: {path of the thread: nanoseconds}."""
    used = {}
    for pid, line in node.processes('qemu-system'):
        if f'guest={vm}' not in line:
            continue
        for path in glob.glob(f'/proc/{pid}/task/*/comm'):
            try:
                if read(path).startswith('CPU '):
                    used[path] = int(read(path[:-4] + 'schedstat').split()[0])
            except (OSError, IndexError):
                continue
    return used


class Witness(threading.Thread):
    """Sees on how many hosts the guest computes. A hand-over may fall into one window, so two windows in a row in which
    both hosts' vCPUs were busy are a double run."""

    WINDOW_S = 0.3
    BUSY_NS = 3_000_000

    def __init__(self, hosts, vm):
        super().__init__(daemon=True)
        self.hosts, self.vm = hosts, vm
        self.stop = threading.Event()
        self.windows = 0
        self.seen = {node.name: 0 for node in hosts}  # windows in which the guest computed there
        self.last = {}  # and the last one of them
        self.double = 0
        self.start()

    def look(self):
        return [vcpu_ns(node, self.vm) for node in self.hosts]

    def run(self):
        last, both_before = self.look(), False
        while not self.stop.wait(self.WINDOW_S):
            now = self.look()
            busy = [any(ns - before.get(path, ns) > self.BUSY_NS for path, ns in used.items())
                    for before, used in zip(last, now)]
            for node, was_busy in zip(self.hosts, busy):
                self.seen[node.name] += was_busy
                if was_busy:
                    self.last[node.name] = self.windows
            self.double += all(busy) and both_before
            both_before, last = all(busy), now
            self.windows += 1

    def end(self):
        self.stop.set()
        self.join()
        return self


class Announcements(threading.Thread):
    """Hears, on the client's network, who says where the guest is (RARP, as QEMU does it and our mover after a return)."""

    RARP = 0x8035

    def __init__(self, lab, mac):
        super().__init__(daemon=True)
        self.mac = bytes.fromhex(mac.replace(':', ''))
        self.pid = lab.client.pid
        self.times = []
        self.open = threading.Event()
        self.over = False
        self.start()
        self.open.wait(10)

    def run(self):
        netio.enter(self.pid)
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(self.RARP)) as ear:
            ear.bind(('svc0', self.RARP))
            ear.settimeout(0.1)
            self.open.set()
            while not self.over:
                try:
                    frame = ear.recv(2048)
                except TimeoutError:
                    continue
                if frame[6:12] == self.mac:
                    self.times.append(time.monotonic())

    def end(self):
        self.over = True
        self.join()
