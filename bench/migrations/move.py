# SPDX-License-Identifier: Apache-2.0
"""One move: restore, let it run, move, look; a record of figures comes out."""
import json
import signal
import subprocess
import time

from watari_lab import client, guest as guests

from . import catalog, observe

# The restored guest runs for so long; TCG translates everything anew in the first part, the guest's quiet gap and its
# pace are taken from the rest.
FIRST_S, QUIET_S = 1.5, 3.5
SETTLE_S = FIRST_S + QUIET_S
AFTER_S = 0.7  # a gap may still be open when the command has ended
CANCEL_S = 40
# The prober's datagrams a second: a thousand would take half of the guest's processor under TCG.
PROBE_RATE = 250
STATS = {"downtime": "downtime_ms", "time_elapsed": "job_ms", "memory_iteration": "passes",
         "memory_normal_bytes": "page_bytes", "compression_bytes": "xbzrle_bytes",
         "compression_cache_misses": "xbzrle_misses", "memory_bps": "job_bytes_s"}


def command(contender, name, destination):
    """What an administrator would type at the source."""
    address = destination.address("migration")
    if contender.watari:
        return ["watari", "migrate", name, destination.name, "--json", "-q", "--max-downtime", "2s",
                "--link-address", address, *contender.words]
    tls = ["--tls-destination", address] if "--tls" in contender.words else []
    return ["virsh", "migrate", "--live", name, f"qemu+ssh://{destination.name}/system", *contender.words, *tls]


def ask(lab, guest):
    """The guest's own state, {} when it does not answer in time (on a machine that is busy with other things)."""
    try:
        return guests.state(lab, guest.name)
    except OSError:
        return {}


def work_done(lab, guest):
    """(seconds, work) by the guest's own counter, or None."""
    if not guest.work:
        return None
    asked = time.monotonic()
    state = ask(lab, guest)
    found = {**state.get("memory", {}), **state.get("work", {})}.get(guest.work)
    return None if found is None else ((asked + time.monotonic()) / 2, found)


def pace(before, after):
    return (after[1] - before[1]) / (after[0] - before[0]) if before and after else None


