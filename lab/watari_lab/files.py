# SPDX-License-Identifier: Apache-2.0
"""The files that make a root into a host of the lab: names, ssh, libvirt."""

import os
import shutil
import sys

from . import kernel
from .plan import USER, NodePlan, hosts_file
from .process import home_of

_USER_ID = 4400

KEY_DIR = "keys"  # below the lab's directory: user key "user", host key "host-NAME"

CLOCK_FILE = "/run/lab-clock"  # named in host-clock.c too

_SSHD_CONFIG = """\
Port 22
ListenAddress {listen}
HostKey /etc/ssh/ssh_host_ed25519_key
PidFile /run/sshd.pid
PermitRootLogin {root_login}
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PrintMotd no
MaxStartups 200:30:400
MaxSessions 100
AcceptEnv LANG LC_*
Subsystem sftp internal-sftp
"""

# security_driver: no MAC labels, the ownership rules (DAC) are always on.
# cgroup_controllers: libvirt's groups would be made in the machine's hierarchy and stay there.
# stdio_handler: spares us a virtlogd.
_QEMU_CONF = """\
security_driver = "none"
cgroup_controllers = []
stdio_handler = "file"
"""
_QEMU_CONF_ROOT = """\
user = "root"
group = "root"
namespaces = []
remember_owner = 0
"""

_LIBVIRTD_CONF = """\
host_uuid = "{uuid}"
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_group = "libvirt"
unix_sock_rw_perms = "0770"
log_level = 3
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
"""


def _copy(source: str, target: str, mode: int) -> None:
    shutil.copyfile(source, target)
    os.chmod(target, mode)


def known_hosts(nodes: list[NodePlan], keys: str) -> str:
    lines = []
    for node in nodes:
        if not node.is_host:
            continue
        with open(f"{keys}/host-{node.name}.pub", encoding="ascii") as file:
            key = " ".join(file.read().split()[:2])
        names = [node.name, f"{node.name}-mig", f"{node.name}-svc"]
        names += [node.address(network) for network in node.networks]
        lines.append(f"{','.join(names)} {key}\n")
    return "".join(lines)


def _write_user_ssh(home: str, plan: NodePlan, nodes: list[NodePlan], keys: str) -> None:
    ssh = f"{home}/.ssh"
    os.mkdir(ssh, 0o700)
    kernel.write_text(f"{ssh}/known_hosts", known_hosts(nodes, keys), 0o600)
    if plan.kind != "client":
        _copy(f"{keys}/user", f"{ssh}/id_ed25519", 0o600)
        _copy(f"{keys}/user.pub", f"{ssh}/id_ed25519.pub", 0o644)
        kernel.write_text(f"{ssh}/config", "StrictHostKeyChecking yes\n", 0o600)
    if plan.is_host:
        _copy(f"{keys}/user.pub", f"{ssh}/authorized_keys", 0o600)


