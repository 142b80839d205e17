# SPDX-License-Identifier: Apache-2.0
"""The root file system of a node: a system's files below, a tmpfs above, everything private.

The lower layer is this machine's own root or a debootstrapped one; whatever a node changes lands
in the lab's tmpfs and is gone with it. Directories in which hosts must not see the machine's state
(libvirt's, ssh's, root's home) start out empty.
"""

import os

from . import kernel

# The supervisor's own tmpfs, in its mount namespace only.
LAB_DIR = "/run/lab"
SHARED_DIR = LAB_DIR + "/shared"

_EMPTY_DIRS = {
    "/run": "0755",
    "/tmp": "1777",
    "/var/tmp": "1777",
    "/root": "0700",
    "/var/lib/libvirt": "0711",
    "/var/cache/libvirt": "0711",
    "/var/log/libvirt": "0755",
    "/etc/libvirt": "0755",
    "/etc/ssh": "0755",
}
_DEVICES = {
    "null": 0o666,
    "zero": 0o666,
    "full": 0o666,
    "random": 0o666,
    "urandom": 0o666,
    "tty": 0o666,
    "net/tun": 0o666,
    "vhost-net": 0o660,
    "kvm": 0o660,
    "userfaultfd": 0o600,
    "fuse": 0o666,
}
_KVM_GROUP_DEVICES = {"kvm", "vhost-net"}


def group_id(root: str, name: str) -> int:
    """A group's number by the root's own /etc/group, 0 when it has no such group."""
    try:
        with open(f"{root}/etc/group", encoding="utf-8") as file:
            for line in file:
                fields = line.split(":")
                if fields[0] == name:
                    return int(fields[2])
    except OSError:
        pass
    return 0


def _make_dev(root: str) -> None:
    dev = f"{root}/dev"
    kernel.mount("tmpfs", dev, "tmpfs", kernel.MS_NOSUID, "mode=0755")
    kvm = group_id(root, "kvm")
    for name, mode in _DEVICES.items():
        gid = kvm if name in _KVM_GROUP_DEVICES else 0
        kernel.make_device(f"{dev}/{name}", f"/dev/{name}", mode, gid)
    os.mkdir(f"{dev}/pts")
    kernel.mount(
        "devpts",
        f"{dev}/pts",
        "devpts",
        kernel.MS_NOSUID | kernel.MS_NOEXEC,
        "newinstance,ptmxmode=0666,mode=0620,gid=5",
    )
    kernel.mount_tmpfs(f"{dev}/shm", "1777")
    os.symlink("pts/ptmx", f"{dev}/ptmx")
    os.symlink("/proc/self/fd", f"{dev}/fd")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        os.symlink(f"/proc/self/fd/{number}", f"{dev}/{name}")


def _make_lab_dirs(root: str, cache: str, binds: list[str]) -> None:
    kernel.mount_tmpfs(f"{root}/lab/images", "0755")
    kernel.bind(SHARED_DIR, f"{root}/lab/shared")
    if os.path.isdir(cache):
        # At its own path too: a file of the cache has one name everywhere, and libvirt cannot
        # change its owner (which would copy it into the upper layer).
        kernel.bind(cache, f"{root}/lab/cache", read_only=True)
        kernel.bind(cache, root + cache, read_only=True)
    for path in binds:
        kernel.bind(path, root + path, read_only=True)


def build(name: str, lower: str, cache: str, binds: list[str]) -> str:
    """Put the root of node `name` together (inside its mount namespace); returns its path."""
    base = f"{LAB_DIR}/nodes/{name}"
    root = f"{base}/root"
    for part in ("upper", "work", "root"):
        os.makedirs(f"{base}/{part}")
    os.chmod(f"{base}/upper", 0o755)
    kernel.mount(
        "overlay",
        root,
        "overlay",
        0,
        f"lowerdir={lower},upperdir={base}/upper,workdir={base}/work",
    )
    kernel.mount("proc", f"{root}/proc", "proc")
    kernel.mount("sysfs", f"{root}/sys", "sysfs")
    _make_dev(root)
    for path, mode in _EMPTY_DIRS.items():
        kernel.mount_tmpfs(root + path, mode)
    os.makedirs(f"{root}/run/lock")
    _make_lab_dirs(root, cache, binds)
    return root
