#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Moves of one guest, side by side: QEMU plain, QEMU with TLS, and QEMU through Watari's movers.

No libvirt: the same two QEMUs for every contender, in the network namespaces of two lab hosts, so that
what differs is the way between them. The guest (filled with pages that nothing compresses) moves from
one host to the other and back; the contenders take turns, so that a machine that changes its speed
changes it for all. Total time is from `migrate` to “completed” at the source; CPU is that of both
QEMUs and both movers in that time, from /proc, the guest's own few per cent included.
Under TCG the slowdown of a guest says nothing about KVM; bytes, times and CPU of the path do.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TOP / "lab"), str(TOP / "tests/lab"), str(TOP / "tests/capture")]
sys.dont_write_bytecode = True
from mover_pair import MoverPair  # noqa: E402
from qmp import Qemu  # noqa: E402
from watari_lab import HostSpec, Lab, guest_image, process  # noqa: E402

PORT = 49200
TICKS = os.sysconf("SC_CLK_TCK")
UUID = "5d3b6c1e-6a0b-4f7e-9b1e-0d8c2a4f6e11"
CONTENDERS = ("plain", "tls", "watari")


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Bench:
    def __init__(self, lab, options, directory):
        self.lab, self.options, self.directory = lab, options, directory
        self.hosts = [lab.host("hosta"), lab.host("hostb")]
        self.at = 0  # index of the host where the guest is
        self.count = 0
        self.make_certificates()
        self.qemu = self.start_qemu(self.at)
        self.wait_filled()

    def prefix(self, index):
        return process.enter_network_argv(self.hosts[index].pid, [])

    def start_qemu(self, index, *more):
        self.count += 1
        kernel, initrd = guest_image.build_small()
        words = f"console=ttyS0 quiet panic=1 mitigations=off watari.pattern={self.options.pattern} " \
                f"watari.rate={self.options.rate} watari.set={self.options.set}"
        # 8 KiB more than whole MiB: see lab/guest/qemu-tcg.
        argv = [*self.prefix(index), "qemu-system-x86_64", "-accel", "tcg", "-machine", "pc-q35-7.2", "-cpu", "qemu64",
                "-m", f"{self.options.memory * 1024 + 8}k", "-nodefaults", "-display", "none", "-uuid", UUID,
                "-kernel", str(kernel), "-initrd", str(initrd), "-append", words,
                "-serial", f"file:{self.directory}/serial", *more]
        for endpoint in ("server", "client"):
            argv += ["-object", f"tls-creds-x509,id=tls-{endpoint},dir={self.directory}/pki,endpoint={endpoint}"]
        qemu = Qemu(argv, self.directory, self.directory, f"qemu{self.count}")
        qemu.do("migrate-set-capabilities", capabilities=[{"capability": "return-path", "state": True}])
        qemu.do("migrate-set-parameters", max_bandwidth=0, downtime_limit=self.options.downtime_limit)
        return qemu

    def wait_filled(self):
        deadline = time.monotonic() + 180
        while "serves" not in open(f"{self.directory}/serial", errors="replace").read():
            if time.monotonic() > deadline:
                raise SystemExit("the guest does not boot")
            time.sleep(0.2)
        time.sleep(self.options.settle)

    def make_certificates(self):
        pki = f"{self.directory}/pki"
        os.mkdir(pki)

        def openssl(*words):
            subprocess.run(["openssl", *words], check=True, cwd=pki, capture_output=True)

        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca-key.pem", "-out", "ca-cert.pem",
                "-days", "2", "-subj", "/CN=bench", "-addext", "basicConstraints=critical,CA:TRUE",
                "-addext", "keyUsage=critical,keyCertSign")
        for endpoint in ("server", "client"):
            openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{endpoint}-key.pem", "-out",
                    f"{endpoint}.csr", "-subj", "/CN=bench")
            extension = pathlib.Path(pki, f"{endpoint}.ext")
            names = ",".join(f"IP:{host.address('migration')}" for host in self.hosts)
            extension.write_text(f"subjectAltName={names}\nextendedKeyUsage={endpoint}Auth\n"
                                 "keyUsage=digitalSignature,keyEncipherment\n")
            openssl("x509", "-req", "-in", f"{endpoint}.csr", "-CA", "ca-cert.pem", "-CAkey", "ca-key.pem",
                    "-CAcreateserial", "-out", f"{endpoint}-cert.pem", "-days", "2", "-extfile", str(extension))

    def migrate(self, destination, uri, movers=()):
        """Start, wait, and what it took."""
        watched = [self.qemu.process.pid, destination.process.pid, *movers]
        before = sum(cpu_seconds(pid) for pid in watched)
        started = time.monotonic()
        self.qemu.do("migrate", uri=uri)
        while (answer := self.qemu.do("query-migrate"))["status"] not in ("completed", "failed"):
            time.sleep(0.01)
        seconds = time.monotonic() - started
        if answer["status"] != "completed":
            raise SystemExit(f"{uri}: the migration failed: {answer}")
        return {"seconds": seconds, "cpu_seconds": sum(cpu_seconds(pid) for pid in watched) - before,
                "downtime_ms": answer["downtime"], "ram_bytes": answer["ram"]["transferred"]}

    def move(self, contender):
        there = 1 - self.at
        address = self.hosts[there].address("migration")
        result = getattr(self, f"move_{contender}")(there, address)
        self.destination.do("cont")
        self.qemu.stop()
        self.qemu, self.at = self.destination, there
        return result

    def move_plain(self, there, address):
        self.destination = self.start_qemu(there, "-S", "-incoming", f"tcp:{address}:{PORT}")
        return self.migrate(self.destination, f"tcp:{address}:{PORT}")

    def move_tls(self, there, address):
        self.destination = self.start_qemu(there, "-S", "-incoming", "defer")
        self.destination.do("migrate-set-parameters", tls_creds="tls-server")
        self.destination.do("migrate-incoming", uri=f"tcp:{address}:{PORT}")
        self.qemu.do("migrate-set-parameters", tls_creds="tls-client", tls_hostname=address)
        try:
            return self.migrate(self.destination, f"tcp:{address}:{PORT}")
        finally:
            self.qemu.do("migrate-set-parameters", tls_creds="", tls_hostname="")
            self.destination.do("migrate-set-parameters", tls_creds="")

    def move_watari(self, there, address):
        self.count += 1
        directory = f"{self.directory}/movers{self.count}"
        with MoverPair(self.options.watari, directory, prefixes=(self.prefix(self.at), self.prefix(there)),
                       address=address, connections=self.options.connections) as pair:
            self.destination = self.start_qemu(there, "-S", "-incoming", f"unix:{pair.destination.socket}")
            result = self.migrate(self.destination, f"unix:{pair.source.socket}",
                                  [mover.process.pid for mover in pair.movers])
            outcomes = pair.finish()
            result["mover_peak_mib"] = [o["rss_kib"] / 1024 for o in outcomes]
            result["wire_bytes"] = outcomes[0]["wire_sent"]
        return result