def _add_line(path: str, line: str, mode: int) -> None:
    """Add to an account file of the root, and leave its group."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    group = os.stat(path).st_gid
    kernel.write_text(path, text + line + "\n", mode)
    os.chown(path, 0, group)


def _write_user(root: str, plan: NodePlan, nodes: list[NodePlan], keys: str) -> None:
    """The account of whoever may not come as root; a locked password would lock out keys as well."""
    home = root + home_of(USER)
    _add_line(f"{root}/etc/passwd", f"{USER}:x:{_USER_ID}:{_USER_ID}::{home_of(USER)}:/bin/bash", 0o644)
    _add_line(f"{root}/etc/shadow", f"{USER}:*:19000:0:99999:7:::", 0o640)
    with open(f"{root}/etc/group", encoding="utf-8") as file:
        groups = file.read().splitlines()
    for index, line in enumerate(groups):
        if line.startswith("libvirt:"):
            groups[index] += ("" if line.endswith(":") else ",") + USER
    kernel.write_text(f"{root}/etc/group", "\n".join([*groups, f"{USER}:x:{_USER_ID}:"]) + "\n")
    kernel.write_text(f"{root}/etc/sudoers.d/{USER}", f"{USER} ALL=(ALL:ALL) NOPASSWD: ALL\n", 0o440)
    os.makedirs(home, 0o755, exist_ok=True)
    _write_user_ssh(home, plan, nodes, keys)
    for folder, names, found in os.walk(home):
        for name in [".", *names, *found]:
            os.chown(os.path.join(folder, name), _USER_ID, _USER_ID)


def _write_ssh(root: str, plan: NodePlan, nodes: list[NodePlan], keys: str) -> None:
    _write_user_ssh(f"{root}/root", plan, nodes, keys)
    if plan.is_host:
        _copy(f"{keys}/host-{plan.name}", f"{root}/etc/ssh/ssh_host_ed25519_key", 0o600)
        _copy(f"{keys}/host-{plan.name}.pub", f"{root}/etc/ssh/ssh_host_ed25519_key.pub", 0o644)
        config = _SSHD_CONFIG.format(
            listen="::" if plan.ipv6 else "0.0.0.0",
            root_login="prohibit-password" if plan.root_login else "no",
        )
        kernel.write_text(f"{root}/etc/ssh/sshd_config", config)
        os.makedirs(f"{root}/run/sshd", 0o755)


def _write_libvirt(root: str, plan: NodePlan) -> None:
    conf = _QEMU_CONF if plan.unprivileged else _QEMU_CONF + _QEMU_CONF_ROOT
    kernel.write_text(f"{root}/etc/libvirt/qemu.conf", conf, 0o600)
    kernel.write_text(f"{root}/etc/libvirt/libvirtd.conf", _LIBVIRTD_CONF.format(uuid=plan.uuid))


def _write_clock(root: str, plan: NodePlan, library: str) -> None:
    """The wall clock of this host alone: lab/host-clock.c, in all its processes."""
    with open(f"{root}{CLOCK_FILE}", "wb") as file:
        file.write(clock_bytes(plan.clock_s))
    kernel.write_text(f"{root}/etc/ld.so.preload", library + "\n")


def clock_bytes(seconds: float) -> bytes:
    """A step of the clock as host-clock.c reads it."""
    return round(seconds * 1e9).to_bytes(8, sys.byteorder, signed=True)


def write(root: str, plan: NodePlan, nodes: list[NodePlan], keys: str, clock_library: str) -> None:
    """All files of node `plan` into its still separate root."""
    kernel.write_text(f"{root}/etc/hostname", plan.name + "\n")
    kernel.write_text(f"{root}/etc/hosts", hosts_file(plan, nodes))
    kernel.write_text(f"{root}/etc/resolv.conf", "")
    kernel.write_text(f"{root}/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n")
    kernel.write_text(f"{root}/etc/machine-id", f"{plan.number:032x}\n")
    for name in ("watari", "watari.bin"):
        if os.path.lexists(f"{root}/usr/local/bin/{name}"):
            os.unlink(f"{root}/usr/local/bin/{name}")
    _write_ssh(root, plan, nodes, keys)
    if not all(node.root_login for node in nodes) and plan.kind != "client":
        _write_user(root, plan, nodes, keys)
    if plan.is_host:
        _write_libvirt(root, plan)
    if plan.clock_s is not None:
        _write_clock(root, plan, clock_library)


# ---- what libvirt found out about QEMU ----
#
# Asking QEMU takes libvirtd seconds of CPU. It keeps the answers in files and checks by itself
# (binaries, kernel, CPU) whether they still hold, so they may outlive a lab.

_CAPABILITIES = "/var/cache/libvirt/qemu/capabilities"


def _capability_store(plan: NodePlan, cache: str) -> str:
    user = "libvirt-qemu" if plan.unprivileged else "root"
    return f"{cache}/capabilities/{plan.release or 'machine'}-{user}"


def recall_capabilities(root: str, plan: NodePlan, cache: str) -> None:
    store = _capability_store(plan, cache)
    if not plan.is_host or not os.path.isdir(store):
        return
    os.makedirs(root + _CAPABILITIES)
    for name in filter(lambda name: name.endswith(".xml"), os.listdir(store)):
        _copy(f"{store}/{name}", f"{root}{_CAPABILITIES}/{name}", 0o600)


def keep_capabilities(root: str, plan: NodePlan, cache: str) -> None:
    store = _capability_store(plan, cache)
    os.makedirs(store, exist_ok=True)
    try:
        for name in os.listdir(root + _CAPABILITIES):
            with open(f"{root}{_CAPABILITIES}/{name}", encoding="utf-8") as file:
                text = file.read()
            if name.endswith(".xml"):
                kernel.write_text(f"{store}/{name}", text, 0o600)
    except FileNotFoundError:
        pass  # this libvirt keeps them elsewhere: the next lab asks again
