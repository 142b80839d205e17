# SPDX-License-Identifier: Apache-2.0
"""Guests of the lab: define, start, find, ask and end them.

    from watari_lab import Lab, guest

    with Lab("demo") as lab:
        guest.start(lab, "hosta", "g1", pattern="text", rate=2000, set_mib=64)
        guest.load(lab, "g1", "random", rate=500)
        guest.check(lab, "g1")             # raises GuestError with the first wrong page
        print(guest.where(lab, "g1"))      # {"hosta": "running"}
        guest.stop(lab, None, "g1")

Guests are asked from the client's network, as a user of theirs would. Their kernel and initrd lie in /lab/shared, which all
hosts have, so a guest can be moved to any of them; the serial log lies on the host it was written on.
"""

import dataclasses
import fcntl
import json
import os
import subprocess
import time
import xml.sax.saxutils

from . import guest_image, netio, plan
from .errors import LabError

MACHINE = "pc-q35-7.2"  # QEMU 7.2 and everything later has it
# A model every QEMU can emulate in full and whose features do not depend on QEMU's version.
CPU_TCG = "qemu64"
CPU_KVM = "host-model"
BOOT_TIMEOUT = 120
BOOT_TIMEOUT_DEBIAN = 600
SHARED = "/lab/shared"
# tsc=unstable: on a busy machine a guest under TCG measures its TSC wrongly, and then its time runs too fast or too slow.
# The others leave out what takes long at boot and is of no use here.
KERNEL_WORDS = (
    "console=ttyS0 quiet panic=1 mitigations=off tsc=unstable nokaslr edd=off cryptomgr.notests nmi_watchdog=0 audit=0 "
    "rcupdate.rcu_expedited=1 ipv6.disable=1 i8042.noaux=1 i8042.nokbd=1 8250.nr_uarts=1"
)


class GuestError(LabError):
    """A guest did not do what it should; the message names it."""


@dataclasses.dataclass
class Disk:
    """A virtio disk. path as the hosts see it, "" for an empty drive; cache None lets `start` take the strictest the file
    system can do. device: "disk", or "cdrom", which sits on SATA and which the small guest does not look at."""

    path: str
    format: str = "raw"
    cache: str | None = None
    serial: str = ""
    readonly: bool = False
    device: str = "disk"

    def xml(self, index: int) -> str:
        serial = f"<serial>{_escape(self.serial)}</serial>" if self.serial else ""
        letter, cdrom = chr(ord("a") + index), self.device == "cdrom"
        block = self.path.startswith("/dev/")
        return (
            f"<disk type='{'block' if block else 'file'}' device='{self.device}'>"
            f"<driver name='qemu' type='{self.format}' cache='{self.cache or 'none'}' discard='unmap'/>"
            + (f"<source {'dev' if block else 'file'}='{_escape(self.path)}'/>" if self.path else "")
            + (f"<target dev='sd{letter}' bus='sata'/>" if cdrom else f"<target dev='vd{letter}' bus='virtio'/>")
            + ("<readonly/>" if self.readonly or cdrom else "")
            + f"{serial}</disk>"
        )


def _escape(text) -> str:
    return xml.sax.saxutils.escape(str(text), {"'": "&apos;", '"': "&quot;"})


def _cpu_xml(cpu: str) -> str:
    if cpu in ("host-model", "host-passthrough"):
        return f"<cpu mode='{cpu}'/>"
    if cpu == "maximum":
        return "<cpu mode='maximum'/>"
    return f"<cpu mode='custom' match='exact' check='none'><model fallback='forbid'>{cpu}</model></cpu>"


