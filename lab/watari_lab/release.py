# SPDX-License-Identifier: Apache-2.0
"""Roots of other Debian releases, debootstrapped once into a cache and only read from then on."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys

from . import mirror, wire
from .errors import LabError

CACHE_VARIABLE = "WATARI_LAB_CACHE"

# What a host needs to be one, then what a Watari binary built on Debian 12 is linked with (the
# sanitizer runtimes serve the instrumented builds).
_PACKAGES = """
    libvirt-daemon libvirt-daemon-driver-qemu libvirt-daemon-system libvirt-clients
    qemu-system-x86 qemu-utils openssh-server openssh-client iproute2 procps
    netcat-openbsd ca-certificates
    libvirt0 libglib2.0-0t64 libjson-glib-1.0-0 libssl3t64 libsqlite3-0 libxxhash0 libzstd1
    libgnutls30t64 libnbd0 libasan8 libubsan1 libtsan2
""".split()

_INSTALL = """\
set -e
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
apt-get -q update
apt-get -q -y -o Dpkg::Options::=--force-unsafe-io install --no-install-recommends "$@"
apt-get clean
rm -rf /var/lib/apt/lists/* /usr/sbin/policy-rc.d
"""


def cache_dir() -> str:
    return os.environ.get(CACHE_VARIABLE, "/var/cache/watari-lab")


def _recipe() -> str:
    return hashlib.sha256(" ".join([_INSTALL, *_PACKAGES]).encode()).hexdigest()


def _run(argv: list[str], what: str) -> None:
    result = subprocess.run(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, env=mirror.environment()
    )
    if result.returncode != 0:
        tail = result.stdout.decode(errors="replace").strip().splitlines()[-12:]
        raise LabError(
            f"{what} failed; its last words were:\n  " + "\n  ".join(tail) + "\n"
            f"Check that the package mirror can be reached (another one: {mirror.MIRROR_VARIABLE}=URL)"
        )


def _install(release: str, root: str) -> None:
    _run(["debootstrap", "--variant=minbase", release, root, mirror.find()], f"debootstrap {release}")
    shutil.copyfile("/etc/resolv.conf", f"{root}/etc/resolv.conf")
    namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", f"--mount-proc={root}/proc"]
    shell = ["chroot", root, "/bin/sh", "-c", _INSTALL, "install", *_PACKAGES]
    _run(namespaces + shell, f"installing packages into the {release} root")


def _forget_old(cache: str, release: str, keep: str) -> None:
    """Roots of earlier recipes, unless a lab that is up may be standing on one."""
    if wire.lab_names():
        return
    for name in os.listdir(cache):
        path = f"{cache}/{name}"
        if name.startswith(f"root-{release}-") and path != keep and os.path.isdir(path):
            shutil.rmtree(path, ignore_errors=True)


def ensure_root(release: str) -> str:
    """The path of `release`'s root; built when there is none by this recipe."""
    cache = cache_dir()
    os.makedirs(cache, mode=0o755, exist_ok=True)
    path = f"{cache}/root-{release}-{_recipe()[:12]}"
    with open(f"{cache}/root-{release}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.isdir(path):
            return path
        print(f"lab: building the Debian {release} root in {path} (once)", file=sys.stderr)
        _forget_old(cache, release, path)
        new = f"{cache}/new-{release}"
        shutil.rmtree(new, ignore_errors=True)
        _install(release, new)
        os.rename(new, path)
    return path
