# SPDX-License-Identifier: Apache-2.0
"""What is done to processes and file systems, each with the proof that it happened: a fault that did not strike proves nothing."""
import errno
import os
import signal
import time


class Premise(AssertionError):
    """The cell did not happen as it says, so it proves nothing."""


def state_of(pid):
    """The kernel's letter for a process, 'X' when there is none."""
    try:
        with open(f'/proc/{pid}/stat', encoding='utf-8') as file:
            return file.read().rsplit(')', 1)[1].split()[0]
    except OSError:
        return 'X'


def is_alive(pid):
    return state_of(pid) not in 'ZX'


def wait_until(condition, seconds, complaint):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Premise(complaint)
        time.sleep(0.01)


def kill_proven(*pids):
    """All of them at once; each lived."""
    for pid in pids:
        if not is_alive(pid):
            raise Premise(f'process {pid} was dead before')
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(is_alive(pid) for pid in pids), 5, f'processes {pids} live on')


def stop_proven(pid):
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: state_of(pid) == 'T', 5, f'process {pid} does not stop')


def continue_if_there(*pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass


def fill_up(path, sizes):
    """A file that takes all the room of its file system: writes of the first size while they succeed, then of the next."""
    with open(path, 'wb', buffering=0) as file:
        for size in sizes:
            try:
                while file.write(bytes(size)):
                    pass
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
    if os.statvfs(os.path.dirname(path)).f_bavail:
        raise Premise('there is still room')
