# SPDX-License-Identifier: Apache-2.0
"""The few system calls of Linux that Python 3.11 does not wrap, and small file helpers."""

import ctypes
import errno
import fcntl
import os
import stat
import struct

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MNT_DETACH = 2
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    result = _libc.mount(
        source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode()
    )
    _check(result, f"mount {kind or source} on {target}")


def mount_tmpfs(target: str, mode: str = "0755", size: str = "") -> None:
    os.makedirs(target, exist_ok=True)
    mount("tmpfs", target, "tmpfs", 0, f"mode={mode}" + (f",size={size}" if size else ""))


def bind(source: str, target: str, read_only: bool = False) -> None:
    """Bind a directory, and for a writable one all mounts below it too."""
    os.makedirs(target, exist_ok=True)
    mount(source, target, "", MS_BIND | (0 if read_only else MS_REC))
    if read_only:
        mount(source, target, "", MS_BIND | MS_REMOUNT | MS_RDONLY)


def pivot_root(new_root: str) -> None:
    """Make new_root the root of this mount namespace and let go of the old one."""
    os.chdir(new_root)
    number = _SYS_PIVOT_ROOT[os.uname().machine]
    _check(_libc.syscall(ctypes.c_long(number), b".", b"."), f"pivot_root {new_root}")
    _check(_libc.umount2(b".", MNT_DETACH), "umount of the old root")
    os.chdir("/")


def make_device(path: str, machine_path: str, mode: int, gid: int = 0) -> None:
    """A device node of our own beside the machine's, so that our modes and owners stay ours."""
    try:
        info = os.stat(machine_path)
    except FileNotFoundError:
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.mknod(path, stat.S_IFCHR | mode, info.st_rdev)
    os.chmod(path, mode)
    os.chown(path, 0, gid)


_LOOP_CTL_GET_FREE = 0x4C82
_LOOP_CONFIGURE = 0x4C0A
_LO_FLAGS_AUTOCLEAR = 4


def attach_loop(path: str) -> tuple[int, int]:
    """Make a free loop device of a file. Returns a descriptor and the device's number; when nobody has
    the device open any more, it is free again."""
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        while True:
            number = fcntl.ioctl(control, _LOOP_CTL_GET_FREE)
            device = os.open(f"/dev/loop{number}", os.O_RDWR | os.O_CLOEXEC)
            # struct loop_config: fd, block_size, struct loop_info64 with lo_flags at its byte 52
            config = struct.pack("=II52xI248x", file, 0, _LO_FLAGS_AUTOCLEAR)
            try:
                fcntl.ioctl(device, _LOOP_CONFIGURE, config)
                return device, number
            except OSError as error:
                os.close(device)
                if error.errno != errno.EBUSY:  # somebody else has taken it
                    raise
    finally:
        os.close(control)
        os.close(file)


def write_text(path: str, text: str, mode: int = 0o644) -> None:
    """Write a whole file, replacing whatever had its name (even a running program)."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.{os.urandom(6).hex()}"
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(temporary, mode)
    os.replace(temporary, path)


def set_sysctl(name: str, value: str) -> bool:
    """False when this kernel has no such setting. (Bytes: a node may have no codecs any more.)"""
    try:
        with open("/proc/sys/" + name.replace(".", "/"), "wb") as file:
            file.write(value.encode())
    except OSError:
        return False
    return True
