# SPDX-License-Identifier: Apache-2.0
"""Who moves what over which link: the tables that everything else goes by.

A contender gets what an administrator could give it: as many connections as Watari (2), as much memory for
old pages as Watari's movers may take (512 MiB), libvirt's default limit of downtime (300 ms). QEMU plain
and “virsh migrate --live as it comes” are one contender: libvirt itself lifts QEMU's limit of bandwidth
(max-bandwidth, seen by query-migrate-parameters while it moves), so that the two do not differ.
"""
import dataclasses

CONNECTIONS = 2
OLD_PAGES_BYTES = 512 << 20
LIMIT_S = 120  # a guest that has not moved by then has not converged
LIMIT_DISKS_S = 400  # its disk moves as well


@dataclasses.dataclass(frozen=True)
class Guest:
    name: str
    title: str
    kind: str  # as lab/guest knows it
    options: dict
    core: bool = True
    warm_s: float = 5  # from ready to the state that is kept
    work: str = ""  # which counter tells its work: see move.work_done
    disk_mib: int = 0  # of a small guest that has a disk; Debian always has
    first_pass_mib: int = 400  # for the first estimate of time, nothing else
    dirty_mib_s: float = 1

    @property
    def has_disk(self):
        return self.kind == "debian" or self.disk_mib > 0


@dataclasses.dataclass(frozen=True)
class Link:
    name: str
    title: str
    shape: dict
    mbit: float
    core: bool = True


@dataclasses.dataclass(frozen=True)
class Contender:
    name: str
    title: str
    words: tuple = ()  # further words of the command
    watari: bool = False
    copies: bool = False  # the guest's disk lies on the source alone and moves along
    makes_image: bool = True  # by itself; libvirt wants to find it at the destination
    core: bool = True
    ratio: float = 1  # for the first estimate of time: bytes against plain
    copied_mib: int = 0  # the same for the disk


@dataclasses.dataclass(frozen=True)
class Family:
    """What is measured beside what, unless words of the command line choose something else."""

    name: str
    title: str
    guests: tuple
    links: tuple
    contenders: tuple
    limit_s: float


def _small(set_mib, **options):
    words = " ".join(f"watari.{key}={value}" for key, value in {"mem": set_mib, **options}.items())
    return {"memory_mib": 1024, "words": words}


def _debian(service="", pause=1):
    """The load rests so many seconds between two rounds."""
    return {"memory_mib": 1024, "service": service, "words": f"watari.load_pause={pause}"}


# What a server of some years carries about; no services.
PACKAGES = ("gcc", "g++", "git", "python3-numpy", "vim", "gdb", "perl-doc")


def _server(service="", pause=1):
    return {**_debian(service, pause), "packages": PACKAGES}


GUESTS = {guest.name: guest for guest in (
    Guest("idle", "Debian, warm, idle", "debian", _debian(), warm_s=20),
    Guest("redis", "Debian, Redis under load", "debian", _debian("redis", 0.1), warm_s=60,
          work="redis_commands", first_pass_mib=450, dirty_mib_s=15),
    Guest("few", "few bytes a page, 512 MiB", "small",
          {**_small(512, order="random"), "pattern": "few", "set_mib": 512, "rate": 5000}, work="dirtied_pages",
          first_pass_mib=560, dirty_mib_s=20),
    Guest("sqlite", "Debian, SQLite updates", "debian", _debian("sqlite", 0), warm_s=30,
          work="forks", first_pass_mib=430, dirty_mib_s=8),
    # About 0.8 GiB on their disk, and most of their memory taken by what they have read of it.
    Guest("warm", "Debian server, warm, idle", "debian", _server(), core=False, warm_s=20, first_pass_mib=860),
    Guest("warm-redis", "Debian server, Redis under load", "debian", _server("redis", 0.1), core=False, warm_s=60,
          work="redis_commands", first_pass_mib=900, dirty_mib_s=15),
    Guest("warm-sqlite", "Debian server, SQLite updates", "debian", _server("sqlite", 0), core=False, warm_s=30,
          work="forks", first_pass_mib=880, dirty_mib_s=8),
    Guest("random", "768 MiB random, still", "small", _small(768, fill="random"), core=False, first_pass_mib=800),
    Guest("empty", "8 GiB, mostly empty", "small", {**_small(64), "memory_mib": 8192}, core=False, first_pass_mib=160),
    # For the bench's own test: boots in seconds, moves in one.
    Guest("tiny", "small, text", "small", {"memory_mib": 192, "words": "watari.mem=32", "pattern": "text", "rate": 200,
          "set_mib": 16}, core=False, warm_s=1, work="dirtied_pages", first_pass_mib=70),
    Guest("tiny-disk", "small, with a disk", "small", {"memory_mib": 192, "words": "watari.mem=32 watari.disk_set=4"},
          core=False, warm_s=1, disk_mib=64, first_pass_mib=70),
)}

