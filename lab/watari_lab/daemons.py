# SPDX-License-Identifier: Apache-2.0
"""libvirtd and sshd of a host: started and asked about through a `run` of that host.

`run(argv, check=...)` is Node.run or anything that behaves like it.
"""

import collections.abc
import time

from .errors import LabError

LIBVIRTD_PID_FILE = "/run/libvirtd.pid"
SSHD_PID_FILE = "/run/sshd.pid"
LIBVIRT_LOG = "/var/log/libvirt/libvirtd.log"

Run = collections.abc.Callable


def wait_libvirtd(run: Run, timeout: float = 60.0) -> None:
    """Wait until the daemon answers."""
    deadline = time.monotonic() + timeout
    while True:
        asked = run(["virsh", "-c", "qemu:///system", "version"], check=False)
        if asked.returncode == 0:
            return
        if time.monotonic() > deadline:
            log = run(["tail", "-n", "12", LIBVIRT_LOG], check=False).stdout
            raise LabError(f"libvirtd does not answer: {asked.stderr.strip()}\n{log}")
        time.sleep(0.1)


def start_libvirtd(run: Run, timeout: float = 60.0, env: dict[str, str] | None = None) -> None:
    run(["env", *(f"{name}={value}" for name, value in (env or {}).items()),
         "libvirtd", "-d", "-p", LIBVIRTD_PID_FILE], check=True)  # fmt: skip
    wait_libvirtd(run, timeout)


def start_sshd(run: Run) -> None:
    run(["/usr/sbin/sshd"], check=True)


def pid(run: Run, pid_file: str) -> int | None:
    """The daemon's process id inside the host, None when it does not run."""
    script = 'p=$(cat "$1" 2>/dev/null) && kill -0 "$p" 2>/dev/null && echo "$p"'
    text = run(["sh", "-c", script, "sh", pid_file], check=False).stdout.strip()
    return int(text) if text else None
