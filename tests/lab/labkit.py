# SPDX-License-Identifier: Apache-2.0
"""What the lab's own tests share: the way to the package, and the traces a lab could leave."""

import os
import pathlib
import sys
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
if str(TOP / "lab") not in sys.path:
    sys.path.insert(0, str(TOP / "lab"))

from watari_lab import guest  # noqa: E402

NAMESPACES = ("net", "mnt", "pid", "uts", "ipc")
# Where a careless lab would leave files. Others may be busy elsewhere on the machine.
PLACES = ("/", "/run", "/etc", "/dev", "/mnt", "/root/.ssh", "/var/lib/libvirt", "/var/log/libvirt")


def pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def namespaces_of(pid: int) -> set[str]:
    found = set()
    for kind in NAMESPACES:
        try:
            found.add(os.readlink(f"/proc/{pid}/ns/{kind}"))
        except OSError:
            pass
    return found


def start_time(pid: int) -> str:
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except OSError:
        return ""


def is_our_zombie(pid: int) -> bool:
    """A child of the test itself that has ended and was not waited for yet."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return False
    return fields[0] == "Z" and int(fields[1]) == os.getpid()


def children(pid: int) -> list[int]:
    try:
        return [int(word) for word in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


class LabTrace:
    """Every process and namespace that hangs on a lab's supervisor now."""

    def __init__(self, supervisor: int) -> None:
        self.processes: dict[int, str] = {}
        self.namespaces: set[str] = set()
        todo = [supervisor]
        while todo:
            pid = todo.pop()
            self.processes[pid] = start_time(pid)
            self.namespaces |= namespaces_of(pid)
            todo += children(pid)
        self.namespaces -= namespaces_of(os.getpid())
        for pid in pids():  # commands that somebody outside started inside
            if namespaces_of(pid) & self.namespaces:
                self.processes[pid] = start_time(pid)

    def left(self) -> list[str]:
        """What of it is still there."""
        found = []
        for pid in pids():
            if self.processes.get(pid, "-") == start_time(pid) and not is_our_zombie(pid):
                found.append(f"process {pid}")
            for namespace in namespaces_of(pid) & self.namespaces:
                found.append(f"{namespace} (of process {pid})")
        return found

    def wait_gone(self, seconds: float = 15.0) -> list[str]:
        deadline = time.monotonic() + seconds
        while (left := self.left()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return left


def machine() -> dict[str, object]:
    """What everybody on the machine would see of a careless lab."""
    state: dict[str, object] = {
        "mounts": pathlib.Path("/proc/self/mountinfo").read_text().splitlines(),
        "interfaces": sorted(os.listdir("/sys/class/net")),
        "cgroups": sorted(path for path, _, _ in os.walk("/sys/fs/cgroup") if "libvirt" in path or "machine" in path),
    }
    for place in PLACES:
        state[place] = sorted(os.listdir(place)) if os.path.isdir(place) else None
    return state


def plain_move(test, lab, name: str, source: str, destination: str) -> None:
    """Move a guest with virsh alone; it must be there, and there only, whole and going on."""
    before = guest.state(lab, name)
    lab.host(source).virsh(
        "migrate", "--live", name, f"qemu+ssh://{destination}/system", f"tcp://{destination}-mig",
        timeout=120,
    )  # fmt: skip
    test.assertEqual(guest.where(lab, name), {destination: "running"})
    guest.wait_ready(lab, name, 60)  # a busy machine may starve it for a while
    guest.check(lab, name)
    after = guest.state(lab, name)
    # The same guest goes on: it did not start anew, and it dirties its memory.
    test.assertGreater(after["time"]["uptime_ms"], before["time"]["uptime_ms"])
    test.assertGreater(after["memory"]["dirtied_pages"], before["memory"]["dirtied_pages"])
    test.assertEqual((after["memory"]["errors"], after["time"]["errors"]), (0, 0))