class Move:
    def __init__(self, stage, guest, link, contender, limit_s=catalog.LIMIT_S):
        self.stage, self.guest, self.link, self.contender = stage, guest, link, contender
        self.limit_s = limit_s
        self.source, self.destination = stage.source, stage.destination
        self.record = {}

    def run(self):
        """The record; it says so itself when the move failed or did not converge."""
        self.stage.clear(self.guest)
        self.stage.shape(self.link)
        self.stage.restore(self.guest, self.contender)
        try:
            with client.Prober(self.stage.lab, self.guest.name, udp_rate=PROBE_RATE, http_rate=1) as prober:
                self._settle(prober)
                self._move(prober)
        finally:
            self.stage.clear(self.guest)
        return self.record

    def _settle(self, prober):
        time.sleep(FIRST_S)
        first = work_done(self.stage.lab, self.guest)
        prober.reset()
        began, cpu = time.monotonic(), observe.path_seconds(self.source)
        time.sleep(QUIET_S)
        self.cpu_quiet = (observe.path_seconds(self.source) - cpu) / (time.monotonic() - began)
        self.work_before = work_done(self.stage.lab, self.guest)
        self.record["work_quiet"] = pace(first, self.work_before)
        self.record["quiet_gap_ms"] = prober.snapshot()["longest_gap"]["ms"]

    def _move(self, prober):
        self.passes = passes = observe.Passes(self.source, self.guest.name)
        watch = observe.Watch(self.stage.lab, self.source, self.destination)
        time.sleep(0.2)  # virsh event has connected
        prober.reset()
        try:
            watch.begin(without=[passes.pid], prober=prober.pid)
            out, error, status = self._command(watch)
            self.record.update(watch.counted)
            self._look(prober)
        finally:
            watch.ending.set()
            passes.stop()
        self.record["later_bytes"] = watch.bytes_since(passes.begun[2]) if 2 in passes.begun else None
        self._part(watch)
        self.record["passes"] = max(passes.begun, default=None)
        self._judge(out, error, status)

    def _part(self, watch):
        """What came from the first pass over the memory on, measured alike whoever moves it: the disk is there by then,
        but for what the guest goes on writing."""
        if 1 in self.passes.begun and "total_s" in self.record:
            self.record["memory_bytes"] = watch.bytes_since(self.passes.begun[1])
            self.record["memory_s"] = round(self.ended - self.passes.begun[1], 3)

    def _command(self, watch):
        """Runs it, ended after the limit of time; its times go into the record."""
        argv = command(self.contender, self.guest.name, self.destination)
        began = time.monotonic()
        process = self.source.popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.record["outcome"] = "moved"
        try:
            out, error = process.communicate(timeout=self.limit_s)
        except subprocess.TimeoutExpired:
            self.record["outcome"] = "not-converged"
            watch.counted = watch.finish()
            out, error = self._cancel(process)
        else:
            seconds, self.ended = time.monotonic() - began, time.time()
            watch.counted = watch.finish()
            self.record.update(total_s=round(seconds, 3),
                               cpu_above_s=round(watch.counted["cpu_s"] - self.cpu_quiet * seconds, 3))
        return out, error, process.returncode

    def _cancel(self, process):
        if self.contender.watari:
            process.send_signal(signal.SIGTERM)
        else:
            self.source.virsh("domjobabort", self.guest.name, check=False)
        try:
            return process.communicate(timeout=CANCEL_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.communicate()

    def _look(self, prober):
        """At the guest, as it is right after the move."""
        after = work_done(self.stage.lab, self.guest)
        time.sleep(AFTER_S)
        seen = prober.snapshot()
        moving = pace(self.work_before, after)
        quiet = self.record["work_quiet"]
        self.record.update(
            gap_ms=seen["longest_gap"]["ms"], gap_own_ms=seen["longest_gap"]["own_ms"],
            own_worst_ms=seen["own"]["worst_gap_ms"], session_survived=seen["session"]["survived"],
            work_moving=moving, work_kept=moving / quiet if moving is not None and quiet else None)
        if self.guest.kind == "small":
            self.record["wrong_pages"] = ask(self.stage.lab, self.guest).get("memory", {}).get("errors")

    # ---- what the contender says ----

    def _judge(self, out, error, status):
        record = self.record
        if self.contender.watari:
            self._read_report(out)
        else:
            self._read_job()
        if record["outcome"] == "moved" and status != 0:
            record["outcome"] = "failed"
            record["error"] = (error.strip() or out.strip())[-400:]
        if record["outcome"] == "moved" and guests.where(self.stage.lab, self.guest.name) != {
                self.destination.name: "running"}:
            record["outcome"], record["error"] = "failed", "the guest does not run at the destination"

    def _read_job(self):
        told = self.destination.virsh("domjobinfo", self.guest.name, "--completed", "--rawstats", check=False).stdout
        for line in told.splitlines():
            name, colon, value = line.partition(": ")
            if colon and name in STATS:
                self.record[STATS[name]] = int(value)

    def _read_report(self, out):
        try:
            report = json.loads(out)
        except ValueError:
            return
        times, told = report["times"], report["bytes"]
        self.record.update(job_ms=times["migration_ms"], downtime_ms=times["libvirt_downtime_ms"],
                           page_bytes=(told["pages_normal"] or 0) * 4096,
                           watari={name: report[name] for name in ("times", "bytes", "link") if name in report})
        self.record["watari"]["content"] = report["source"]["mover"]["content"]
        self.record["watari"]["disks"] = report.get("disks")
        rss = [report[side]["mover"]["rss_kib"] for side in ("source", "destination")]
        seen = self.record.get("movers_peak_mib") or [0, 0]
        if all(rss) and len(seen) == 2:
            self.record["movers_peak_mib"] = [max(one, round(kib / 1024, 1)) for one, kib in zip(seen, rss)]
