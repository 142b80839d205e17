# SPDX-License-Identifier: Apache-2.0
"""Where Debian comes from for roots and images made here: where this machine's own apt takes it from."""

import os
import subprocess

from .errors import LabError

MIRROR_VARIABLE = "WATARI_LAB_MIRROR"
_FIELDS = "$(CREATED_BY) $(ORIGIN) $(LABEL) $(REPO_URI)"


def _ask_apt(*command: str) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.splitlines() if done.returncode == 0 else []


def choose(lines: list[str]) -> str | None:
    """Of apt's sources, one a line as _FIELDS, the first of Debian's own releases (not of its security updates)."""
    for line in lines:
        words = line.split()
        if words[:3] == ["Packages", "Debian", "Debian"] and words[-1].startswith(("http://", "https://")):
            return words[-1].rstrip("/")
    return None


def find() -> str:
    """The URL for debootstrap: $WATARI_LAB_MIRROR, or apt's."""
    found = os.environ.get(MIRROR_VARIABLE) or choose(_ask_apt("apt-get", "indextargets", "--format", _FIELDS))
    if not found:
        raise LabError(
            "this machine's apt names no mirror of Debian (run apt-get update, if it should), which is needed "
            f"once to make a root: name one by {MIRROR_VARIABLE}=URL"
        )
    return found


def environment() -> dict[str, str]:
    """Ours, with the proxy that apt is told to use."""
    ours = dict(os.environ)
    for line in _ask_apt("apt-config", "dump", "--format", "%f %v%n", "Acquire::http::Proxy", "Acquire::https::Proxy"):
        name, _, value = line.partition(" ")
        if value and value != "DIRECT":
            ours[f"{name.split('::')[1]}_proxy"] = value
    return ours
