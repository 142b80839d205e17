# SPDX-License-Identifier: Apache-2.0
"""Where the packet-delay program is: compiled into the lab's cache, whatever the build is like.

A build with sanitizers would make the wire slow, and a lab can be raised before anything is built.
"""

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
    """Path of the program, made from its source when need be; $WATARI_BUILD's if there is no
    compiler."""
    with open(_SOURCE, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()[:16]
    path = f"{release.cache_dir()}/packet-delay-{digest}"
    if os.path.exists(path):
        return path
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is not None:
        _compile(compiler, path)
        return path
    built = f"{os.environ.get(BUILD_VARIABLE)}/lab/packet-delay"
    if os.path.exists(built):
        return os.path.abspath(built)
    raise LabError("packet-delay cannot be built: no C compiler (install gcc)")


def _compile(compiler: str, path: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.{os.getpid()}"
    argv = [compiler, "-O2", "-std=gnu17", "-D_GNU_SOURCE", "-o", temporary, _SOURCE]
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise LabError(f"packet-delay cannot be built: {result.stderr.strip()}")
    os.replace(temporary, path)
