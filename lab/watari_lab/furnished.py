# SPDX-License-Identifier: Apache-2.0
"""A guest with all that people's VMs have beside processors, memory and a disk: firmware with variables of its own, a TPM, a
configuration image, two disks of two kinds, a display, channels, a checkpoint, a mark to start with its host, words of its
owner, and a persistent definition that is not the one that runs.

    furnished.start(lab, "hosta", "f1")
    before = furnished.inventory(lab.host("hosta"), "f1")
    ...
    after = furnished.inventory(lab.host("hostb"), "f1")     # the same, but for what a move may change

It is the small guest, which serves and checks its memory and both disks, started through OVMF.
"""

import hashlib
import os
import re
import struct
import xml.etree.ElementTree

from . import disks, guest

FIRMWARE = "/usr/share/OVMF/OVMF_CODE_4M.fd"
VARIABLES = "/usr/share/OVMF/OVMF_VARS_4M.fd"
OWNER = "https://example.org/owner"
CHECKPOINT = "monday"
SECTOR = 2048


def nvram(name: str) -> str:
    return f"/var/lib/libvirt/qemu/nvram/{name}_VARS.fd"


def images(name: str, shared: bool = False) -> dict[str, str]:
    """Where its images lie: base, disk (on base), data, seed."""
    place = f"{guest.SHARED}/disks" if shared else disks.IMAGES
    return {what: f"{place}/{name}-{what}" for what in ("base.raw", "disk.qcow2", "data.raw", "seed.iso")}


# ---- the image that a cloud gives to a VM ----


def _both(number: int, size: str) -> bytes:
    """A number in both byte orders, as ISO 9660 wants it."""
    return struct.pack("<" + size, number) + struct.pack(">" + size, number)


def _record(name: bytes, sector: int, length: int, folder: bool) -> bytes:
    data = b"\0" + _both(sector, "I") + _both(length, "I") + bytes(7) + bytes([2 if folder else 0, 0, 0])
    data += _both(1, "H") + bytes([len(name)]) + name + bytes(1 - len(name) % 2)
    return bytes([len(data) + 1]) + data


def iso(label: str, files: dict[str, bytes]) -> bytes:
    """A small ISO 9660 image of files in one folder: no date, no Joliet, no path table that anybody reads."""
    root, at, records, contents = 19, 20, [], b""
    for name, data in sorted(files.items()):
        records.append(_record(f"{name.upper()};1".encode(), at, len(data), False))
        padded = data + bytes(-len(data) % SECTOR)
        contents += padded
        at += len(padded) // SECTOR
    folder = _record(b"\0", root, SECTOR, True) + _record(b"\1", root, SECTOR, True) + b"".join(records)
    head = b"\1CD001\1\0" + bytes(32).replace(b"\0", b" ") + label.encode().ljust(32) + bytes(8) + _both(at, "I") + bytes(32)
    head += _both(1, "H") + _both(1, "H") + _both(SECTOR, "H") + _both(10, "I") + struct.pack("<IIII", 18, 0, 0, 0)
    head += _record(b"\0", root, SECTOR, True)
    paths = bytes([1, 0]) + struct.pack("<IH", root, 1) + b"\0\0"
    sectors = [head, b"\xffCD001\1", paths, folder]
    return bytes(16 * SECTOR) + b"".join(sector.ljust(SECTOR, b"\0") for sector in sectors) + contents


def _make_images(node, name: str, shared: bool) -> dict[str, str]:
    paths = images(name, shared)
    disks.make(node, paths["base.raw"], 48, parts=disks.contents(f"{name}-base", 48))
    disks.make(node, paths["disk.qcow2"], 48, "qcow2", backing=paths["base.raw"])
    disks.make(node, paths["data.raw"], 32)
    seed = {"user-data": b"#cloud-config\n{}\n", "meta-data": f"instance-id: {name}\n".encode()}
    node.write_bytes(paths["seed.iso"], iso("cidata", seed))
    return paths


# ---- its definition ----

_OS = """<loader readonly='yes' type='pflash'>{firmware}</loader><nvram template='{variables}'>{nvram}</nvram>"""
_DEVICES = """
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <channel type='unix'><target type='virtio' name='org.example.0'/></channel>
    <console type='pty'><target type='virtio'/></console>
    <graphics type='vnc' port='-1' autoport='yes' listen='127.0.0.1'/>
    <input type='tablet' bus='virtio'/>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>
    <video><model type='vga'/></video>
    <watchdog model='i6300esb' action='none'/>"""
_MORE = "<interface type='bridge'><mac address='52:54:00:66:00:01'/><source bridge='br-svc'/><model type='virtio'/></interface>"


def domain(lab, host, name: str, shared: bool = False, **options) -> str:
    """The XML that libvirt gets; the images must be there."""
    paths = images(name, shared)
    found = [guest.Disk(paths["disk.qcow2"], "qcow2", serial="first"), guest.Disk(paths["data.raw"], serial="second"),
             guest.Disk(paths["seed.iso"], device="cdrom")]  # fmt: skip
    text = guest.small_xml(lab, host, name, disks=found, extra_devices=_DEVICES,
                           words=f"watari.disk_set={disks.AREA_MIB} watari.mem=16", **options)  # fmt: skip
    firmware = _OS.format(firmware=FIRMWARE, variables=VARIABLES, nvram=nvram(name))
    words = f"<title>of {name}</title><description>everything</description><metadata><o:owner xmlns:o='{OWNER}'>me</o:owner></metadata>"
    text = text.replace("<kernel>", f"{firmware}<kernel>").replace("<memballoon model='none'/>", "<memballoon model='virtio'/>")
    text = text.replace("<video><model type='none'/></video>", "").replace("</name>", f"</name>{words}", 1)
    return text


