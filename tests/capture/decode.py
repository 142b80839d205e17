#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Counts what is in a recorded migration stream; a second opinion beside src/stream.

usage: decode.py STREAM-FILE

It has the whole stream in memory and walks a cursor over it; the block list is read by trying
which optional fields make the lengths add up. Whatever it does not expect raises.
"""
import struct
import sys

PAGE = 4096
ZERO, MEM_SIZE, DATA, EOS, CONTINUE, XBZRLE, COMPRESS, FLUSH = (
    0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x100, 0x200)
SECTIONS = {b"ram": "ram", b"dirty-bitmap": "bitmap", b"virtio-mem-device-early": "virtio-mem"}


class Cursor:
    def __init__(self, data):
        self.data = data
        self.at = 0

    def take(self, count):
        if self.at + count > len(self.data):
            raise EOFError(f"the stream ends at {len(self.data)} within something")
        self.at += count
        return self.data[self.at - count:self.at]

    def number(self, code):
        return struct.unpack(">" + code, self.take(struct.calcsize(code)))[0]

    def name(self):
        return self.take(self.number("B"))


class Decoder:
    def __init__(self, data):
        self.c = Cursor(data)
        self.counts = {}
        self.sections = {}
        self.blocks = {}
        self.ram_ended = False
        self.extra = 0  # u64 fields of each block list entry

    def count(self, kind, by=1):
        self.counts[kind] = self.counts.get(kind, 0) + by

    def stream(self):
        c = self.c
        assert c.take(8) == b"QEVM\0\0\0\3"
        self.count("header")
        if c.data[c.at] == 7:
            c.at += 1
            c.take(c.number("I"))
            self.count("configuration")
            while c.data[c.at] == 5:
                self.subsection()
        while c.at < len(c.data) and self.element():
            pass
        if c.at < len(c.data):
            self.count("device-state" if self.ram_ended else "opaque")
        self.counts["in-step-bytes"] = c.at
        return self.counts

    def subsection(self):
        c = self.c
        c.at += 1
        name = c.name()
        assert c.number("I") == 1
        if name == b"configuration/capabilities":
            for _ in range(c.number("I")):
                c.name()
        elif name == b"configuration/uuid":
            c.take(16)
        else:
            assert name == b"configuration/target-page-bits"
            c.number("I")
        self.count("configuration")

    def element(self):
        """False where the rest is not to be read."""
        c = self.c
        kind = c.data[c.at]
        if kind == 4 and self.ram_ended:
            return False
        c.at += 1
        if kind == 0:
            self.count("eof")
        elif kind in (1, 4):
            identity, name = c.number("I"), c.name()
            c.take(8)
            self.sections[identity] = SECTIONS[name.split(b"/")[-1]]
            self.section(identity)
        elif kind in (2, 3):
            identity = c.number("I")
            self.section(identity)
            self.ram_ended |= kind == 3 and self.sections[identity] == "ram"
        elif kind == 8:
            self.command()
        elif kind == 6:
            c.take(c.number("I"))
            self.count("description")
        else:
            raise ValueError(f"element {kind} at {c.at - 1}")
        return True

    def section(self, identity):
        c = self.c
        self.count("section")
        {"ram": self.ram, "bitmap": self.bitmap, "virtio-mem": self.virtio_mem}[
            self.sections[identity]]()
        if c.data[c.at:c.at + 1] == b"\x7e":
            c.at += 1
            assert c.number("I") == identity
            self.count("footer")

    def command(self):
        c = self.c
        command, length = c.number("H"), c.number("H")
        data = c.take(length)
        self.count("command")
        if command == 7:
            c.take(struct.unpack(">I", data)[0])
            self.count("device-state")

    def ram(self):
        c = self.c
        while True:
            word = c.number("Q")
            flags = word & (PAGE - 1)
            if flags == EOS:
                return self.count("ram-end")
            if flags == FLUSH:
                self.count("ram-mark")
            elif flags == MEM_SIZE:
                self.block_list(word - flags)
            else:
                self.page(flags & ~CONTINUE, flags & CONTINUE)

    def page(self, kind, same_block):
        c = self.c
        if not same_block:
            assert c.name() in self.blocks
        if kind == DATA:
            c.take(PAGE)
            self.count("page")
        elif kind == ZERO:
            assert c.take(1) == b"\0"
            self.count("zero-page")
        elif kind == XBZRLE:
            assert c.take(1) == b"\1"
            c.take(c.number("H"))
            self.count("xbzrle-page")
        elif kind == COMPRESS:
            c.take(c.number("I"))
            self.count("compressed-page")
        else:
            raise ValueError(f"ram flags {kind:x} at {c.at}")

    def block_list(self, total):
        """Entries may have 0, 1 or 2 more u64; in a postcopy stream only those with huge pages."""
        start = self.c.at
        for fields in (0, 1, 2, "huge"):
            self.c.at = start
            try:
                if self.try_block_list(total, fields):
                    return self.count("block-list")
            except (EOFError, UnicodeDecodeError, IndexError):
                pass
        raise ValueError(f"no reading of the block list at {start} adds up")

    def try_block_list(self, total, fields):
        c = self.c
        self.blocks = {}
        while sum(self.blocks.values()) < total:
            name = c.name()
            if not name.decode("ascii").isprintable() or not name:
                return False
            self.blocks[name] = c.number("Q")
            if fields != "huge":
                c.take(8 * fields)
            elif struct.unpack(">Q", c.data[c.at:c.at + 8])[0] == 2 << 20:
                c.take(8)
        after = struct.unpack(">Q", c.data[c.at:c.at + 8])[0]
        return sum(self.blocks.values()) == total and after in (EOS, FLUSH)

    def bitmap(self):
        c = self.c
        flags = 0
        while not flags & 1:
            flags = c.number("B")
            assert not flags & 0x80
            for bit in (8, 4):
                if flags & bit:
                    c.name()
            if flags & 0x10:
                c.take(5)
            elif flags & 0x40:
                c.take(12)
                if not flags & 2:
                    c.take(c.number("Q"))
            self.count("other")

    def virtio_mem(self):
        c = self.c
        _, region, block, _, _ = struct.unpack(">QQQIQ", c.take(36))
        c.take(-(-region // block // 64) * 8)
        self.count("other")


def decode(data):
    return Decoder(data).stream()


if __name__ == "__main__":
    print(decode(open(sys.argv[1], "rb").read()))
