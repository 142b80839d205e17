# SPDX-License-Identifier: Apache-2.0
"""Process 1 of a node: builds the node's root, moves into it and then only buries the dead.

Started by the supervisor in new namespaces; reads its plan as JSON from stdin and answers "ready"
or "error TEXT" on stdout. Python's own files may be gone after the move into another release's
root, so everything that is needed afterwards is imported first.
"""

import json
import os
import signal
import socket
import sys

from . import files, kernel, root
from .plan import NodePlan


def _setup(job: dict) -> None:
    plan = NodePlan(**job["plan"])
    nodes = [NodePlan(**node) for node in job["nodes"]]
    socket.sethostname(plan.name)
    path = root.build(plan.name, job["lower"], job["cache"], job["binds"])
    files.write(path, plan, nodes, root.LAB_DIR + "/" + files.KEY_DIR, job["clock_library"])
    files.recall_capabilities(path, plan, job["cache"])
    kernel.pivot_root(path)
    # Bridged frames must not take a detour through the IP firewall, and there is no IPv6 unless it
    # is all there is.
    for table in ("ip", "ip6", "arp"):
        kernel.set_sysctl(f"net.bridge.bridge-nf-call-{table}tables", "0")
    kernel.set_sysctl("net.ipv6.conf.default.disable_ipv6", "0" if plan.ipv6 else "1")


def _bury_the_dead() -> None:
    """Orphans of the node (QEMU, daemons) become our children."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0] != 0:
                pass
        except ChildProcessError:
            pass
        signal.sigwait({signal.SIGCHLD})


def main() -> None:
    job = json.load(sys.stdin)
    try:
        _setup(job)
    except Exception as error:  # whatever it was, the supervisor shall hear it
        print(f"error {type(error).__name__}: {error}", flush=True)
        sys.exit(1)
    print("ready", flush=True)
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    _bury_the_dead()


if __name__ == "__main__":
    main()