def domain_xml(
    name: str,
    *,
    kernel: str,
    initrd: str,
    cmdline: str,
    mac: str,
    memory_mib: int = 256,
    vcpus: int = 1,
    type: str = "qemu",  # as in libvirt's XML: "kvm", or "qemu" for TCG
    machine: str = MACHINE,
    cpu: str | None = None,
    bridge: str = "br-svc",
    disks: list[Disk] = (),
    serial_log: str | None = None,
    emulator: str | None = None,  # None: the host's own
    extra_devices: str = "",
    extra: str = "",
) -> str:
    """A whole libvirt domain: direct kernel boot, virtio only, nothing that a guest of ours does not need."""
    cpu = cpu or (CPU_KVM if type == "kvm" else CPU_TCG)
    serial = (
        f"<serial type='file'><source path='{_escape(serial_log)}' append='on'/><target port='0'/></serial>"
        if serial_log
        else "<serial type='null'><target port='0'/></serial>"
    )
    return f"""\
<domain type='{type}'>
  <name>{_escape(name)}</name>
  <memory unit='MiB'>{memory_mib}</memory>
  <vcpu>{vcpus}</vcpu>
  <os>
    <type arch='x86_64' machine='{machine}'>hvm</type>
    <kernel>{_escape(kernel)}</kernel>
    <initrd>{_escape(initrd)}</initrd>
    <cmdline>{_escape(cmdline)}</cmdline>
  </os>
  <features><acpi/><apic/></features>
  {_cpu_xml(cpu)}
  <clock offset='utc'/>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    {f"<emulator>{_escape(emulator)}</emulator>" if emulator else ""}
    {"".join(disk.xml(index) for index, disk in enumerate(disks))}
    <interface type='bridge'>
      <mac address='{mac}'/>
      <source bridge='{bridge}'/>
      <model type='virtio'/>
      <rom enabled='no'/>
    </interface>
    {serial}
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
    <video><model type='none'/></video>
    {extra_devices}
  </devices>
  {extra}
</domain>
"""


# ---- acceleration ----


