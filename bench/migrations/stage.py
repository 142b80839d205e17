# SPDX-License-Identifier: Apache-2.0
"""The hosts, and the guests' saved states: every move begins with the same state, restored anew.

Both hosts stand on Debian 13 (QEMU 10.0, libvirt 11.3): Debian 12's libvirt cannot ask for multifd with zstd.
A guest is booted and warmed up once, saved (`virsh save`), and kept with its disk under the results, so that a
run that goes on later, or that measures another binary, begins with the very same pages.
"""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import xml.etree.ElementTree

from watari_lab import HostSpec, Lab, disks, guest as guests, guest_image

from . import catalog, store

RELEASE = "trixie"
MACHINE = "pc-q35-10.0"  # an older one would take multifd's own search for zero pages away
EMULATOR = "/usr/bin/qemu-system-x86_64"  # of QEMU 10: needs no lab/guest/qemu-tcg
SHARED = "/lab/shared/states"
LOCAL = "/lab/images/bench"  # on each host its own


class Stage:
    """Two hosts that are up; `source` and `destination` are lab nodes."""

    def __init__(self, name, watari, directory, say=print):
        self.directory = pathlib.Path(directory)
        self.say = say
        hosts = [HostSpec(host, release=RELEASE) for host in ("hosta", "hostb")]
        self.lab = Lab(name, hosts, watari=watari)
        self.link = None
        self.kept = {}  # guest's name: directory of its state, as the hosts see it

    def __enter__(self):
        self.lab.up()
        self.source, self.destination = self.lab.hosts
        try:
            self._configure()
        except BaseException:
            self.lab.down()
            raise
        return self

    def __exit__(self, *_):
        self.lab.down()

    # ---- the hosts ----

    def _configure(self):
        """Certificates for `--tls`, the migration network for whoever names no other, and that the hosts share a
        directory, which libvirt cannot see of itself."""
        with tempfile.TemporaryDirectory() as work:
            make_certificates(work, [node.address("migration") for node in self.lab.hosts])
            for node in self.lab.hosts:
                for path in pathlib.Path(work).glob("*.pem"):
                    node.write_bytes(f"/etc/pki/qemu/{path.name}", path.read_bytes(), 0o600)
                conf = node.read_text("/etc/libvirt/qemu.conf")
                node.write_text("/etc/libvirt/qemu.conf", f'{conf}migration_host = "{node.address("migration")}"\n'
                                f'shared_filesystems = ["{guests.SHARED}"]\n')
                restart_libvirtd(node)

    def versions(self):
        told = self.source.virsh("version").stdout.splitlines()
        return {
            "libvirt": told[0].rpartition(" ")[2],
            "qemu": next(line.rpartition(" ")[2] for line in told if "hypervisor" in line),
            "kernel": os.uname().release,
            "cores": os.cpu_count(),
            "accelerator": guests.acceleration(),
            "guest_kernel": _kernel_name(),
        }

    def shape(self, link):
        if self.link != link:
            self.lab.link(**link.shape)
            self.link = link

    # ---- the guests ----

    def _state_directory(self, guest, versions):
        """Where its state is kept, named after all that makes it."""
        images = self._images(guest)
        mark = store.digest(guest.options, guest.warm_s, [pathlib.Path(path).name for path in images], versions["qemu"],
                            MACHINE)
        return self.directory / "states" / f"{guest.name}-{mark}"

    @staticmethod
    def _images(guest):
        if guest.kind != "debian":
            return guest_image.build_small()[:2]
        return guest_image.build_debian(packages=guest.options.get("packages", ()))[:2]

    def prepare(self, guest, versions):
        """Sees to it that the guest's state is at hand; says how long that took. Boots it if need be."""
        began = time.monotonic()
        place = self._state_directory(guest, versions)
        shared = pathlib.Path(self.source.path(f"{SHARED}/{guest.name}"))
        number = guests.plan.FIRST_GUEST_NUMBER + list(catalog.GUESTS).index(guest.name)
        guests.adopt(self.lab, guest.name, number, self._images(guest))
        if not (place / "meta.json").exists():
            self._make_state(guest, shared)
            self._keep_state(shared, place, versions)
        elif not shared.exists():
            shutil.copytree(place, shared)
        self.kept[guest.name] = f"{SHARED}/{guest.name}"
        return time.monotonic() - began

    def _make_state(self, guest, shared):
        options = {"machine": MACHINE, "emulator": EMULATOR, **guest.options}
        if guest.disk_mib:
            path = f"{guests.SHARED}/disks/{guest.name}.raw"
            options["disks"] = [disks.make(self.source, path, guest.disk_mib)]
        guests.start(self.lab, self.source, guest.name, kind=guest.kind, **options)
        time.sleep(guest.warm_s)
        os.makedirs(shared)
        self.source.virsh("save", guest.name, f"{SHARED}/{guest.name}/image", timeout=300)
        if guest.has_disk:
            shutil.copyfile(self._disk(guest), shared / "disk")

    def _disk(self, guest):
        return self.source.path(f"{guests.SHARED}/disks/{guest.name}.{'raw' if guest.disk_mib else 'qcow2'}")

    @staticmethod
    def _keep_state(shared, place, versions):
        for old in place.parent.glob(place.name.rpartition("-")[0] + "-*"):
            shutil.rmtree(old)
        fresh = place.with_name("." + place.name)
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(shared, fresh)
        (fresh / "meta.json").write_text(json.dumps(versions) + "\n")
        fresh.rename(place)

    def restore(self, guest, contender):
        """The guest runs on the source, as it was when it was saved; its disk is where this contender is to find it."""
        kept = self.kept[guest.name]
        words = []
        if contender.copies:
            words = ["--xml", self._place_locally(guest, contender)]
        elif guest.has_disk:
            os.makedirs(os.path.dirname(self._disk(guest)), exist_ok=True)
            shutil.copyfile(self.source.path(f"{kept}/disk"), self._disk(guest))
        self.source.virsh("restore", f"{kept}/image", *words, timeout=120)
        for limit in (10, 20, 30):
            self._forget_addresses()
            try:
                guests.wait_ready(self.lab, guest.name, limit)
                return
            except guests.GuestError:
                if limit == 30:
                    raise

    # ---- a disk on the source alone ----

    def _place_locally(self, guest, contender):
        """The same content as one raw image at the source, and at the destination an empty one for who needs it. Returns
        where the guest's description with that disk is."""
        path, flat = f"{LOCAL}/{guest.name}.raw", f"{self.kept[guest.name]}/flat"
        if not self.source.exists(flat):  # one image, without the template it stood on
            self.source.run(["qemu-img", "convert", "-O", "raw", f"{self.kept[guest.name]}/disk", f"{flat}.new"], timeout=300)
            self.source.run(["mv", f"{flat}.new", flat])
        for node in self.lab.hosts:
            node.run(["mkdir", "-p", LOCAL])
        self.source.run(["cp", flat, path])  # holes stay holes
        if not contender.makes_image:
            size = os.stat(self.source.path(path)).st_size
            self.destination.run(["qemu-img", "create", "-q", "-f", "raw", path, str(size)])
        description = f"/tmp/{guest.name}-local.xml"
        told = self.source.virsh("save-image-dumpxml", f"{self.kept[guest.name]}/image", "--security-info").stdout
        self.source.write_text(description, with_disk(told, path))
        return description

    def _forget_addresses(self):
        """Switches may still know the guest where it moved to before; what QEMU announces after a restore can get lost on
        a busy machine. Who has to ask for its address by broadcast finds it."""
        flush = self.lab.client.popen_network(["ip", "neigh", "flush", "all"], stdout=subprocess.DEVNULL,
                                              stderr=subprocess.DEVNULL)
        flush.wait(10)

    def clear(self, guest):
        """Whatever became of it: it is nowhere any more."""
        for node in self.lab.hosts:
            if node.virsh("domstate", guest.name, check=False).returncode == 0:
                node.virsh("destroy", guest.name, check=False)
                node.virsh("undefine", guest.name, check=False)
            node.run(["rm", "-rf", LOCAL])


