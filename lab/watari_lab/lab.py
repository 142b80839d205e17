# SPDX-License-Identifier: Apache-2.0
"""Raising a lab, finding one that is up, and putting it down."""

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time

from . import compiled, guest_image, plan, process, release, wire
from .errors import LabError
from .node import Node
from .plan import HostSpec, NodePlan

_TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_UNSHARE = ["unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child"]
_TOOLS = "unshare nsenter setpriv ip tc nft ssh ssh-keygen sshd libvirtd virsh qemu-system-x86_64".split()
_RAISE_TIMEOUT = 180
_DOWN_TIMEOUT = 30

list_labs = wire.lab_names


def default_hosts() -> list[HostSpec]:
    return [HostSpec("hosta"), HostSpec("hostb", unprivileged=True)]


class Lab:
    """A lab. As a context manager it lives as long as the block, and never longer than the calling
    process, however that one ends.

    watari, watari_env: put onto every host that names none of its own, and onto admin.
    binds: directories every node sees read-only at the same path (the source tree is always one).
    size: limit of the lab's tmpfs, in tmpfs's own words ("8g", "50%").
    ipv6_only: there is no IPv4 on the management and migration networks, and no name but its own that
        a node could resolve: hosts are known by address ("fd00:20::12") alone.
    """

    def __init__(
        self,
        name: str = "lab",
        hosts: list[HostSpec] | None = None,
        *,
        watari: str | None = None,
        watari_env: dict[str, str] | None = None,
        binds: list[str] | None = None,
        size: str = "75%",
        ipv6_only: bool = False,
    ) -> None:
        plan.check_name("lab", name)
        self.name = name
        self.specs = default_hosts() if hosts is None else hosts
        self.watari = watari
        self.watari_env = watari_env or {}
        self.binds = [_TOP, *(binds or [])]
        self.size = size
        self.ipv6_only = ipv6_only
        self.nodes: dict[str, Node] = {}
        self.pid = 0  # the supervisor, in this machine's numbering
        self._process: subprocess.Popen | None = None

    # ---- up and down ----

    def up(self, stay: bool = False) -> "Lab":
        """Raise the lab; with `stay` it outlives the caller until somebody puts it down."""
        self._check_machine()
        job = self._job(stay)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            try:
                listener.bind(wire.socket_name(self.name))
            except OSError:
                raise LabError(
                    f"lab {self.name!r} is up already: use it, or put it down first"
                ) from None
            self._start(job, listener, stay)
        try:
            self._load()
            self._install_watari()
        except BaseException:
            self.down()
            raise
        return self

    def _check_machine(self) -> None:
        if os.geteuid() != 0:
            raise LabError("the lab makes namespaces and interfaces, so it must run as root (sudo)")
        missing = [tool for tool in _TOOLS if not shutil.which(tool, path=process.PATH)]
        if missing:
            raise LabError(
                f"the lab needs programs that are not here: {', '.join(missing)}; "
                "`make setup` installs them"
            )
        for binary in [self.watari, *(spec.watari for spec in self.specs)]:
            if binary is not None and not os.access(binary, os.X_OK):
                raise LabError(f"{binary} is no program: build it first (make)")

    def _job(self, stay: bool) -> dict:
        nodes = plan.plan_nodes(self.specs, self.ipv6_only)
        lowers = {}
        for node in nodes:
            if node.release is not None:
                lowers[node.name] = release.ensure_root(node.release)
        return {
            "name": self.name,
            "nodes": [vars(node) for node in nodes],
            "lowers": lowers,
            "cache": release.cache_dir(),
            "emulator": guest_image.emulator_in_hosts(),
            "binds": self.binds,
            "size": self.size,
            "packet_delay": [compiled.find("packet-delay")],
            "clock_library": compiled.find("host-clock", library=True),
            "raiser": None if stay else os.getpid(),
        }

    def _start(self, job: dict, listener: socket.socket, stay: bool) -> None:
        hear, ready = os.pipe()
        fds = [listener.fileno(), ready]
        if not stay:
            fds.append(os.pidfd_open(os.getpid()))
        try:
            self._process = subprocess.Popen(
                [*_UNSHARE, sys.executable, "-m", "watari_lab.supervisor", *map(str, fds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                pass_fds=fds,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(__file__))},
            )
        finally:
            for fd in fds[1:]:
                os.close(fd)
        try:
            with self._process.stdin as stdin:
                stdin.write(json.dumps(job).encode())
            answer = self._wait_ready(hear)
        finally:
            os.close(hear)
        if answer != "ready":
            self._process.kill()
            listener.close()
            self._wait_gone()
            raise LabError(f"lab {self.name!r} could not be raised: {answer.removeprefix('error ')}")

    @staticmethod
    def _wait_ready(pipe: int) -> str:
        """What the supervisor says; one read, for `unshare` keeps the pipe's other end open."""
        if not select.select([pipe], [], [], _RAISE_TIMEOUT)[0]:
            return f"nothing heard for {_RAISE_TIMEOUT} s"
        return os.read(pipe, 65536).decode() or "its first process died"

    def _load(self) -> dict:
        answer, pids = wire.ask(self.name, {"op": "describe"})
        self.pid = pids["lab"]
        for fields in answer["nodes"]:
            node = NodePlan(**fields)
            self.nodes[node.name] = Node(self.name, node, pids[node.name])
        return answer

    def _install_watari(self) -> None:
        specs = {spec.name: spec for spec in self.specs}
        for node in self.nodes.values():
            spec = specs.get(node.name)
            binary = spec.watari if spec and spec.watari else self.watari
            env = spec.watari_env if spec and spec.watari_env else self.watari_env
            if node.plan.kind != "client" and binary is not None:
                node.set_watari(binary, env)

    @classmethod
    def attach(cls, name: str = "lab") -> "Lab":
        """A lab that is up already."""
        lab = cls(name, [])
        lab._load()
        return lab

    def down(self) -> None:
        """Put the lab down and wait until it is gone. Does nothing to a lab that has ended."""
        try:
            supervisor = os.pidfd_open(self.pid) if self.pid else None
        except ProcessLookupError:
            supervisor = None
        try:
            wire.ask(self.name, {"op": "down"})
        except LabError:
            self._kill(supervisor)
        if supervisor is not None:
            if not select.select([supervisor], [], [], _DOWN_TIMEOUT)[0]:
                self._kill(supervisor)
            os.close(supervisor)
        self._wait_gone()
        self.nodes = {}
        self.pid = 0

    def _kill(self, supervisor: int | None) -> None:
        if supervisor is not None:
            try:
                signal.pidfd_send_signal(supervisor, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self._process is not None:
            self._process.kill()

    def _wait_gone(self) -> None:
        """The supervisor has ended or was killed; the kernel may need a moment for the rest."""
        deadline = time.monotonic() + _DOWN_TIMEOUT
        if self._process is not None:
            try:
                self._process.wait(_DOWN_TIMEOUT)
            except subprocess.TimeoutExpired:
                raise LabError(f"lab {self.name!r} does not end: {self._stuck()}") from None
            self._process = None
        while self.name in wire.lab_names():
            if time.monotonic() > deadline:
                raise LabError(f"lab {self.name!r} does not end: {self._stuck()}")
            time.sleep(0.01)

    def _stuck(self) -> str:
        """Where the supervisor and its children hang, for the person who has to find out."""
        lines = []
        todo = [self.pid]
        while todo:
            pid = todo.pop()
            try:
                with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                    state = file.read().rsplit(")", 1)[1].split()[0]
                with open(f"/proc/{pid}/wchan", encoding="utf-8") as file:
                    lines.append(f"process {pid} state {state} in {file.read()}")
                with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as file:
                    todo += [int(word) for word in file.read().split()]
            except OSError:
                continue
        return "; ".join(lines) or "no process found"

    def __enter__(self) -> "Lab":
        return self if self.pid else self.up()

    def __exit__(self, *_) -> None:
        self.down()

    # ---- who is there ----

    def describe(self) -> dict:
        """What the supervisor knows: nodes, notes, link."""
        return wire.ask(self.name, {"op": "describe"})[0]

    def node(self, name: str) -> Node:
        if name not in self.nodes:
            raise LabError(f"no {name!r} in lab {self.name!r}: there are {', '.join(self.nodes)}")
        return self.nodes[name]

    def host(self, name: str) -> Node:
        return self.node(name)

    @property
    def hosts(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.plan.is_host]

    @property
    def client(self) -> Node:
        return self.nodes["client"]

    @property
    def admin(self) -> Node:
        return self.nodes["admin"]

    # ---- block devices ----

    def block_device(self, path: str, device: str, hosts: list[str], identity: str = "") -> None:
        """Make a block device of a file (its path in the first of these hosts) and give it to these
        hosts by this name, as one LUN that they share. identity: what their kernels say it is (the
        UUID of the device mapper), so that two devices can have one. It ends with the lab."""
        number = wire.ask(self.name, {"op": "loop", "node": hosts[0], "path": path})[0]["number"]
        for host in hosts:
            self.host(host).make_block_device(device, number, identity)

    # ---- the wires ----

    def link(self, **changes) -> dict:
        """Shape the migration network: rate="1gbit" or None, delay_ms= (one way), loss= (0..1),
        corrupt_every= (a bit is flipped in every Nth TCP segment with data, unseen by TCP; 0: none),
        mtu= (of the hosts' interfaces), drop_above= (longer IP packets vanish without a word; 0: none).
        What is not named stays as it is. Answers what is set now, and `corrupted`: how many."""
        known = ("rate", "delay_ms", "loss", "corrupt_every", "mtu", "drop_above")
        unknown = set(changes) - set(known)
        if unknown:
            raise TypeError(f"link() knows {', '.join(known)}, not {', '.join(unknown)}")
        return wire.ask(self.name, {"op": "shape", "changes": changes})[0]["link"]

    def cut(self, network: str = "migration", host: str = "") -> dict:
        """Drop every frame of a network ("service", "management", "migration", "all"), of one host
        or of all. Nobody is told: no link goes down, no error comes back."""
        request = {"op": "cut", "network": network, "host": host}
        return wire.ask(self.name, request)[0]["link"]

    def restore(self, network: str = "all", host: str = "") -> dict:
        request = {"op": "restore", "network": network, "host": host}
        return wire.ask(self.name, request)[0]["link"]
