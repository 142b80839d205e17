# SPDX-License-Identifier: Apache-2.0
"""The client's view of a guest: the prober of lab/client, run in the client's network.

    with client.Prober(lab, "g1") as prober:
        ... move the guest ...
        print(prober.snapshot()["longest_gap"])
    print(prober.report["longest_gap"]["ms"], prober.report["session"]["survived"])

Entering returns once UDP echo, HTTP and the session have each been answered. What the numbers mean: lab/client/prober.h.
"""

import json
import select
import subprocess
import tempfile
import time

from . import guest as guests
from . import guest_image
from .errors import LabError

_ANSWER_TIMEOUT = 10
_END_TIMEOUT = 30


class Prober:
    """A running measurement. options are the prober's own, as in http_rate=10 or gaps_over=5."""

    def __init__(self, lab, name: str, **options) -> None:
        self.lab = lab
        self.name = name
        self.options = options
        self.report: dict | None = None  # after the end
        self._process: subprocess.Popen | None = None
        self._errors = None
        self._buffer = b""

    def __enter__(self) -> "Prober":
        return self.start()

    def __exit__(self, *_) -> None:
        self.stop()

    def start(self) -> "Prober":
        argv = [str(guest_image.find_program("client", "prober")), guests.address(self.lab, self.name), "--control"]
        for key, value in self.options.items():
            argv += [f"--{key.replace('_', '-')}", str(value)]
        self._errors = tempfile.TemporaryFile()
        self._process = self.lab.client.popen_network(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, bufsize=0
        )
        try:
            self._answer(float(self.options.get("wait", 30)) + _ANSWER_TIMEOUT)
        except LabError:
            self._end()
            raise
        return self

    @property
    def pid(self) -> int | None:
        """Of its process while it runs (nsenter and setpriv have become the prober)."""
        return self._process.pid if self._process else None

    def snapshot(self) -> dict:
        """The report so far; the measurement goes on."""
        return self._ask("snapshot")

    def reset(self) -> dict:
        """The report so far; gaps, losses and times are counted anew from here. The session stays the same one."""
        return self._ask("reset")

    def stop(self) -> dict:
        """Ends the measurement; the whole report (also in .report)."""
        if self._process is None:
            return self.report
        try:
            self._process.stdin.close()
            self.report = self._answer(_END_TIMEOUT)
        finally:
            self._end()
        return self.report

    # ---- talking to it ----

    def _ask(self, command: str) -> dict:
        self._process.stdin.write(command.encode() + b"\n")
        return self._answer(_ANSWER_TIMEOUT)

    def _answer(self, timeout: float) -> dict:
        deadline = time.monotonic() + timeout
        out = self._process.stdout
        while b"\n" not in self._buffer:
            if not select.select([out], [], [], max(0, deadline - time.monotonic()))[0]:
                raise LabError(f"the prober of guest {self.name!r} says nothing for {timeout:.0f} s")
            part = out.read(65536)
            if not part:
                raise LabError(f"the prober of guest {self.name!r} ended: {self._complaint()}")
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    def _complaint(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").strip() or "without a word"

    def _end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()
        self._process = None


def run(lab, guest: str = "", *, seconds="", live="1", **options) -> str:
    """By hand: probes until Ctrl-C (or for some seconds) with a live line each second; the report as JSON for people."""
    if not guest:
        raise LabError("say which guest: -o guest=NAME")
    argv = [str(guest_image.find_program("client", "prober")), guests.address(lab, guest)]
    argv += ["--live"] if live not in ("", "0", "no") else []
    argv += ["--seconds", str(seconds)] if seconds else []
    for key, value in options.items():
        argv += [f"--{key.replace('_', '-')}", str(value)]
    process = lab.client.popen_network(argv, stdout=subprocess.PIPE)
    while True:
        try:
            out = process.communicate()[0]
            break
        except KeyboardInterrupt:  # the prober got it too, and is about to report
            continue
    if process.returncode:
        raise LabError(f"the prober ended with status {process.returncode}")
    return json.dumps(json.loads(out), indent=2)

