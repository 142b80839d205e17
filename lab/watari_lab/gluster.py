# SPDX-License-Identifier: Apache-2.0
"""glusterfs over FUSE: storage that all hosts share, and that libvirt and QEMU know as such (the lab's own shared
directory is a tmpfs, which they take for local). One brick on the first host, reached over the management network."""

PLACE = "/lab/gluster"
_BRICK = "/lab/images/.brick"
_VOLUME = "lab"
_TIMEOUT = 60


def raise_share(lab) -> str:
    """Mounts the volume in every host; it ends with the lab. Its path, the same everywhere."""
    server = lab.hosts[0]
    server.run(["mkdir", "-p", _BRICK])
    server.run(["glusterd"], timeout=_TIMEOUT)  # comes back when it serves

    def gluster(*words):
        server.run(["gluster", "--mode=script", "volume", *words], timeout=_TIMEOUT)

    gluster("create", _VOLUME, f"{server.name}:{_BRICK}", "force")
    gluster("start", _VOLUME)
    for node in lab.hosts:
        node.run(["mkdir", "-p", PLACE])
        node.run(["mount", "-t", "glusterfs", f"{server.name}:/{_VOLUME}", PLACE], timeout=_TIMEOUT)
        node.run(["mountpoint", "-q", PLACE])  # the mount helper does not always say that it failed
    return PLACE
