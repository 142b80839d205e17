# SPDX-License-Identifier: Apache-2.0
"""Whole machines crash: a host, or the one where the conductor runs."""
import glob
import os
import signal

from faults import Event
from proven import is_alive, wait_until


def kill_all(node):
    """All processes but the one that buries the others; their ids."""
    victims = [pid for pid, _ in node.processes() if pid != node.pid and is_alive(pid)]
    for pid in victims:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    return victims


def power_off(node, lab):
    """Nobody says goodbye: its network is dark before its processes are gone."""
    for network in node.plan.networks:
        lab.cut(network, node.name)
    victims = kill_all(node)
    wait_until(lambda: not kill_all(node), 10, f'{victims} of {node.name} live on')
    for place in ('libvirt', 'watari', 'user'):
        node.run(['rm', '-rf', f'/run/{place}'])
    forget_owners(node.path('/lab/images'))


def forget_owners(folder):
    """libvirt notes at a file whose it was before and since which boot; after a real boot it would see that this is over."""
    for path in glob.glob(f'{folder}/**', recursive=True):
        for name in os.listxattr(path):
            if name.startswith('trusted.libvirt.'):
                os.removexattr(path, name)


class ConductorCrash(Event):
    """The conductor's machine is gone with all that was in its memory, /run too; it is back when the hosts have given it up."""

    after_s = 40.0

    def act(self, scene):
        scene.conductor_pid()
        power_off(scene.conductor, scene.lab)

    def undo(self, scene):
        scene.lab.restore('all', scene.conductor.name)


class HostCrash(Event):
    """A whole host is gone, and back after a while: without the VMs that ran on it."""

    after_s = 20.0

    def __init__(self, side):
        self.side = side

    def act(self, scene):
        power_off(scene.hosts[self.side], scene.lab)

    def undo(self, scene):
        node = scene.hosts[self.side]
        node.start_libvirtd()
        node.start_sshd()
        scene.lab.restore('all', node.name)
