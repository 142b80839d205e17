# SPDX-License-Identifier: Apache-2.0
"""Sockets in another network namespace, without starting a process for each request.

A socket belongs for its whole life to the namespace of the thread that made it, so a short-lived thread enters the
namespace, connects, and hands the socket back.
"""

import ctypes
import http.client
import os
import socket
import threading

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def enter(pid: int) -> None:
    """Moves the calling thread, for good, into the network of process pid."""
    with open(f"/proc/{pid}/ns/net", "rb") as namespace:
        if _libc.setns(namespace.fileno(), _CLONE_NEWNET):
            errno = ctypes.get_errno()
            raise OSError(errno, os.strerror(errno))


def connect(pid: int, address: tuple[str, int], timeout: float) -> socket.socket:
    """A TCP connection made in the network of process pid."""
    result: list = []

    def enter_and_connect():
        try:
            enter(pid)
            result.append(socket.create_connection(address, timeout))
        except OSError as error:
            result.append(error)

    thread = threading.Thread(target=enter_and_connect)
    thread.start()
    thread.join()
    if isinstance(result[0], OSError):
        raise result[0]
    return result[0]


def get(pid: int, address: str, path: str, timeout: float) -> str:
    """The body of http://address/path asked from the network of process pid; OSError when there is no good answer."""
    connection = http.client.HTTPConnection(address, 80, timeout=timeout)
    try:
        connection.sock = connect(pid, (address, 80), timeout)
        connection.sock.settimeout(timeout)
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        body = response.read().decode(errors="replace")
    except http.client.HTTPException as error:
        raise OSError(f"{address}{path}: {error!r}") from error
    finally:
        connection.close()
    if response.status != 200:
        raise OSError(f"{address}{path}: {response.status} {response.reason}")
    return body
