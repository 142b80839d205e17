# SPDX-License-Identifier: Apache-2.0
"""How the outside talks to a lab's supervisor.

An abstract unix socket, so there is no file to leave behind and the kernel itself guards against
two labs of one name. One JSON object a line goes each way; process ids travel as pidfds, since the
supervisor's own numbers mean nothing outside its PID namespace.
"""

import array
import json
import os
import socket

from .errors import LabError

PREFIX = "watari-lab/"
MAX_MESSAGE = 1 << 20


def socket_name(lab: str) -> str:
    return "\0" + PREFIX + lab


def lab_names() -> list[str]:
    """The labs that exist on this machine (in this network namespace)."""
    names = set()
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as table:
        for line in table:
            _, _, name = line.rstrip("\n").partition("@" + PREFIX)
            if name:
                names.add(name)
    return sorted(names)


def send_message(connection: socket.socket, message: dict, fds: list[int] | None = None) -> None:
    data = json.dumps(message).encode() + b"\n"
    if fds:
        sent = connection.sendmsg(
            [data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        )
        data = data[sent:]
    if data:  # sendall of nothing is a send, and fails when the reader has its message and is gone
        connection.sendall(data)


def receive_message(connection: socket.socket) -> tuple[dict | None, list[int]]:
    """One message and the descriptors that came with it; None at the end of the conversation."""
    data = b""
    fds: list[int] = []
    while not data.endswith(b"\n"):
        chunk, got, _, _ = socket.recv_fds(connection, 65536, 64)
        fds += got
        if not chunk or len(data) > MAX_MESSAGE:
            return None, fds
        data += chunk
    return json.loads(data), fds


def pid_of_pidfd(fd: int) -> int:
    """The process behind a pidfd, as numbered in our own PID namespace."""
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as info:
        for line in info:
            if line.startswith("Pid:"):
                return int(line.split()[1])
    return -1


def ask(lab: str, message: dict, timeout: float = 60.0) -> tuple[dict, dict[str, int]]:
    """Ask the supervisor of `lab`; its answer, and the process ids it handed over by name."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(socket_name(lab))
        except OSError as error:
            known = ", ".join(lab_names()) or "none"
            if lab in lab_names():
                raise LabError(f"lab {lab!r} is still being raised: try again in a moment") from None
            raise LabError(
                f"lab {lab!r} does not answer ({error.strerror}); labs that are up: {known}"
            ) from None
        send_message(connection, message)
        answer, fds = receive_message(connection)
    pids = {}
    for name, fd in zip((answer or {}).get("pidfds", []), fds):
        pids[name] = pid_of_pidfd(fd)
        os.close(fd)
    if answer is None:
        raise LabError(f"lab {lab!r} ended while it was asked to {message['op']}")
    if "error" in answer:
        raise LabError(answer["error"])
    return answer, pids
