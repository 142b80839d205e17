# SPDX-License-Identifier: Apache-2.0
"""The lab's own programs in C, compiled into its cache, whatever the build is like.

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


def find(name: str, library: bool = False) -> str:
    """Path of the program (or shared library) made from lab/NAME.c, compiled when need be; without a
    compiler $WATARI_BUILD's."""
    source = os.path.join(_LAB, f"{name}.c")
    with open(source, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()[:16]
    path = f"{release.cache_dir()}/{name}-{digest}" + (".so" if library else "")
    if os.path.exists(path):
        return path
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is not None:
        _compile([compiler, *(["-shared", "-fPIC"] if library else [])], source, path)
        return path
    built = f"{os.environ.get(BUILD_VARIABLE)}/lab/{name}" + (".so" if library else "")
    if os.path.exists(built):
        return os.path.abspath(built)
    raise LabError(f"{name} cannot be built: no C compiler (install gcc)")


def _compile(compiler: list[str], source: str, path: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.{os.getpid()}"
    argv = [*compiler, "-O2", "-std=gnu17", "-D_GNU_SOURCE", "-o", temporary, source]
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise LabError(f"{os.path.basename(source)} cannot be built: {result.stderr.strip()}")
    os.replace(temporary, path)
