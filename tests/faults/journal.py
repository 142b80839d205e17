# SPDX-License-Identifier: Apache-2.0
"""The journals of a lab's nodes, read from outside: a copy is read, so that nothing of theirs is touched. (SQLite itself cannot
open a file below /proc/PID/root: it follows that link.)"""
import contextlib
import os
import shutil
import sqlite3
import tempfile

FOLDER = '/var/lib/watari'
NAME = 'journal.sqlite'
TRIES = 5  # somebody may write it meanwhile

HOLD = f"""
import sqlite3, sys
database = sqlite3.connect('{FOLDER}/{NAME}', timeout=5, isolation_level=None)
database.execute('BEGIN IMMEDIATE')
print('held', flush=True)
sys.stdin.read()
"""  # run inside a node: keeps all others from writing


def ask(node, question, values=()):
    """The rows of the answer; [] where there is no journal."""
    for attempt in range(TRIES):
        with tempfile.TemporaryDirectory() as folder:
            for name in (NAME, f'{NAME}-wal'):
                with contextlib.suppress(FileNotFoundError):
                    shutil.copyfile(node.path(f'{FOLDER}/{name}'), f'{folder}/{name}')
            if not os.path.exists(f'{folder}/{NAME}'):
                return []
            with contextlib.closing(sqlite3.connect(f'{folder}/{NAME}')) as database:
                try:
                    return database.execute(question, values).fetchall()
                except sqlite3.DatabaseError:
                    if attempt + 1 == TRIES:
                        raise
    return []


def open_moves(node, vm):
    """(phase, outcome) of the moves of a VM that have no clear end."""
    return ask(node, "SELECT phase, outcome FROM moves WHERE vm_name = ? AND (outcome IS NULL OR outcome = 'attention')", [vm])


def count(node):
    """Of moves in it."""
    rows = ask(node, 'SELECT count(*) FROM moves')
    return rows[0][0] if rows else 0


def said(node, before):
    """The phase and the events of the newest move, unless there are only so many moves."""
    with contextlib.suppress(sqlite3.OperationalError):  # it is being made
        if count(node) > before:
            (newest, phase), = ask(node, 'SELECT id, phase FROM moves ORDER BY rowid DESC LIMIT 1')
            return [phase, *(kind for kind, in ask(node, 'SELECT kind FROM events WHERE move = ?', [newest]))]
    return []
