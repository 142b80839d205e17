# SPDX-License-Identifier: Apache-2.0
"""What the lab's guests boot from: Debian's own kernel, and initramfs and disk images made here.

Everything lives in a cache directory and is made once; the second time nothing is downloaded. Only Debian's package tools
and the Python standard library are used: no loop device, no mount, no root file system of the host's.
"""

import hashlib
import os
import re
import shutil
import stat
import subprocess
import tempfile
import time
from pathlib import Path

from . import mirror
from .errors import LabError

TOP = Path(__file__).resolve().parents[2]
GUEST_DIR = TOP / "lab" / "guest"
CACHE = Path(os.environ.get("WATARI_LAB_CACHE", "/var/cache/watari-lab"))
KERNEL_PACKAGE = "linux-image-amd64"
# In the order they must be loaded.
SMALL_MODULES = ["virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "failover",
                 "net_failover", "virtio_net", "virtio_blk"]

DEBIAN_MODULES = [*SMALL_MODULES, "crc16", "mbcache", "jbd2", "crc32c_generic", "ext4"]
DEBIAN_RELEASE = "bookworm"
DEBIAN_MIB = 3072
FORGET_AFTER_S = 7 * 86400


class ImageError(LabError):
    """An image could not be made; the message says what to do."""


def _run(*command, cwd=None, env=None):
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    if done.returncode:
        raise ImageError(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _kernel_release(tree):
    """The release in an unpacked kernel tree, or None."""
    found = sorted((tree / "boot").glob("vmlinuz-*")) if tree.is_dir() else []
    return found[-1].name.removeprefix("vmlinuz-") if found else None


def _kernel_package_name():
    """The real package behind Debian's linux-image-amd64."""
    depends = _run("apt-cache", "depends", KERNEL_PACKAGE)
    match = re.search(r"Depends: (linux-image-\S+)", depends)
    if not match:
        raise ImageError(f"apt knows no {KERNEL_PACKAGE}; run apt-get update")
    return match.group(1)


def kernel_tree(cache=CACHE):
    """The directory Debian's kernel package is unpacked in (boot/ and lib/modules/), fetched once."""
    tree = Path(cache) / "kernel"
    if _kernel_release(tree):
        return tree
    Path(cache).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as work:
        os.chmod(work, 0o755)
        _run("apt-get", "download", "-q", _kernel_package_name(), cwd=work)
        package = next(Path(work).glob("*.deb"))
        fresh = Path(work) / "tree"
        _run("dpkg-deb", "-x", package, fresh)
        os.chmod(fresh, 0o755)
        try:
            fresh.rename(tree)
        except OSError:
            if not _kernel_release(tree):  # somebody else was not faster, it really failed
                raise
    return tree


def find_program(room, name):
    """A program of the lab (lab/ROOM/NAME) from the build directory."""
    places = [Path(os.environ["WATARI_BUILD"])] if os.environ.get("WATARI_BUILD") else []
    places += [TOP / "build", *sorted(TOP.glob("build*"))]
    for place in places:
        program = place / "lab" / room / name
        if program.is_file():
            return program
    raise ImageError(f"{name} is not built: run make (or name the build directory in WATARI_BUILD)")


class Cpio:
    """An initramfs in the making (the kernel's "newc" format), with no device nodes or root rights needed."""

    def __init__(self):
        self._parts = []
        self._inode = 0

    def add(self, path, data=b"", mode=stat.S_IFREG | 0o755, device=(0, 0)):
        self._inode += 1
        name = path.encode() + b"\0"
        fields = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, device[0], device[1], len(name), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
        self._parts += [head, b"\0" * (-len(head) % 4), data, b"\0" * (-len(data) % 4)]

    def directory(self, path):
        self.add(path, mode=stat.S_IFDIR | 0o755)

    def node(self, path, major, minor):
        self.add(path, mode=stat.S_IFCHR | 0o600, device=(major, minor))

    def bytes(self):
        self.add("TRAILER!!!", mode=0)
        return b"".join(self._parts)


def _module_files(tree, names):
    """Paths of kernel modules by name; a module that is built in is left out."""
    modules = tree / "lib" / "modules" / _kernel_release(tree)
    builtin = {Path(line).stem.replace("-", "_") for line in (modules / "modules.builtin").read_text().split()}
    by_name = {path.name.split(".")[0].replace("-", "_"): path for path in (modules / "kernel").rglob("*.ko")}
    for name in names:
        if name not in by_name and name not in builtin:
            raise ImageError(f"kernel {modules.name} has no module {name}")
    return [by_name[name] for name in names if name in by_name]


def _busybox():
    for place in ("/bin/busybox", "/usr/bin/busybox"):
        if Path(place).is_file() and _is_static(place):
            return Path(place)
    raise ImageError("no static busybox: apt-get install busybox-static")


def _is_static(path):
    """True for an ELF program that names no interpreter."""
    try:
        return b"/lib64/ld-linux" not in Path(path).read_bytes()[:8192]
    except OSError:
        return False


def _initramfs(tree, init, modules, programs):
    """busybox, kernel modules in the order they are to be loaded, and programs {path: file}."""
    cpio = Cpio()
    for path in ("bin", "dev", "proc", "sys", "modules", "root"):
        cpio.directory(path)
    cpio.node("dev/console", 5, 1)
    cpio.node("dev/null", 1, 3)
    cpio.add("init", (GUEST_DIR / init).read_bytes())
    cpio.add("bin/busybox", _busybox().read_bytes())
    for path, program in programs.items():
        cpio.add(path, Path(program).read_bytes())
    files = _module_files(tree, modules)
    for module in files:
        cpio.add(f"modules/{module.name}", module.read_bytes())
    cpio.add("modules/order", "\n".join(module.name for module in files).encode() + b"\n")
    return cpio.bytes()


def _keep(path, data):
    """Writes a file whole or not at all, readable by everybody."""
    if path.is_file() and path.read_bytes() == data:
        return path
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_bytes(data)
    fresh.chmod(0o644)
    fresh.rename(path)
    return path


def _used(path, pattern):
    """Marks a cached file as used now, and clears away its predecessors that nobody has used for a week."""
    os.utime(path)
    for old in path.parent.glob(pattern):
        try:
            if time.time() - old.stat().st_mtime > FORGET_AFTER_S:
                old.unlink()
        except OSError:
            pass  # another process was faster
    return path


def _kernel_and_initrd(cache, name, init, modules, programs):
    """The initrd's file name carries its content, so that a new program makes a new file."""
    cache = Path(cache)
    tree = kernel_tree(cache)
    data = _initramfs(tree, init, modules, programs)
    initrd = _keep(cache / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}.initrd", data)
    return tree / "boot" / f"vmlinuz-{_kernel_release(tree)}", _used(initrd, f"{name}-*.initrd")


def emulator_in_hosts(cache=CACHE):
    """Path, in the hosts, of the QEMU for guests without KVM (guest/qemu-tcg). It lies in the cache, because libvirt asks each
    emulator what it can, which takes seconds, unless it has seen this very file before, in whichever lab."""
    text = (GUEST_DIR / "qemu-tcg").read_bytes()
    path = Path(cache) / f"qemu-tcg-{hashlib.sha256(text).hexdigest()[:12]}"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        fresh.write_bytes(text)
        fresh.chmod(0o755)
        fresh.rename(path)
    return f"/lab/cache/{path.name}"


def build_small(cache=CACHE):
    """(kernel, initrd) of the small guest."""
    return _kernel_and_initrd(cache, "small", "init", SMALL_MODULES, {"bin/guestd": find_program("guest", "guestd")})


def build_debian(cache=CACHE, packages=()):
    """(kernel, initrd, disk image) of the Debian guest, with further packages. The image is raw and sparse; guests get
    overlays of it. Making it takes minutes and the network, once for each state of its recipe. guestd comes with the
    initrd, newest always."""
    cache = Path(cache)
    kernel, initrd = _kernel_and_initrd(cache, "debian", "init-debian", DEBIAN_MODULES,
                                         {"bin/guestd": find_program("guest", "guestd")})
    recipe = (GUEST_DIR / "debian-setup").read_bytes()
    mark = hashlib.sha256(recipe + " ".join(packages).encode()).hexdigest()[:12]
    image = cache / f"debian-{mark}.raw"
    if not image.is_file():
        _make_debian(cache, image, recipe, packages)
    return kernel, initrd, _used(image, "debian-*.raw")


def _make_debian(cache, image, recipe, packages):
    """debootstrap in a mount namespace of its own, then a file system made from the directory: no loop device."""
    if not shutil.which("debootstrap"):
        raise ImageError("the Debian guest needs debootstrap: apt-get install debootstrap")
    with tempfile.TemporaryDirectory(dir=cache) as work:
        root = Path(work) / "root"
        _run("unshare", "--mount", "debootstrap", "--variant=minbase", "--include=ca-certificates", DEBIAN_RELEASE, root,
             mirror.find(), env=mirror.environment())
        tools = root / "usr/lib/watari"
        tools.mkdir(parents=True)
        (tools / "setup").write_bytes(recipe)
        (tools / "setup").chmod(0o755)
        _run("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc=" + str(root / "proc"), "chroot", root,
             "/usr/lib/watari/setup", env=mirror.environment())
        if packages:  # without services: nothing keeps them from being started
            words = "apt-get update -q && apt-get install -q -y --no-install-recommends $0 $@ && apt-get clean && rm -rf /var/lib/apt/lists/*"
            _run("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc=" + str(root / "proc"), "chroot", root,
                 "/bin/sh", "-c", words, *packages, env=mirror.environment())
        fresh = Path(work) / "image"
        with open(fresh, "wb") as file:
            file.truncate(DEBIAN_MIB << 20)
        _run("mke2fs", "-q", "-F", "-t", "ext4", "-d", root, fresh)
        fresh.chmod(0o644)
        fresh.rename(image)


def share(path, directory):
    """A copy of a file in a directory that the hosts share, made once; returns where it is."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / Path(path).name
    if not target.exists() or target.stat().st_size != Path(path).stat().st_size:
        fresh = directory / f".{target.name}.{os.getpid()}"
        shutil.copyfile(path, fresh)
        fresh.chmod(0o755 if os.access(path, os.X_OK) else 0o644)
        fresh.rename(target)
    return target
