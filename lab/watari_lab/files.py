# SPDX-License-Identifier: Apache-2.0
"""The files that make a root into a host of the lab: names, ssh, libvirt."""

import os
import shutil

from . import kernel
from .plan import NodePlan, hosts_file

KEY_DIR = "keys"  # below the lab's directory: user key "user", host key "host-NAME"

_SSHD_CONFIG = """\
Port 22
ListenAddress 0.0.0.0
HostKey /etc/ssh/ssh_host_ed25519_key
PidFile /run/sshd.pid
PermitRootLogin prohibit-password
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


def _write_ssh(root: str, plan: NodePlan, nodes: list[NodePlan], keys: str) -> None:
    ssh = f"{root}/root/.ssh"
    os.mkdir(ssh, 0o700)
    kernel.write_text(f"{ssh}/known_hosts", known_hosts(nodes, keys), 0o600)
    if plan.kind != "client":
        _copy(f"{keys}/user", f"{ssh}/id_ed25519", 0o600)
        _copy(f"{keys}/user.pub", f"{ssh}/id_ed25519.pub", 0o644)
        kernel.write_text(f"{ssh}/config", "StrictHostKeyChecking yes\n", 0o600)
    if plan.is_host:
        _copy(f"{keys}/user.pub", f"{ssh}/authorized_keys", 0o600)
        _copy(f"{keys}/host-{plan.name}", f"{root}/etc/ssh/ssh_host_ed25519_key", 0o600)
        _copy(f"{keys}/host-{plan.name}.pub", f"{root}/etc/ssh/ssh_host_ed25519_key.pub", 0o644)
        kernel.write_text(f"{root}/etc/ssh/sshd_config", _SSHD_CONFIG)
        os.makedirs(f"{root}/run/sshd", 0o755)


def _write_libvirt(root: str, plan: NodePlan) -> None:
    conf = _QEMU_CONF if plan.unprivileged else _QEMU_CONF + _QEMU_CONF_ROOT
    kernel.write_text(f"{root}/etc/libvirt/qemu.conf", conf, 0o600)
    kernel.write_text(f"{root}/etc/libvirt/libvirtd.conf", _LIBVIRTD_CONF.format(uuid=plan.uuid))


def write(root: str, plan: NodePlan, nodes: list[NodePlan], keys: str) -> None:
    """All files of node `plan` into its still separate root."""
    kernel.write_text(f"{root}/etc/hostname", plan.name + "\n")
    kernel.write_text(f"{root}/etc/hosts", hosts_file(nodes))
    kernel.write_text(f"{root}/etc/resolv.conf", "")
    kernel.write_text(f"{root}/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n")
    kernel.write_text(f"{root}/etc/machine-id", f"{plan.number:032x}\n")
    for name in ("watari", "watari.bin"):
        if os.path.lexists(f"{root}/usr/local/bin/{name}"):
            os.unlink(f"{root}/usr/local/bin/{name}")
    _write_ssh(root, plan, nodes, keys)
    if plan.is_host:
        _write_libvirt(root, plan)


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
