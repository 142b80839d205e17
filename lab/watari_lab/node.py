# SPDX-License-Identifier: Apache-2.0
"""A node of the lab as tests and people use it: commands, files, daemons, the Watari under test."""

import os
import signal
import stat
import subprocess
import time
import typing

from . import daemons, files, process, wire
from .errors import LabError
from .plan import NodePlan

_WATARI = "/usr/local/bin/watari"
_WATARI_BINARY = "/usr/local/lib/watari-lab/watari"


class Node:
    """A host, the administrator's machine ("admin") or the client, while its lab is up."""

    def __init__(self, lab_name: str, plan: NodePlan, pid: int) -> None:
        self.lab_name = lab_name
        self.plan = plan
        self.name = plan.name
        self.pid = pid  # process 1 of the node, in this machine's numbering; for nsenter

    def __repr__(self) -> str:
        return f"<Node {self.name} of lab {self.lab_name}, pid {self.pid}>"

    def address(self, network: str = "management") -> str:
        return self.plan.address(network)

    # ---- commands ----

    def popen(
        self,
        argv: list[str],
        *,
        env: dict[str, str] | None = None,
        cwd: str | None = None,
        user: str = "root",
        **options: typing.Any,
    ) -> process.NodeProcess:
        """Start a command inside; options as for subprocess.Popen. Its signals reach the command;
        it ends with the lab at the latest. user: plan.USER where hosts are without root logins."""
        argv = [str(word) for word in argv]
        return process.NodeProcess(
            process.enter_argv(self.pid, argv, cwd, user),
            env=process.node_environment(env, user),
            **options,
        )

    def run(
        self,
        argv: list[str],
        *,
        timeout: float | None = 120,
        check: bool = True,
        input: str | bytes | None = None,  # named as in subprocess.run
        env: dict[str, str] | None = None,
        cwd: str | None = None,
        user: str = "root",
        text: bool = True,
    ) -> subprocess.CompletedProcess:
        """Run a command inside to its end; raises CommandError (check) or TimeoutExpired."""
        child = self.popen(
            argv,
            env=env,
            cwd=cwd,
            user=user,
            text=text,
            stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        return process.run_to_end(child, [str(word) for word in argv], input, timeout, check)

    def popen_network(self, argv: list[str], **options: typing.Any) -> subprocess.Popen:
        """Start a program of this machine with this machine's files, in the node's network only."""
        return subprocess.Popen(process.enter_network_argv(self.pid, argv), **options)

    def virsh(self, *words: str, check: bool = True, timeout: float | None = 120):
        return self.run(["virsh", "-c", "qemu:///system", *words], check=check, timeout=timeout)

    def processes(self, containing: str = "") -> list[tuple[int, str]]:
        """(pid on this machine, command line) of the node's processes whose line contains a text."""
        namespace = os.readlink(f"/proc/{self.pid}/ns/pid")
        found = []
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                if os.readlink(f"/proc/{name}/ns/pid") != namespace:
                    continue
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    line = file.read().replace(b"\0", b" ").decode(errors="replace").strip()
            except OSError:
                continue
            if line and containing in line:
                found.append((int(name), line))
        return sorted(found)

    # ---- files ----

    def path(self, path: str) -> str:
        """The node's file as a path on this machine, good while the node lives. Absolute symbolic
        links inside would lead astray: use it for plain files."""
        return f"/proc/{self.pid}/root{path}"

    def read_text(self, path: str) -> str:
        with open(self.path(path), encoding="utf-8", errors="replace") as file:
            return file.read()

    def write_text(self, path: str, text: str, mode: int = 0o644) -> None:
        self.write_bytes(path, text.encode(), mode)

    def write_bytes(self, path: str, data: bytes, mode: int = 0o644) -> None:
        target = self.path(path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target + ".new", "wb") as file:
            file.write(data)
        os.chmod(target + ".new", mode)
        os.replace(target + ".new", target)

    def exists(self, path: str) -> bool:
        return os.path.lexists(self.path(path))

    # ---- libvirtd and sshd ----

    def _outer_pid(self, inner: int | None) -> int | None:
        """The number on this machine of a process of the node."""
        if inner is None:
            return None
        for pid, _ in self.processes():
            try:
                with open(f"/proc/{pid}/status", encoding="utf-8") as file:
                    for line in file:
                        if line.startswith("NSpid:") and int(line.split()[-1]) == inner:
                            return pid
            except OSError:
                continue
        return None

    def libvirtd_pid(self) -> int | None:
        """libvirtd's process id on this machine, None when it does not run."""
        return self._outer_pid(daemons.pid(self.run, daemons.LIBVIRTD_PID_FILE))

    def kill_libvirtd(self, sig: int = signal.SIGKILL) -> None:
        """End it with SIG, and wait until it has ended."""
        pid = self.libvirtd_pid()
        if pid is None:
            return
        os.kill(pid, sig)
        deadline = time.monotonic() + 10
        while self.libvirtd_pid() == pid and time.monotonic() < deadline:
            time.sleep(0.02)

    def start_libvirtd(self, env: dict[str, str] | None = None) -> None:
        """Start libvirtd (if it does not run), with these variables, and wait until it answers. QEMU
        gets few of them, LD_PRELOAD and LD_LIBRARY_PATH among these."""
        if self.libvirtd_pid() is None:
            daemons.start_libvirtd(self.run, env=env)

    # ---- wall clock ----

    def set_clock(self, seconds: float) -> None:
        """Step the wall clock of the host's processes, running ones too, to so much ahead of the
        machine's. The host must have been raised with a clock of its own (HostSpec.clock_s)."""
        if self.plan.clock_s is None:
            raise LabError(f"{self.name} has no clock of its own: raise it with HostSpec(clock_s=0)")
        with open(self.path(files.CLOCK_FILE), "r+b") as file:  # mapped: it must stay the same file
            file.write(files.clock_bytes(seconds))

    # ---- block devices ----

    def make_block_device(self, device: str, number: int, identity: str) -> None:
        """Lab.block_device's part at one host: the node of a loop device, and its identity in /sys."""
        path = self.path(device)
        os.mknod(path, stat.S_IFBLK | 0o660, os.stat(f"/dev/loop{number}").st_rdev)
        os.chmod(path, 0o660)
        if identity:
            system = f"/sys/devices/virtual/block/loop{number}"
            script = (
                'mkdir -p "$2/dm" && cp -r "$1/." "$2" 2>/dev/null; echo "$3" >"$2/dm/uuid" && mount --bind "$2" "$1"'
            )
            self.run(["sh", "-c", script, "sh", system, f"/run/loop{number}", identity])

    def sshd_pid(self) -> int | None:
        return self._outer_pid(daemons.pid(self.run, daemons.SSHD_PID_FILE))

    def stop_sshd(self, sessions: bool = True) -> None:
        """End sshd, and its open sessions too unless told otherwise."""
        listener = self.sshd_pid()
        victims = [pid for pid, line in self.processes("sshd") if line.startswith("sshd")]
        for pid in victims if sessions else [listener]:
            try:
                if pid is not None:
                    os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def start_sshd(self) -> None:
        if self.sshd_pid() is None:
            daemons.start_sshd(self.run)

    # ---- firewall ----

    def firewall_only_ssh(self) -> None:
        """Drop everything that comes in, except to port 22 and answers to what went out."""
        rules = (
            "table inet lab\ndelete table inet lab\ntable inet lab {\nchain input {\n"
            "type filter hook input priority 0; policy drop;\n"
            "ct state established,related accept\niifname lo accept\n"
            "icmp type echo-request accept\nmeta l4proto ipv6-icmp accept\ntcp dport 22 accept\n}\n}\n"
        )
        self._nft(rules)

    def firewall_off(self) -> None:
        self._nft("table inet lab\ndelete table inet lab\n")

    def _nft(self, rules: str) -> None:
        argv = process.enter_network_argv(self.pid, ["nft", "-f", "-"])
        subprocess.run(argv, input=rules, text=True, check=True, capture_output=True)

    # ---- the Watari under test ----

    def set_watari(self, binary: str | None, env: dict[str, str] | None = None) -> None:
        """Put a binary into /usr/local/bin/watari, with variables it shall always see; None takes
        Watari away. Running ones keep their file."""
        if self.plan.clock_s is not None:  # its clock is loaded before a sanitizer's library
            options = (env or {}).get("ASAN_OPTIONS", "")
            env = {**(env or {}), "ASAN_OPTIONS": f"{options}:verify_asan_link_order=0".lstrip(":")}
        for path in (_WATARI, _WATARI_BINARY):
            if self.exists(path):
                os.unlink(self.path(path))
        if binary is not None:
            with open(binary, "rb") as file:
                data = file.read()
            if env:
                self.write_bytes(_WATARI_BINARY, data, 0o755)
                self.write_text(_WATARI, _wrapper(env), 0o755)
            else:
                self.write_bytes(_WATARI, data, 0o755)
        wire.ask(
            self.lab_name,
            {"op": "note", "node": self.name, "values": {"watari": binary, "env": env or {}}},
        )


def _wrapper(env: dict[str, str]) -> str:
    lines = ["#!/bin/sh"]
    for name, value in env.items():
        quoted = value.replace("'", "'\\''")
        lines.append(f"export {name}='{quoted}'")
    lines.append(f'exec {_WATARI_BINARY} "$@"')
    return "\n".join(lines) + "\n"
