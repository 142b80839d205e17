# SPDX-License-Identifier: Apache-2.0
"""Where the packet-delay program is; compiled on the spot when the build has not made it."""

import hashlib
import os
import shutil
import subprocess

from . import release
from .errors import LabError

BUILD_VARIABLE = "WATARI_BUILD"
_LAB = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_SOURCE = os.path.join(_LAB, "packet-delay.c")


def find() -> str:
    """Path of the program, from $WATARI_BUILD or made from its source into the lab's cache."""
    build = os.environ.get(BUILD_VARIABLE)
    if build and os.path.exists(f"{build}/lab/packet-delay"):
        return os.path.abspath(f"{build}/lab/packet-delay")
    with open(_SOURCE, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()[:16]
    path = f"{release.cache_dir()}/packet-delay-{digest}"
    if not os.path.exists(path):
        _compile(path)
    return path


def _compile(path: str) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise LabError("packet-delay cannot be built: no C compiler (install gcc)")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.{os.getpid()}"
    argv = [compiler, "-O2", "-std=gnu17", "-D_GNU_SOURCE", "-o", temporary, _SOURCE]
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise LabError(f"packet-delay cannot be built: {result.stderr.strip()}")
    os.replace(temporary, path)