def acceleration() -> str:
    """ "kvm" if a guest really boots on it here, else "qemu" (TCG). Found by trying, once a boot of this machine."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
    except OSError:
        boot = "unknown"
    note = guest_image.CACHE / "acceleration"
    try:
        known, _, found = note.read_text().strip().partition(" ")
        if known == boot and found in ("kvm", "qemu"):
            return found
    except OSError:
        pass
    found = "kvm" if os.access("/dev/kvm", os.R_OK | os.W_OK) and _boots_on_kvm() else "qemu"
    guest_image.CACHE.mkdir(parents=True, exist_ok=True)
    note.write_text(f"{boot} {found}\n")
    return found


def _boots_on_kvm() -> bool:
    kernel, initrd = guest_image.build_small()
    argv = ["qemu-system-x86_64", "-accel", "kvm", "-cpu", "host", "-m", "192", "-nodefaults", "-display", "none"]
    argv += ["-kernel", str(kernel), "-initrd", str(initrd), "-append", "console=ttyS0 quiet watari.name=probe"]
    argv += ["-serial", "stdio", "-no-reboot"]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as qemu:
        os.set_blocking(qemu.stdout.fileno(), False)
        seen = b""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and qemu.poll() is None and b"probe serves" not in seen:
            seen += qemu.stdout.read() or b""
            time.sleep(0.05)
        qemu.kill()
    return b"probe serves" in seen


# ---- who has which address ----


def _registry(lab, change=None):
    """The lab's guests by name, kept in its shared directory; change(guests) may alter them."""
    path = lab.hosts[0].path(f"{SHARED}/guests.json")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    with open(fd, "r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        text = file.read()
        guests = json.loads(text) if text else {}
        if change:
            change(guests)
            file.seek(0)
            file.truncate()
            json.dump(guests, file)
    return guests


def _number(lab, name: str) -> int:
    def take(guests):
        used = {guest["number"] for guest in guests.values()}
        free = next(n for n in range(plan.FIRST_GUEST_NUMBER, 255) if n not in used)
        guests.setdefault(name, {"number": free})

    return _registry(lab, take)[name]["number"]


def adopt(lab, name: str, number: int, files=()) -> None:
    """Makes room for a guest that was saved in another lab: its number (address and MAC), the files it boots from."""
    _registry(lab, lambda guests: guests.update({name: {"number": number}}))
    for path in files:
        _shared_file(lab, path, name)


def address(lab, name: str) -> str:
    """The guest's address on the service network."""
    guests = _registry(lab)
    if name not in guests:
        raise GuestError(f"no guest {name!r} in lab {lab.name!r}: start it first")
    return plan.SERVICE.address(guests[name]["number"])


# ---- start, find, stop ----


def _node(lab, host):
    return lab.host(host) if isinstance(host, str) else host


def _shared_file(lab, path, name: str) -> str:
    """Puts a file of this machine into the lab's shared directory, for one guest alone: libvirt notes the owner it
    gives a file, and refuses to share it between hosts whose QEMUs run as different users. Its path in the hosts."""
    copy = guest_image.share(path, lab.hosts[0].path(f"{SHARED}/boot/{name}"))
    return f"{SHARED}/boot/{name}/{copy.name}"


def _direct_io(path: str) -> bool:
    """Whether a file can be opened as cache='none' needs it (tmpfs cannot, in older kernels)."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECT))
        return True
    except OSError:
        return False


def _load_words(options: dict) -> str:
    return " ".join(f"watari.{key}={value}" for key, value in options.items() if value not in (None, ""))


def make_disk(lab, name: str, size_mib: int = 32, host=None) -> str:
    """A new sparse raw image, shared by all hosts, or on one host only; its path in the hosts."""
    directory = SHARED + "/disks" if host is None else "/lab/images"
    node = lab.hosts[0] if host is None else _node(lab, host)
    path = f"{directory}/{name}.raw"
    os.makedirs(node.path(directory), exist_ok=True)
    with open(node.path(path), "wb") as file:
        file.truncate(int(size_mib) << 20)
    return path


def _serial_log(name: str) -> str:
    """One on each host: on a shared file libvirt would refuse a QEMU user with another number there."""
    return f"/lab/images/serial-{name}.log"


def _domain(lab, node, name: str, images, options: dict, words: str, disks, **domain) -> str:
    """The domain XML of a guest with its place in this lab: address, MAC, files, serial log."""
    number = _number(lab, name)
    kernel, initrd = images
    options = {"name": name, "ip": f"{plan.SERVICE.address(number)}/{plan.NETMASK}", **options}
    disks = [disk if isinstance(disk, Disk) else Disk(disk) for disk in disks]
    for disk in disks:
        disk.cache = disk.cache or ("none" if disk.path and _direct_io(node.path(disk.path)) else "writeback")
    domain.setdefault("type", acceleration())
    if domain["type"] == "qemu":  # TCG of QEMU before 9.0 loses dirtied pages; the script says why
        domain.setdefault("emulator", guest_image.emulator_in_hosts())
    domain["memory_mib"] = int(domain.get("memory_mib", 256))
    return domain_xml(
        name,
        kernel=_shared_file(lab, kernel, name),
        initrd=_shared_file(lab, initrd, name),
        cmdline=f"{KERNEL_WORDS} {_load_words(options)} {words}".strip(),
        mac=f"52:54:00:77:00:{number:02x}",
        disks=disks,
        serial_log=_serial_log(name),
        **domain,
    )


def small_xml(lab, host, name: str, *, pattern="none", set_mib=None, rate=None, disks=(), words="", **domain) -> str:
    """The domain XML of a small guest as `start` would use it. words: more `watari.KEY=VALUE` for the kernel's
    command line; further arguments as for domain_xml()."""
    options = {"pattern": pattern, "set": set_mib, "rate": rate}
    return _domain(lab, _node(lab, host), name, guest_image.build_small(), options, words, disks, **domain)


def debian_xml(lab, host, name: str, *, service="", shared=True, words="", memory_mib=1024, packages=(), **domain) -> str:
    """The domain XML of the Debian guest, with a fresh overlay of the cached image as its disk. service: the load that
    runs from boot on: "redis", "sqlite", or nothing. shared: the overlay lies where all hosts see it."""
    node = _node(lab, host)
    kernel, initrd, image = guest_image.build_debian(packages=packages)
    directory = SHARED + "/disks" if shared else "/lab/images"
    path = f"{directory}/{name}.qcow2"
    base = f"{SHARED}/boot/{name}/{image.name}" if not os.path.exists(node.path(f"/lab/cache/{image.name}")) else f"/lab/cache/{image.name}"
    if not os.path.exists(node.path(base)):
        _shared_file(lab, image, name)
    os.makedirs(node.path(directory), exist_ok=True)
    node.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, path])
    options = {"service": service, "mem": 32, "disk_rate": 0, "disk_set": 0, "http_port": 81, "ready_file": "/run/watari-ready"}
    words = f"net.ifnames=0 {words}"
    disks = [Disk(path, "qcow2")]
    return _domain(lab, node, name, (kernel, initrd), options, words, disks, memory_mib=memory_mib, **domain)


KINDS = {"small": small_xml, "debian": debian_xml}


def start(lab, host, name: str, *, kind="small", persistent=False, wait=True, **options) -> str:
    """Starts a guest (options as for small_xml or debian_xml) and, unless told otherwise, waits until it serves and its
    memory is filled, the page cache of the Debian guest too. Returns its address."""
    if kind not in KINDS:
        raise GuestError(f"no kind of guest {kind!r}: there are {', '.join(KINDS)}")
    node = _node(lab, host)
    text = KINDS[kind](lab, node, name, **options)
    path = f"/tmp/{name}.xml"
    node.write_text(path, text)
    if persistent:
        node.virsh("define", path)
        node.virsh("start", name)
    else:
        node.virsh("create", path)
    if wait:
        wait_ready(lab, name, BOOT_TIMEOUT if kind == "small" else BOOT_TIMEOUT_DEBIAN)
    return address(lab, name)


def wait_ready(lab, name: str, timeout: float = BOOT_TIMEOUT) -> dict:
    """Waits for the guest's first answer and for its memory to be filled."""
    deadline = time.monotonic() + timeout
    last: Exception | str = "no answer"
    while time.monotonic() < deadline:
        try:
            answer = http(lab, name, "/", timeout=1)
            if answer["ready"]:
                return answer
            last = "its memory is not filled yet"
        except OSError as error:
            last = error
        time.sleep(0.05)
    raise GuestError(f"guest {name!r} is not ready after {timeout:.0f} s ({last}); its console ends: {serial(lab, name)[-400:]!r}")


def where(lab, name: str) -> dict[str, str]:
    """On which hosts the guest is, and in what state: {"hosta": "running", "hostb": "paused"}."""
    found = {}
    for node in lab.hosts:
        told = node.virsh("domstate", name, check=False)
        state = told.stdout.strip()
        if told.returncode == 0 and state != "shut off":
            found[node.name] = state
    return found


def stop(lab, host, name: str) -> None:
    """Ends a guest on a host (None: wherever it is) and forgets its definition there."""
    for node in lab.hosts if host is None else [_node(lab, host)]:
        node.virsh("destroy", name, check=False)
        node.virsh("undefine", name, "--managed-save", "--snapshots-metadata", check=False)
    if not where(lab, name):
        _registry(lab, lambda guests: guests.pop(name, None))


def serial(lab, name: str) -> str:
    """What the guest has said on its serial console so far, host by host."""
    said = ""
    for node in lab.hosts:
        try:
            said += node.read_text(_serial_log(name))
        except OSError:
            pass  # it never ran there
    return said


# ---- ask ----


def http(lab, name: str, path: str = "/", timeout: float = 10):
    """GET from the guest, asked in the client's network; the JSON it answers. OSError when it does not."""
    return json.loads(netio.get(lab.client.pid, address(lab, name), path, timeout))


def state(lab, name: str) -> dict:
    """All the guest knows of itself: memory, disk, time, services."""
    return http(lab, name, "/state")


def check(lab, name: str, timeout: float = 120) -> dict:
    """Lets the guest verify all its memory and disk now; GuestError names the first thing that is or ever was wrong."""
    answer = http(lab, name, "/check", timeout)
    if not answer["ok"]:
        raise GuestError(f"guest {name!r}: {answer['error']}")
    return answer


def load(lab, name: str, pattern: str | None = None, *, rate=None, set_mib=None, order=None, verify=None, disk_rate=None) -> None:
    """Changes the guest's load. pattern: none, few, text, random, zero, same, mixed; rate: pages a second or "max";
    set_mib: working set; order: "sequential" or "random"; verify=0 leaves out the check before each write."""
    asked = {"pattern": pattern, "rate": rate, "set": set_mib, "order": order, "verify": verify, "disk_rate": disk_rate}
    query = "&".join(f"{key}={value}" for key, value in asked.items() if value is not None)
    answer = http(lab, name, f"/load?{query}")
    if not answer["ok"]:
        raise GuestError(f"guest {name!r}: {answer['error']}")


def power(lab, name: str, do: str) -> None:
    """"off", "reboot", "panic", or "halt": its processors stand still for good, and the VM is not off."""
    answer = http(lab, name, f"/power?do={do}")
    if not answer["ok"]:
        raise GuestError(f"guest {name!r}: {answer['error']}")


def corrupt(lab, name: str, *, page=None, block=None, disk=0, how: str = "bit") -> None:
    """Spoils a page or a disk block behind the guest's checker: "bit", "stale", "zero", "other"."""
    what = f"page={page}" if page is not None else f"block={block}&disk={disk}"
    answer = http(lab, name, f"/corrupt?{what}&how={how}")
    if not answer["ok"]:
        raise GuestError(f"guest {name!r}: {answer['error']}")


def service(lab, name: str, load: str, do: str = "start") -> None:
    """Starts or stops a load of the Debian guest: "redis", "sqlite", or "postgres" (with the package postgresql)."""
    answer = http(lab, name, f"/service?name={load}&do={do}", timeout=60)
    if not answer["ok"]:
        raise GuestError(f"guest {name!r}: {answer['error']}")
