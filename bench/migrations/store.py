# SPDX-License-Identifier: Apache-2.0
"""The results: one JSON object a line, appended and synced after each move, so that a run that was stopped goes on.

A result counts for a later run when its key (guest, link, contender, repetition) and its fingerprint (what was
measured with: see `fingerprint`) are the same.
"""
import hashlib
import json
import os
import pathlib

KEY = ("guest", "link", "contender", "repetition")


def digest(*parts):
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def file_digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def fingerprint(versions, guest, link, contender):
    """What has to be the same for two results to belong together. Watari's binary counts for Watari alone."""
    shared = {name: version for name, version in versions.items() if name != "watari"}
    return digest(shared, guest.options, guest.warm_s, link.shape, contender.words,
                  versions["watari"] if contender.watari else "")


def key(record):
    return tuple(record[name] for name in KEY)


class Store:
    def __init__(self, directory, fresh=False):
        self.path = pathlib.Path(directory) / "moves.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if fresh and self.path.exists():
            os.replace(self.path, self.path.with_suffix(".jsonl.old"))
        self.records = list(self._read())

    def _read(self):
        if not self.path.exists():
            return
        data = self.path.read_bytes()
        whole = data[:data.rfind(b"\n") + 1]  # the last line may have been cut off with the run
        if whole != data:
            self.path.write_bytes(whole)
        for line in whole.decode().splitlines():
            yield json.loads(line)

    def find(self, wanted, mark, limit_s=0):
        """The newest result of this key and fingerprint, or None. One that failed is none, nor is one that was given less
        time to converge: it is tried again."""
        for record in reversed(self.records):
            if key(record) == wanted and record["fingerprint"] == mark:
                again = record["outcome"] == "failed" or (
                    record["outcome"] == "not-converged" and record["limit_s"] < limit_s)
                return None if again else record
        return None

    def add(self, record):
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.records.append(record)