def with_disk(description, path):
    """A description whose first disk is the raw image at PATH and stands on nothing."""
    tree = xml.etree.ElementTree.fromstring(description)
    disk = tree.find("devices/disk")
    disk.find("driver").set("type", "raw")
    source = disk.find("source")
    source.attrib = {"file": path}
    for part in (*source, *disk.findall("backingStore")):
        (source if part in list(source) else disk).remove(part)
    return xml.etree.ElementTree.tostring(tree, encoding="unicode")


def restart_libvirtd(node):
    pid = node.libvirtd_pid()
    node.kill_libvirtd()  # asked politely it would first finish whatever it is about
    while pid and os.path.exists(f"/proc/{pid}"):
        time.sleep(0.02)  # while it ends, its pid file is locked
    node.start_libvirtd()


def _kernel_name():
    return guest_image.build_small()[0].name.removeprefix("vmlinuz-")


def make_certificates(directory, addresses):
    """A CA and the files QEMU looks for; one pair serves both hosts."""

    def openssl(*words):
        subprocess.run(["openssl", *words], check=True, cwd=directory, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca-key", "-out", "ca-cert.pem", "-days", "30",
            "-subj", "/CN=bench", "-addext", "basicConstraints=critical,CA:TRUE", "-addext",
            "keyUsage=critical,keyCertSign")
    for role in ("server", "client"):
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{role}-key.pem", "-out", f"{role}.csr", "-subj",
                "/CN=bench")
        names = ",".join(f"IP:{address}" for address in addresses)
        pathlib.Path(directory, f"{role}.ext").write_text(
            f"subjectAltName={names}\nextendedKeyUsage={role}Auth\nkeyUsage=digitalSignature,keyEncipherment\n")
        openssl("x509", "-req", "-in", f"{role}.csr", "-CA", "ca-cert.pem", "-CAkey", "ca-key", "-CAcreateserial", "-out",
                f"{role}-cert.pem", "-days", "30", "-extfile", f"{role}.ext")
