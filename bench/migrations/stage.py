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

from watari_lab import HostSpec, Lab, guest as guests, guest_image

from . import catalog, store

RELEASE = "trixie"
MACHINE = "pc-q35-10.0"  # an older one would take multifd's own search for zero pages away
EMULATOR = "/usr/bin/qemu-system-x86_64"  # of QEMU 10: needs no lab/guest/qemu-tcg
SHARED = "/lab/shared/states"


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
        return (guest_image.build_debian() if guest.kind == "debian" else guest_image.build_small())[:2]

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
        guests.start(self.lab, self.source, guest.name, kind=guest.kind, **options)
        time.sleep(guest.warm_s)
        os.makedirs(shared)
        self.source.virsh("save", guest.name, f"{SHARED}/{guest.name}/image", timeout=300)
        if guest.kind == "debian":
            shutil.copyfile(self._disk(guest), shared / "disk")

    def _disk(self, guest):
        return self.source.path(f"{guests.SHARED}/disks/{guest.name}.qcow2")

    @staticmethod
    def _keep_state(shared, place, versions):
        for old in place.parent.glob(place.name.rpartition("-")[0] + "-*"):
            shutil.rmtree(old)
        fresh = place.with_name("." + place.name)
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(shared, fresh)
        (fresh / "meta.json").write_text(json.dumps(versions) + "\n")
        fresh.rename(place)

    def restore(self, guest):
        """The guest runs on the source, as it was when it was saved."""
        kept = self.kept[guest.name]
        if guest.kind == "debian":
            os.makedirs(os.path.dirname(self._disk(guest)), exist_ok=True)
            shutil.copyfile(self.source.path(f"{kept}/disk"), self._disk(guest))
        self.source.virsh("restore", f"{kept}/image", timeout=120)
        for limit in (10, 20, 30):
            self._forget_addresses()
            try:
                guests.wait_ready(self.lab, guest.name, limit)
                return
            except guests.GuestError:
                if limit == 30:
                    raise

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
