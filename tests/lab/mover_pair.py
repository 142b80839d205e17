# SPDX-License-Identifier: Apache-2.0
"""Two movers driven over their control channel, without libvirt: for tests of the movers alone and
for benches. A second, independent implementation of the conductor's side of docs/control.md."""
import json
import os
import queue
import secrets
import subprocess
import threading
import time


class MoverFailed(Exception):
    pass


class Mover:
    """One `watari mover`; PREFIX runs it somewhere else (a namespace)."""

    def __init__(self, watari, role, prefix=(), environment=None):
        self.role = role
        self.messages = queue.Queue()
        self.events = []
        self.stats = {}
        self.outcome = None
        self.writing = threading.Lock()  # the reader answers, too
        self.process = subprocess.Popen(
            [*prefix, watari, "mover"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **(environment or {})})
        threading.Thread(target=self._read, daemon=True).start()
        self.hello = self.wait("hello")

    def _read(self):
        for line in self.process.stdout:
            message = json.loads(line)
            message["at"] = time.monotonic()
            kind = message["t"]
            if kind == "stats":
                self.stats = message
            elif kind == "event":
                if message["what"] == "ask-awake":
                    self._answer(message)
                self.events.append(message)
                self.messages.put(message)
            else:
                self.messages.put(message)
        self.messages.put({"t": "gone"})

    def _answer(self, question):
        try:
            self.send("awake", n=question["n"])
        except MoverFailed:
            pass  # it ends, and “gone” follows

    def send(self, kind, **fields):
        try:
            with self.writing:
                self.process.stdin.write(json.dumps({"t": kind, **fields}) + "\n")
                self.process.stdin.flush()
        except (BrokenPipeError, ValueError) as error:  # ValueError: closed here
            raise MoverFailed(f"{self.role} mover is gone") from error

    def wait(self, kind, timeout=20):
        """The next message of that type (or event of that name); others are passed over."""
        end = time.monotonic() + timeout
        while True:
            try:
                message = self.messages.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                raise MoverFailed(f"{self.role} mover: no “{kind}” within {timeout} s") from None
            if message["t"] == "done":
                self.outcome = message
            if message["t"] == kind or message.get("what") == kind:
                return message
            if message["t"] in ("error", "gone"):
                raise MoverFailed(f"{self.role} mover: {message}")

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise MoverFailed(f"{self.role} mover did not end") from None
        self.process.stdout.close()


class MoverPair:
    """Both movers, linked. `source.socket` is where the source QEMU migrates to, `source.disk_socket` where it
    mirrors disks to."""

    def __init__(self, watari, directory, name="guest", uuid="5d3b6c1e-6a0b-4f7e-9b1e-0d8c2a4f6e11",
                 prefixes=((), ()), address="127.0.0.1", listen="destination", environment=None,
                 disks=None, verify_disks="none", disk_rate=0, seeds=None, **settings):
        self.id = secrets.token_hex(16)
        self.directory = directory
        self.movers = []
        try:
            key = secrets.token_hex(32)
            for role, prefix in zip(("source", "destination"), prefixes):
                mover = Mover(watari, role, prefix, environment)
                self.movers.append(mover)
                mover.send("setup", role=role, id=self.id, key=key,
                           vm={"name": name, "uuid": uuid},
                           socket_dir=f"{directory}/{role}", **settings)
                mover.socket = mover.wait("ready")["socket"]
            self.source, self.destination = self.movers
            self._link(listen, address)
            if seeds:
                for mover in reversed(self.movers):
                    mover.send("seeds", images=seeds)
                    mover.wait("seeds-ready")
            if disks:
                for mover in reversed(self.movers):
                    mover.send("disks", disks=disks, verify=verify_disks, rate=disk_rate)
                    mover.disk_socket = mover.wait("disks-ready")["socket"]
            for mover in reversed(self.movers):
                mover.send("start")
        except BaseException:
            self.close()
            raise

    def _link(self, listen, address):
        listener, caller = self.destination, self.source
        if listen == "source":
            listener, caller = caller, listener
        listener.send("listen", address=address)
        caller.send("connect", addresses=[address], port=listener.wait("listening")["port"])
        self.linked = [mover.wait("linked") for mover in (caller, listener)]

    def finish(self, timeout=30):
        """Both movers' last words, source first."""
        for mover in self.movers:
            if not mover.outcome:
                mover.outcome = mover.wait("done", timeout)
        for mover in self.movers:
            mover.send("bye")
        return [mover.outcome for mover in self.movers]

    def close(self):
        failed = None
        for mover in self.movers:
            try:
                mover.close()
            except MoverFailed as error:
                failed = error
        if failed:
            raise failed

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
