# SPDX-License-Identifier: Apache-2.0
"""Commands inside a node: entered with nsenter, signalled as if there were no nsenter.

nsenter has to fork to get into a PID namespace, so the process we start is a parent that waits and
the command is its child. Signals meant for the command go to that child, and the child asks the
kernel to be killed when the parent dies. What is left of a test that was killed ends with its lab.
"""

import os
import shutil
import signal
import subprocess
import time

from .errors import CommandError

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NSENTER = shutil.which("nsenter", path=PATH) or "/usr/bin/nsenter"
_SETPRIV = shutil.which("setpriv", path=PATH) or "/usr/bin/setpriv"


def enter_argv(pid: int, argv: list[str], cwd: str | None = None, user: str = "root") -> list[str]:
    """The command line that runs argv in all namespaces of pid."""
    where = [f"--wdns={cwd}"] if cwd else []
    namespaces = ["-m", "-u", "-i", "-n", "-p"]
    become = [] if user == "root" else ["--reuid", user, "--regid", user, "--init-groups"]
    death = ["setpriv", *become, "--pdeathsig", "KILL", "--"]
    return [_NSENTER, "-t", str(pid), *namespaces, *where, "--", *death, *argv]


def enter_network_argv(pid: int, argv: list[str]) -> list[str]:
    """The command line that runs argv with this machine's files, but pid's network."""
    return [_NSENTER, "-t", str(pid), "-n", "--", _SETPRIV, "--pdeathsig", "KILL", "--", *argv]


def home_of(user: str) -> str:
    return "/root" if user == "root" else os.path.join("/", "home", user)


def node_environment(extra: dict[str, str] | None = None, user: str = "root") -> dict[str, str]:
    """What a command inside a node sees: a plain login, nothing of the caller's."""
    environment = {
        "PATH": PATH,
        "HOME": home_of(user),
        "USER": user,
        "LOGNAME": user,
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
    }
    if "TERM" in os.environ:
        environment["TERM"] = os.environ["TERM"]
    environment.update(extra or {})
    return environment


class NodeProcess(subprocess.Popen):
    """A Popen whose signals reach the command inside the node, not the nsenter around it."""

    def inner_pid(self, timeout: float = 5.0) -> int | None:
        """The command's process id as this machine sees it, None when it has ended."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            try:
                with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="ascii") as file:
                    children = file.read().split()
            except OSError:
                return None
            if children:
                return int(children[0])
            if time.monotonic() > deadline:
                return None
            time.sleep(0.005)
        return None

    def send_signal(self, sig: int) -> None:
        pid = self.inner_pid()
        if pid is None:
            super().send_signal(sig)
            return
        try:
            os.kill(pid, sig)
        except ProcessLookupError:
            pass

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run_to_end(
    process: subprocess.Popen, argv: list[str], data, timeout: float | None, check: bool
) -> subprocess.CompletedProcess:
    """communicate() with a limit after which the command is killed and TimeoutExpired raised."""
    with process:
        try:
            out, err = process.communicate(data, timeout=timeout)
        except subprocess.TimeoutExpired as expired:
            process.kill()
            out, err = process.communicate()
            raise subprocess.TimeoutExpired(argv, expired.timeout, out, err) from None
        except BaseException:
            process.kill()
            raise
    if check and process.returncode != 0:
        raise CommandError(process.returncode, argv, out, err)
    return subprocess.CompletedProcess(argv, process.returncode, out, err)
