# SPDX-License-Identifier: Apache-2.0
"""An interactive shell inside a node, with a terminal of its own so that job control works."""

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import tty

from . import process
from .node import Node


def _copy_size(master: int) -> None:
    size = fcntl.ioctl(sys.stdin.fileno(), termios.TIOCGWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
    fcntl.ioctl(master, termios.TIOCSWINSZ, size)


def _carry(master: int, ended: int) -> None:
    """Between our terminal and the shell's, until the shell ends (not what it left running)."""
    stdin, stdout = sys.stdin.fileno(), sys.stdout.fileno()
    while True:
        ready, _, _ = select.select([master, stdin, ended], [], [])
        for source, target in ((master, stdout), (stdin, master)):
            if source in ready:
                try:
                    data = os.read(source, 65536)
                except OSError:  # the other side of a pty has gone
                    return
                if not data:
                    return
                os.write(target, data)
        if ended in ready and master not in ready:
            return


def run_command(node: Node, argv: list[str]) -> int:
    """Run a command with our own stdin, stdout and stderr; its exit status."""
    child = node.popen(argv, cwd="/root")
    while True:
        try:
            status = child.wait()
            return status if status >= 0 else 128 - status
        except KeyboardInterrupt:
            child.send_signal(signal.SIGINT)


def run_shell(node: Node) -> int:
    """A login shell on the terminal we have."""
    environment = process.node_environment({"PS1": r"[\u@\h \w]\$ "})
    argv = process.enter_argv(node.pid, ["setsid", "--ctty", "--wait", "bash", "-l"], "/root")
    pid, master = pty.fork()
    if pid == 0:
        os.execve(argv[0], argv, environment)
    _copy_size(master)
    signal.signal(signal.SIGWINCH, lambda *_: _copy_size(master))
    old = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin, termios.TCSADRAIN)
        _carry(master, os.pidfd_open(pid))
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, old)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