LINKS = {link.name: link for link in (
    Link("1gbit", "1 Gbit/s", {"rate": "1gbit", "delay_ms": 0}, 1000),
    Link("100mbit", "100 Mbit/s", {"rate": "100mbit", "delay_ms": 0}, 100),
    Link("40ms", "1 Gbit/s, 40 ms round trip", {"rate": "1gbit", "delay_ms": 20}, 800),
    Link("100mbit-40ms", "100 Mbit/s, 40 ms round trip", {"rate": "100mbit", "delay_ms": 20}, 95, core=False),
    Link("unshaped", "unshaped", {"rate": None, "delay_ms": 0}, 4000, core=False),
)}

_ZSTD = ("--parallel", "--parallel-connections", str(CONNECTIONS), "--compressed", "--comp-methods", "zstd")
CONTENDERS = {contender.name: contender for contender in (
    Contender("plain", "QEMU plain: virsh migrate --live as it comes"),
    Contender("xbzrle", "QEMU XBZRLE", ("--compressed", "--comp-methods", "xbzrle", "--comp-xbzrle-cache",
              str(OLD_PAGES_BYTES)), ratio=0.95),
    Contender("multifd-zstd", "multifd with zstd", _ZSTD, ratio=0.35),
    Contender("multifd-zstd-tls", "multifd with zstd and TLS", (*_ZSTD, "--tls"), ratio=0.35),
    Contender("watari", "Watari (always encrypted)", watari=True, ratio=0.3),
    Contender("watari-off", "Watari, nothing encoded", ("--compress", "off"), watari=True, core=False),
    Contender("virsh-copy", "virsh migrate --copy-storage-all", ("--copy-storage-all",), copies=True, makes_image=False,
              core=False, copied_mib=860),
    Contender("watari-copy", "Watari, disks copied", ("--disks", "copy"), watari=True, copies=True, core=False, ratio=0.1,
              copied_mib=300),
    Contender("tls", "QEMU plain with TLS", ("--tls",), core=False),
    Contender("multifd", "multifd, nothing compressed", _ZSTD[:3], core=False),
    Contender("multifd-tls", "multifd with TLS, nothing compressed", (*_ZSTD[:3], "--tls"), core=False),
)}


def core(table):
    return [entry.name for entry in table.values() if entry.core]


FAMILIES = {family.name: family for family in (
    Family("core", "memory alone, the disk shared", *(tuple(core(table)) for table in (GUESTS, LINKS, CONTENDERS)), LIMIT_S),
    Family("disks", "a local disk moves along", ("warm",), ("1gbit", "100mbit", "40ms", "100mbit-40ms"),
           ("virsh-copy", "watari-copy"), LIMIT_DISKS_S),
    # The same guests, once with the disk shared: what their memory takes when it can be taken from the disk that moved.
    Family("memory-from-disk", "memory after the disk", ("warm", "warm-sqlite", "warm-redis"), ("1gbit", "100mbit"),
           ("multifd-zstd", "watari-copy"), LIMIT_DISKS_S),
    Family("gap", "the longest gap with a disk that is written", ("sqlite",), ("1gbit",), ("watari", "watari-copy"),
           LIMIT_DISKS_S),
)}


def variant(text):
    """NAME=WORDS as a contender of its own: `watari migrate` with further words, to compare its options."""
    name, equals, words = text.partition("=")
    if not equals or not name or name in CONTENDERS:
        raise ValueError(f"{text!r}: say NAME=WORDS with a new name, as in watari-4=\"--connections 4\"")
    copies = "--disks copy" in words
    return Contender(name, f"Watari with {words}", tuple(words.split()), watari=True, copies=copies, core=False, ratio=0.5,
                     copied_mib=300 if copies else 0)
