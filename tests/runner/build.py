# SPDX-License-Identifier: Apache-2.0
"""The build trees that the tests use."""
import os
import shutil
import subprocess
import time

from .tally import TOP

SANITIZE = ['-Db_lundef=false', '--buildtype=debugoptimized']
# Directory: (compiler, meson's options)
TREES = {
    'build-asan': ('gcc', ['-Db_sanitize=address,undefined', *SANITIZE]),
    'build-tsan': ('gcc', ['-Db_sanitize=thread', *SANITIZE]),
    'build-fuzz': ('clang', ['-Dfuzz=true', '-Db_sanitize=address,undefined', *SANITIZE]),
    'build': ('gcc', []),
    'build-clang': ('clang', []),
}


class BuildFailed(Exception):
    pass


def run_command(command, **more):
    """Runs COMMAND; returns (status, output)."""
    done = subprocess.run(command, cwd=TOP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors='replace', check=False, **more)
    return done.returncode, done.stdout


def build(tally, name, targets=()):
    """Configures (once) and builds the tree NAME; returns its path."""
    compiler, arguments = TREES[name]
    tree = TOP / name
    started = time.monotonic()
    status, output = 0, ''
    if name in ('build-asan', 'build-tsan') and "'faults'" in (TOP / 'meson_options.txt').read_text():
        arguments = [*arguments, '-Dfaults=true']
    note = tree / 'tests-run-arguments'  # so that a tree made with others is made again
    usable = note.exists() and note.read_text() == str(arguments) or name == 'build'  # "make" made that one
    if not (tree / 'build.ninja').exists() or not usable:
        if name != 'build':
            shutil.rmtree(tree, ignore_errors=True)
        status, output = run_command(['meson', 'setup', *arguments, str(tree)],
                                     env={**os.environ, 'CC': compiler})
        if status == 0:
            note.write_text(str(arguments))
    if status == 0:
        status, output = run_command(['ninja', '-C', str(tree), *targets])
    if status:
        tally.fail('build', f'{name} builds', '\n'.join(output.splitlines()[-40:]))
        raise BuildFailed(name)
    tally.single('build', f'{name} builds ({time.monotonic() - started:.0f} s)', True)
    return tree


def run_compilers(tally, options):
    """Everything compiles with both compilers, without a warning."""
    if options.only:
        return
    tally.head('both compilers')
    build(tally, 'build')
    build(tally, 'build-clang')
