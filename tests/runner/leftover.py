# SPDX-License-Identifier: Apache-2.0
"""Afterwards nothing of a lab may be left: no process, namespace, mount or interface."""
import os
import pathlib
import socket
import time

NAMES = ('qemu-system', 'libvirtd', 'virtlogd', 'virtlockd', 'sshd', 'watari', 'virsh', 'dnsmasq', 'swtpm')
PATIENCE_S = 10


def processes():
    found = {}
    for entry in pathlib.Path('/proc').iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / 'cmdline').read_bytes().replace(b'\0', b' ').decode(errors='replace').strip()
            program = os.path.basename(command.split(' ')[0]).rstrip(':')
            started = (entry / 'stat').read_text().rsplit(')', 1)[1].split()[19]
        except (OSError, IndexError):
            continue
        if program.startswith(NAMES):
            found[(entry.name, started)] = f'process {entry.name}: {command[:150]}'
    return found


def namespaces():
    """Named network namespaces and those that processes live in."""
    found = {}
    for directory in ('/run/netns', '/var/run/netns'):
        if os.path.isdir(directory):
            for name in os.listdir(directory):
                found['netns', name] = f'network namespace {name}'
    for entry in pathlib.Path('/proc').iterdir():
        if not entry.name.isdigit():
            continue
        try:
            found[os.readlink(entry / 'ns' / 'net')] = f'network namespace of process {entry.name}'
        except OSError:
            continue
    return found


def mounts():
    with open('/proc/self/mountinfo', encoding='utf-8') as file:
        return {tuple(line.split()[i] for i in (2, 3, 4)): 'mount ' + line.split()[4] for line in file}


def interfaces():
    return {name: f'network interface {name}' for _, name in socket.if_nameindex()}


def snapshot():
    return {'processes': processes(), 'namespaces': namespaces(), 'mounts': mounts(), 'interfaces': interfaces()}


def new_since(before):
    now = snapshot()
    return {kind: [text for key, text in now[kind].items() if key not in before[kind]] for kind in now}


def wait_clean(before):
    """What is new since BEFORE; gives what is ending a little time."""
    end = time.monotonic() + PATIENCE_S
    while any(new_since(before).values()) and time.monotonic() < end:
        time.sleep(0.2)
    return [thing for things in new_since(before).values() for thing in things]


def check(tally, before, shared):
    """The end of a run: counts as one case."""
    tally.head('nothing is left behind')
    name = 'no process, namespace, mount or interface of a lab is left'
    if shared:
        tally.skip('leftover', name, 'others use this machine (--shared)')
        return
    left = wait_clean(before)
    tally.single('leftover', name, not left, '\n'.join(left))
