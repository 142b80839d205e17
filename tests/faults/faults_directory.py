# SPDX-License-Identifier: Apache-2.0
"""What may happen to the directory that a guest's state goes through, and to the file in it."""
import glob
import os

from faults import Event
from proven import Premise, fill_up

PLACE, DEVICE = '/lab/through', '/dev/through'  # a small file system on a device that both hosts have


class DirectoryFull(Event):
    def act(self, scene):
        self.filler = scene.hosts['source'].path(f'{PLACE}/filler')
        fill_up(self.filler, (1 << 20, 4096))

    def follow(self, scene):
        os.unlink(self.filler)


class DirectoryGone(Event):
    """Unmounted at one host, whoever has a file of it open."""

    def __init__(self, side):
        self.side = side

    def act(self, scene):
        node = scene.hosts[self.side]
        node.run(['umount', '-l', PLACE])
        if glob.glob(node.path(f'{PLACE}/*')):
            raise Premise('it is still there')

    def follow(self, scene):
        scene.hosts[self.side].run(['mount', DEVICE, PLACE])


class DirectoryReadOnly(Event):
    """What the move has put there cannot be removed then, which it must say."""

    def act(self, scene):
        scene.hosts['source'].run(['mount', '-o', 'remount,ro', PLACE])
        if not os.statvfs(scene.hosts['destination'].path(PLACE)).f_flag & os.ST_RDONLY:
            raise Premise('it can be written to')

    def follow(self, scene):
        scene.hosts['source'].run(['mount', '-o', 'remount,rw', PLACE])
        said, left = ''.join(scene.said), scene.files()
        assert not left or PLACE in said, f'{left} are left, and nobody said so: {said[-2000:]}'
        for path in left:
            os.unlink(path)


class StateSpoilt(Event):
    """The file is changed, cut short, or removed by somebody."""

    def __init__(self, spoil):
        self.spoil = spoil

    def act(self, scene):
        (path,) = (path for path in scene.files() if path.endswith('.state'))
        self.spoil(path)


def change(path):
    with open(path, 'r+b') as file:
        file.seek(os.fstat(file.fileno()).st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 0xff]))


def cut_short(path):
    os.truncate(path, os.stat(path).st_size * 3 // 4)
