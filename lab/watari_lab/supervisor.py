# SPDX-License-Identifier: Apache-2.0
"""Process 1 of a lab. Everything the lab is made of hangs on this one process.

It runs in new PID, mount, network, UTS and IPC namespaces that no file refers to, keeps all the
lab's files on a tmpfs in its own mount namespace, and starts the nodes as further namespaces below
its own. So when it ends, however it ends, the kernel kills every process of the lab and drops the
mounts, interfaces and files with them. It ends on `down`, when whoever raised the lab dies (it
polls the raiser's pidfd), and when its parent `unshare` dies (parent-death signal).

Started as: unshare ... python3 -m watari_lab.supervisor LISTENER READY [RAISER], three inherited
descriptors: the bound abstract socket, a pipe that hears "ready" or "error TEXT", a pidfd. The job
comes as JSON on stdin.
"""

import json
import os
import select
import socket
import subprocess
import sys
import time
import traceback

from . import daemons, files, kernel, network, process, root, wire
from .errors import LabError
from .plan import NodePlan

_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_NODE_TIMEOUT = 60
_UNSHARE = ["unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child"]


class NodeRecord:
    """A node that runs: its process 1, in our numbering."""

    def __init__(self, plan: NodePlan, process_: subprocess.Popen, pid: int) -> None:
        self.plan = plan
        self.process = process_
        self.pid = pid

    def run(self, argv: list[str], check: bool = True) -> subprocess.CompletedProcess:
        child = process.NodeProcess(
            process.enter_argv(self.pid, argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=process.node_environment(),
        )
        return process.run_to_end(child, argv, None, _NODE_TIMEOUT, check)


class Supervisor:
    """The lab's state and the requests that change it."""

    def __init__(self, job: dict) -> None:
        self.job = job
        self.plans = [NodePlan(**plan) for plan in job["nodes"]]
        self.nodes: dict[str, NodeRecord] = {}
        self.notes: dict[str, dict] = {}  # what the API wants to remember about each node
        self.switch = network.Switch(job["packet_delay"])
        self.started = time.time()
        self.loops: list[int] = []  # open loop devices, which are detached when the last one closes them

    # ---- raising ----

    def raise_lab(self) -> None:
        kernel.mount("proc", "/proc", "proc")
        kernel.mount_tmpfs("/run", size=self.job["size"])
        os.makedirs(root.SHARED_DIR)
        socket.sethostname(f"lab-{self.job['name']}")
        self._make_keys()
        self.switch.create()
        starting = [(plan, self._start_node(plan)) for plan in self.plans]
        for plan, child in starting:
            self._wait_node(plan, child)
        for node in self.nodes.values():
            if node.plan.is_host:
                daemons.start_sshd(node.run)
        self._start_libvirtds()

    def _make_keys(self) -> None:
        keys = f"{root.LAB_DIR}/{files.KEY_DIR}"
        os.mkdir(keys, 0o700)
        names = ["user"] + [f"host-{plan.name}" for plan in self.plans if plan.is_host]
        for name in names:
            argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"lab {name}"]
            network.run([*argv, "-f", f"{keys}/{name}"])

    def _start_node(self, plan: NodePlan) -> subprocess.Popen:
        child = subprocess.Popen(
            [*_UNSHARE, sys.executable, "-m", "watari_lab.nodeinit"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": _HERE},
        )
        job = {
            "plan": vars(plan),
            "nodes": self.job["nodes"],
            "lower": self.job["lowers"].get(plan.name, "/"),
            "cache": self.job["cache"],
            "binds": self.job["binds"],
            "clock_library": self.job["clock_library"],
        }
        json.dump(job, child.stdin)
        child.stdin.close()
        return child

    def _wait_node(self, plan: NodePlan, child: subprocess.Popen) -> None:
        answer = child.stdout.readline().strip()
        child.stdout.close()
        if answer != "ready":
            raise LabError(f"{plan.name} did not come up: {answer or 'its first process died'}")
        with open(f"/proc/{child.pid}/task/{child.pid}/children", encoding="ascii") as file:
            pid = int(file.read().split()[0])
        self.nodes[plan.name] = NodeRecord(plan, child, pid)
        self.switch.plug(plan, pid)

    def _start_libvirtds(self) -> None:
        """All at once, since each may need seconds to ask QEMU what it can do."""
        hosts = [node for node in self.nodes.values() if node.plan.is_host]
        for node in hosts:
            node.run(["libvirtd", "-d", "-p", daemons.LIBVIRTD_PID_FILE])
        for node in hosts:
            daemons.wait_libvirtd(node.run)
            ask = ["virsh", "-c", "qemu:///system", "domcapabilities", "--virttype", "qemu", "--emulatorbin"]
            node.run([*ask, self.job["emulator"]], check=False)  # answered from what is kept, but for the first time
            files.keep_capabilities(f"/proc/{node.pid}/root", node.plan, self.job["cache"])

    # ---- requests ----

    def answer(self, request: dict) -> tuple[dict, list[int]]:
        handler = getattr(self, "_op_" + str(request.get("op")), None)
        if handler is None:
            return {"error": f"the lab knows no {request.get('op')!r}"}, []
        try:
            return handler(request)
        except (LabError, OSError, subprocess.SubprocessError) as error:
            return {"error": f"{error}"}, []

    def _op_describe(self, _request: dict) -> tuple[dict, list[int]]:
        names, fds = ["lab"], [os.pidfd_open(os.getpid())]
        for name, node in self.nodes.items():
            names.append(name)
            fds.append(os.pidfd_open(node.pid))
        answer = {
            "name": self.job["name"],
            "started": self.started,
            "raiser": self.job["raiser"],
            "nodes": self.job["nodes"],
            "notes": self.notes,
            "link": self.switch.describe(),
            "pidfds": names,
        }
        return answer, fds

    def _op_note(self, request: dict) -> tuple[dict, list[int]]:
        self.notes.setdefault(request["node"], {}).update(request["values"])
        return {}, []

    def _op_shape(self, request: dict) -> tuple[dict, list[int]]:
        self.switch.shape(request["changes"])
        return {"link": self.switch.describe()}, []

    def _op_cut(self, request: dict) -> tuple[dict, list[int]]:
        self.switch.cut(request["network"], request.get("host", ""))
        return {"link": self.switch.describe()}, []

    def _op_restore(self, request: dict) -> tuple[dict, list[int]]:
        self.switch.restore(request.get("network", "all"), request.get("host", ""))
        return {"link": self.switch.describe()}, []

    def _op_loop(self, request: dict) -> tuple[dict, list[int]]:
        fd, number = kernel.attach_loop(f"/proc/{self.nodes[request['node']].pid}/root{request['path']}")
        self.loops.append(fd)
        return {"number": number}, []

    def _op_down(self, _request: dict) -> tuple[dict, list[int]]:
        return {"down": True}, [os.pidfd_open(os.getpid())]

    # ---- the loop ----

    def serve_one(self, listener: socket.socket) -> bool:
        """Answer one request; False when the lab shall end."""
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(10)
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            if int.from_bytes(credentials[4:8], sys.byteorder) != 0:
                return True
            fds: list[int] = []
            answer: dict = {}
            try:
                request, _ = wire.receive_message(connection)
                if request is None:
                    return True
                answer, fds = self.answer(request)
                wire.send_message(connection, answer, fds)
            except (OSError, ValueError):
                pass  # also of who did not wait for the answer: what was asked is done
            finally:
                for fd in fds:
                    os.close(fd)
        return "down" not in answer

    def serve(self, listener: socket.socket, raiser: int | None) -> None:
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        if raiser is not None:
            poll.register(raiser, select.POLLIN)
        while True:
            for fd, _ in poll.poll(1000):
                if fd == raiser or not self.serve_one(listener):
                    return
            self._bury_orphans()

    def _bury_orphans(self) -> None:
        """Reap what was left to us as process 1; our own children are Popen's business."""
        own = [node.process for node in self.nodes.values()]
        for child in own:
            child.poll()
        known = {child.pid for child in own} | self.switch.child_pids()
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None or found.si_pid in known:
                return
            os.waitpid(found.si_pid, os.WNOHANG)


def main() -> None:
    listener = socket.socket(fileno=int(sys.argv[1]))
    ready = int(sys.argv[2])
    raiser = int(sys.argv[3]) if len(sys.argv) > 3 else None
    supervisor = Supervisor(json.load(sys.stdin))
    try:
        supervisor.raise_lab()
        # Only who listens is told to clients as the peer, so this is left to us.
        listener.listen(64)
    except Exception as error:
        text = str(error) if isinstance(error, LabError) else traceback.format_exc()
        os.write(ready, f"error {text}".encode())
        os._exit(1)
    os.write(ready, b"ready")
    os.close(ready)
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    supervisor.serve(listener, raiser)
    os._exit(0)


if __name__ == "__main__":
    main()
