# SPDX-License-Identifier: Apache-2.0
"""A QEMU process and its monitor."""
import json
import socket
import subprocess
import time


class QmpError(Exception):
    pass


class Qemu:
    """QEMU under `directory`, which QEMU itself sees as `inside` (they differ in a chroot)."""

    def __init__(self, command, directory, inside, name):
        self.path = f"{directory}/{name}.qmp"
        self.log = open(f"{directory}/{name}.log", "wb")
        self.process = subprocess.Popen(
            command + ["-qmp", f"unix:{inside}/{name}.qmp,server=on,wait=off"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.name = name
        self.socket = None
        try:
            self.socket = self._connect()
            self.reader = self.socket.makefile("rb")
            self.reader.readline()
            self.do("qmp_capabilities")
        except (OSError, QmpError) as error:
            self.stop()
            raise QmpError(f"{name}: {error}: {open(self.log.name).read().strip()}") from error

    def _connect(self):
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            s = socket.socket(socket.AF_UNIX)
            try:
                s.connect(self.path)
                return s
            except OSError:
                s.close()
                time.sleep(0.02)
        raise QmpError("no monitor")

    def do(self, verb, **arguments):
        names = {key.replace("_", "-"): value for key, value in arguments.items()}
        try:
            self.socket.sendall(json.dumps({"execute": verb, "arguments": names}).encode() + b"\n")
            return self._answer(verb)
        except OSError as error:
            raise QmpError(f"{self.name}: {error}: {open(self.log.name).read().strip()}") from error

    def _answer(self, verb):
        while True:
            line = self.reader.readline()
            if not line:
                raise QmpError(f"{self.name}: gone: {open(self.log.name).read().strip()}")
            answer = json.loads(line)
            if "error" in answer:
                raise QmpError(f"{self.name}: {verb}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.socket:
            self.socket.close()
        self.log.close()
