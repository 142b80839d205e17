# SPDX-License-Identifier: Apache-2.0
"""An interactive shell inside a node, with a terminal of its own so that job control works."""

import fcntl
import os
import pty
import signal
import struct
import sys
import termios

from . import process
from .node import Node


def _copy_size(master: int) -> None:
    size = fcntl.ioctl(sys.stdin.fileno(), termios.TIOCGWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
    fcntl.ioctl(master, termios.TIOCSWINSZ, size)


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
        pty.tty.setraw(sys.stdin)
        pty._copy(master)
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSAFLUSH, old)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