def measure(lab, options, directory):
    rows = []
    bench = Bench(lab, options, directory)
    try:
        for rate in options.links:
            lab.link(rate=None if rate == "unshaped" else rate)
            for turn in range(options.runs + 1):
                for contender in CONTENDERS:
                    result = bench.move(contender)
                    if turn > 0:  # the first turn warms up
                        rows.append({"link": rate, "contender": contender, **result})
                    print(f"  {rate} {contender}: {result['seconds']:.2f} s, {result['cpu_seconds']:.2f} CPU-s"
                          f"{'' if turn else ' (warm-up)'}", file=sys.stderr, flush=True)
    finally:
        bench.qemu.stop()
    return rows


def median(rows, link, contender, figure):
    return statistics.median(row[figure] for row in rows if row["link"] == link and row["contender"] == contender)


def table(rows, options):
    lines = [f"Guest: {options.memory} MiB, {options.set} MiB of it “{options.pattern}”, {options.rate} pages a second; "
             f"medians of {options.runs}, spread in brackets.", "",
             "| link | contender | total s | CPU s | time against plain | against TLS | CPU against TLS | movers' peak MiB |",
             "|---|---|---|---|---|---|---|---|"]
    for link in options.links:
        for contender in CONTENDERS:
            mine = [row for row in rows if row["link"] == link and row["contender"] == contender]
            seconds = [row["seconds"] for row in mine]
            peak = max((max(row["mover_peak_mib"]) for row in mine if "mover_peak_mib" in row), default=0)

            def ratio(figure, other):
                return median(rows, link, contender, figure) / median(rows, link, other, figure)

            lines.append(
                f"| {link} | {contender} | {statistics.median(seconds):.2f} ({min(seconds):.2f}-{max(seconds):.2f}) "
                f"| {median(rows, link, contender, 'cpu_seconds'):.2f} | {ratio('seconds', 'plain'):.2f} "
                f"| {ratio('seconds', 'tls'):.2f} | {ratio('cpu_seconds', 'tls'):.2f} | {peak:.0f} |"
                .replace("| 0 |", "| |"))
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--watari", default=str(TOP / "build/src/cli/watari"))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--links", nargs="+", default=["unshaped", "1gbit"])
    parser.add_argument("--memory", type=int, default=1024, help="of the guest, MiB")
    parser.add_argument("--set", type=int, default=768, help="how much of it is filled, MiB")
    parser.add_argument("--pattern", default="random")
    parser.add_argument("--rate", type=int, default=0, help="pages changed a second")
    parser.add_argument("--connections", type=int, default=2)
    parser.add_argument("--downtime-limit", type=int, default=300)
    parser.add_argument("--settle", type=float, default=5)
    parser.add_argument("--json", metavar="FILE", help="write every run there")
    options = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="watari-bench-")
    os.environ["WATARI_RUN_DIR"] = f"{directory}/run"
    try:
        with Lab(f"bench{os.getpid() % 10000}", [HostSpec("hosta"), HostSpec("hostb")]) as lab:
            rows = measure(lab, options, directory)
    finally:
        shutil.rmtree(directory)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows, options))


if __name__ == "__main__":
    main()