def start(lab, host, name: str, shared: bool = False, wait: bool = True, **options) -> None:
    """Makes its images, starts it and gives it all that belongs to it. options: as for guest.small_xml()."""
    node = lab.host(host) if isinstance(host, str) else host
    _make_images(node, name, shared)
    node.write_text(f"/tmp/{name}.xml", domain(lab, node, name, shared, **options))
    node.virsh("define", f"/tmp/{name}.xml")
    node.virsh("autostart", name)
    node.virsh("start", name)
    node.virsh("checkpoint-create-as", name, CHECKPOINT, "--diskspec", "vda", "--diskspec", "vdb,checkpoint=no",
               "--diskspec", "sdc,checkpoint=no")  # fmt: skip
    node.write_text(f"/tmp/{name}-more.xml", _MORE)
    node.virsh("attach-device", name, f"/tmp/{name}-more.xml", "--config")
    if wait:
        guest.wait_ready(lab, name)


# ---- what it has ----

# What a start finds anew, and what means nothing beyond its host: element, and the attribute or child that is left out.
_PASSING_ATTRIBUTES = (("domain", "id"), ("graphics", "port"), ("console", "tty"), ("source", "index"), ("target", "state"))
_PASSING_CHILDREN = (("channel", "source"), ("console", "source"), ("interface", "target"), ("domain", "currentMemory"))


def _settled(text: str) -> str:
    """A definition without what every start finds anew: ids, aliases, ports, sockets and labels of its host."""
    root = xml.etree.ElementTree.fromstring(text)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in ("alias", "seclabel") or (parent.tag, child.tag) in _PASSING_CHILDREN:
                parent.remove(child)
    for tag, name in _PASSING_ATTRIBUTES:
        for element in root.iter(tag):
            element.attrib.pop(name, None)
    devices = root.find("devices")  # in an order that depends on how it came there
    devices[:] = sorted(devices, key=_canonical)
    return _canonical(root)


def _canonical(element) -> str:
    return xml.etree.ElementTree.canonicalize(xml.etree.ElementTree.tostring(element, "unicode"), strip_text=True)


def _digest(node, path: str) -> str:
    with open(node.path(path), "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


_VARIABLE = struct.Struct("<HBxIQ16xIII16s")  # of an authenticated variable: mark, state, attributes, count, ..., sizes, owner
_WRITTEN = 0x3F
_COUNTER = "MTC"  # goes up with each start


def variables(node, name: str) -> dict[str, bytes]:
    """What the firmware keeps by name: boot order, boot entries, keys, consoles."""
    with open(node.path(nvram(name)), "rb") as file:
        data = file.read()
    found, at = {}, data.find(b"\xaa\x55\x3f\0")
    while 0 <= at <= len(data) - _VARIABLE.size:
        mark, state, _, _, _, name_bytes, data_bytes, _ = _VARIABLE.unpack_from(data, at)
        if mark != 0x55AA:
            break
        begin = at + _VARIABLE.size
        word = data[begin : begin + name_bytes].decode("utf-16-le").rstrip("\0")
        if state == _WRITTEN and word != _COUNTER:
            found[word] = data[begin + name_bytes : begin + name_bytes + data_bytes]
        at = (begin + name_bytes + data_bytes + 3) // 4 * 4
    return found


def _tpm_state(node, name: str) -> dict[str, str]:
    """Files of its TPM by their names; the permanent state changes only when a guest uses it."""
    uuid = node.virsh("domuuid", name).stdout.strip()
    place = f"/var/lib/libvirt/swtpm/{uuid}"
    if not node.exists(place):
        return {}
    return {
        os.path.relpath(path, place): _digest(node, path)
        for path in disks.listing(node, place)
        if not path.endswith((".lock", ".pid", ".sock"))
    }


def inventory(node, name: str, live: bool = True) -> dict:
    """All that it has at a host, in a form that can be compared with another host's. live: it runs there."""
    said = {line.split(":")[0]: line.split(":", 1)[1].strip() for line in node.virsh("dominfo", name).stdout.splitlines() if ":" in line}
    found = {
        "persistent definition": _settled(node.virsh("dumpxml", name, "--inactive", "--security-info").stdout),
        "autostart": said["Autostart"],
        "persistent": said["Persistent"],
        "checkpoints": node.virsh("checkpoint-list", name, "--name").stdout.split(),
        "nvram": _digest(node, nvram(name)),
        "tpm": _tpm_state(node, name),
    }
    if live:
        found["live definition"] = _settled(node.virsh("dumpxml", name, "--security-info").stdout)
        found["bitmaps"] = bitmaps(node, name)
    return found


def bitmaps(node, name: str) -> list[str]:
    """Names of the dirty bitmaps that QEMU keeps of its disks."""
    told = node.virsh("qemu-monitor-command", name, '{"execute": "query-named-block-nodes"}').stdout
    return sorted(set(re.findall(r'"name":"([^"]+)"', "".join(re.findall(r'"dirty-bitmaps":\[(.*?)\]', told)))))
