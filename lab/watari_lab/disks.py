# SPDX-License-Identifier: Apache-2.0
"""Disk images of guests: made with contents worth moving, and compared byte for byte after a move.

    disks.make(lab.host("hosta"), "/lab/images/d.qcow2", 64, "qcow2")
    guest.start(lab, "hosta", "g1", disks=[guest.Disk("/lab/images/d.qcow2", "qcow2")], words="watari.disk_set=4")
    ...
    disks.differing(hosta, "/lab/images/d.qcow2", hostb, "/lab/images/d.qcow2")    # offsets of 4 KiB blocks

The guest keeps the first MiB of each disk for its self-check (AREA_MIB) and never writes behind them, so that there two
images must be the same however long the guest went on; inside, the guest itself says whether each block is what it must be.
"""

import contextlib
import json
import os
import random

BLOCK = 4096
MIB = 1 << 20
AREA_MIB = 4  # what `make` leaves to the guest: start it with watari.disk_set=4
IMAGES = "/lab/images"


def contents(seed: str, mib: int) -> list[tuple[int, bytes]]:
    """(offset, data) of an image of so many MiB: a part of each kind that disks hold, the rest left as holes. The same for
    the same seed. Zeroes that are written are another thing than holes: they take room, and need not travel."""
    source = random.Random(seed)
    noise = source.randbytes(4 * MIB)
    lines = "".join(f"{source.randrange(10**9):09} the quick brown fox {number}\n" for number in range(60000)).encode()
    parts = [(0, noise), (6, lines[: 2 * MIB]), (9, bytes(2 * MIB)), (12, noise[: 2 * MIB]), (15, source.randbytes(BLOCK))]
    return [((AREA_MIB + at) * MIB, data) for at, data in parts if AREA_MIB + at + len(data) / MIB <= mib]


def write_raw(path: str, mib: int, parts) -> None:
    with open(path, "wb") as file:
        file.truncate(mib * MIB)
        for offset, data in parts:
            file.seek(offset)
            file.write(data)


def noise(seed: str, mib: int) -> list[tuple[int, bytes]]:
    """So much that no encoding makes smaller, for whoever needs the copying to last."""
    return [(AREA_MIB * MIB, random.Random(seed).randbytes(mib * MIB))]


def make(node, path: str, mib: int = 32, format: str = "raw", *, backing: str | None = None, parts=None) -> str:
    """A new image at a host, of up to 8 TiB, sparse. parts: what is in it, contents() unless told; backing: a raw image it
    stands on, of the same size, then its own part is a little only. Its path in the host."""
    node.run(["mkdir", "-p", os.path.dirname(path)])
    parts = contents(os.path.basename(path), mib) if parts is None else parts
    if format == "raw":
        write_raw(node.path(path), mib, parts)
    elif backing:
        node.run(["qemu-img", "create", "-q", "-f", format, "-F", "raw", "-b", backing, path])
        node.run(["qemu-io", "-f", format, "-c", f"write -P 0x5a {AREA_MIB + 2}M 64k", path])
    elif parts:
        write_raw(node.path(f"{path}.raw"), mib, parts)
        node.run(["qemu-img", "convert", "-f", "raw", "-O", format, f"{path}.raw", path])
        os.unlink(node.path(f"{path}.raw"))
    else:
        node.run(["qemu-img", "create", "-q", "-f", format, path, f"{mib}M"])
    return path


def info(node, path: str) -> dict:
    """What qemu-img knows of an image, also while QEMU has it open."""
    return json.loads(node.run(["qemu-img", "info", "-U", "--output=json", path]).stdout)


def allocated(node, path: str) -> int:
    """Bytes that the file takes (as du counts), of however many it has."""
    return os.stat(node.path(path)).st_blocks * 512


def listing(node, *places: str) -> set[str]:
    """All files at these places of a host, to see what a move made and left."""
    found = set()
    for place in places or (IMAGES,):
        for folder, _, names in os.walk(node.path(place)):
            found |= {place + os.path.join(folder, name).removeprefix(node.path(place)) for name in names}
    return {path for path in found if "/serial-" not in path}


# ---- comparing ----


@contextlib.contextmanager
def flat(node, path: str, format: str | None = None):
    """The image's contents, as the guest sees them, as a raw file of this machine."""
    if (format or info(node, path)["format"]) == "raw":
        yield node.path(path)
        return
    copy = f"/tmp/flat-{os.path.basename(path)}.raw"
    node.run(["qemu-img", "convert", "-U", "-O", "raw", path, copy])
    try:
        yield node.path(copy)
    finally:
        os.unlink(node.path(copy))


def _extents(fd: int, size: int) -> list[tuple[int, int]]:
    """Where a file has data; the rest is holes."""
    found, at = [], 0
    while at < size:
        try:
            begin = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing but a hole from here on
            break
        at = os.lseek(fd, begin, os.SEEK_HOLE)
        found.append((begin // MIB, -(-at // MIB)))
    return found


def _differing(one: int, two: int, size: int) -> list[int]:
    chunks = {chunk for fd in (one, two) for begin, end in _extents(fd, size) for chunk in range(begin, end)}
    found = []
    for chunk in sorted(chunks):
        a, b = (os.pread(fd, MIB, chunk * MIB) for fd in (one, two))
        if a != b:
            found += [chunk * MIB + at for at in range(0, len(a), BLOCK) if a[at : at + BLOCK] != b[at : at + BLOCK]]
    return found


def differing(node_a, path_a: str, node_b, path_b: str) -> list[int]:
    """Offsets of the 4 KiB blocks in which two images differ, whatever their formats; [-1] if not even the sizes are the
    same. Suspend a guest that uses one of them first: a running QEMU keeps part of a qcow2 to itself."""
    with flat(node_a, path_a) as file_a, flat(node_b, path_b) as file_b, open(file_a, "rb") as a, open(file_b, "rb") as b:
        size = os.fstat(a.fileno()).st_size
        if size != os.fstat(b.fileno()).st_size:
            return [-1]
        return _differing(a.fileno(), b.fileno(), size)


def outside_area(offsets: list[int], area_mib: int = AREA_MIB) -> list[int]:
    """Those that no write of the guest explains."""
    return [offset for offset in offsets if not 0 <= offset < area_mib * MIB]
