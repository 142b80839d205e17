# SPDX-License-Identifier: Apache-2.0
"""The lab on paper: its networks, who sits where, and what one host looks like.

Every lab has its own network namespaces, so the addresses are the same in all of them.
"""

import dataclasses
import re

from .errors import LabError


@dataclasses.dataclass(frozen=True)
class Network:
    """One L2 segment. `port` prefixes the switch's ports, `interface` is its name inside a node."""

    name: str
    prefix: str
    prefix6: str  # of an IPv6-only lab; "" keeps IPv4 there too
    port: str
    switch: str
    interface: str
    suffix: str  # of the host names that mean an address on this network

    def address(self, number: int, ipv6: bool = False) -> str:
        return f"{self.prefix6}::{number}" if ipv6 and self.prefix6 else f"{self.prefix}.{number}"


SERVICE = Network("service", "10.10.0", "", "svc", "sw-svc", "svc0", "-svc")
MANAGEMENT = Network("management", "10.20.0", "fd00:20", "mgt", "sw-mgt", "mgt0", "")
MIGRATION = Network("migration", "10.30.0", "fd00:30", "mig", "sw-mig", "mig0", "-mig")
NETWORKS = {network.name: network for network in (SERVICE, MANAGEMENT, MIGRATION)}

# Guests take service addresses from here on.
FIRST_GUEST_NUMBER = 101
NETMASK = 24
NETMASK6 = 64

# Who has no root login works as this user, with sudo.
USER = "ops"

_NAME = re.compile(r"[a-z][a-z0-9-]{0,9}")


@dataclasses.dataclass
class HostSpec:
    """One host to be raised.

    unprivileged: QEMU runs as Debian ships it (own user, dynamic ownership, seccomp, own mount
        namespace) instead of as root.
    release: None for this machine's own system, or the name of a Debian release ("trixie"), which
        then lives in a root of its own, built once.
    watari: path of the binary to put into the host's /usr/local/bin/watari, or None for no Watari.
    watari_env: variables that binary always runs with there (ASAN_OPTIONS and the like).
    root_login: False closes ssh to root; people come as the user "ops", who is in the group libvirt
        and may do everything with sudo, without a password.
    clock_s: by how much the host's wall clock is ahead of the machine's (behind, if negative);
        Node.set_clock steps it. None: it is the machine's own and cannot be stepped.
    """

    name: str
    unprivileged: bool = False
    release: str | None = None
    watari: str | None = None
    watari_env: dict[str, str] = dataclasses.field(default_factory=dict)
    root_login: bool = True
    clock_s: float | None = None


@dataclasses.dataclass
class NodePlan:
    """One namespace with its own root: a host, the administrator's machine or the client."""

    name: str
    kind: str  # "host", "admin" or "client"
    number: int  # last byte of its addresses
    networks: list[str]
    unprivileged: bool = False
    release: str | None = None
    uuid: str = ""
    root_login: bool = True
    clock_s: float | None = None
    ipv6: bool = False

    @property
    def is_host(self) -> bool:
        return self.kind == "host"

    def address(self, network: str) -> str:
        return NETWORKS[network].address(self.number, self.ipv6)

    def address_with_mask(self, network: str) -> str:
        """As `ip address add` takes it, with what makes it usable at once."""
        address = self.address(network)
        return f"{address}/{NETMASK6} nodad" if ":" in address else f"{address}/{NETMASK} broadcast +"


def check_name(kind: str, name: str) -> None:
    """Names become interface names and abstract socket names, so they are short and plain."""
    if not _NAME.fullmatch(name):
        raise LabError(
            f"{kind} name {name!r} cannot be used: take a lower-case letter followed by at most "
            "nine lower-case letters, digits or dashes"
        )


def plan_nodes(hosts: list[HostSpec], ipv6_only: bool = False) -> list[NodePlan]:
    nodes = [
        NodePlan("client", "client", 2, ["service"], ipv6=ipv6_only),
        NodePlan("admin", "admin", 3, ["service", "management"], ipv6=ipv6_only),
    ]
    for index, host in enumerate(hosts):
        check_name("host", host.name)
        if any(node.name == host.name for node in nodes):
            raise LabError(f"host name {host.name!r} is used twice: give each host its own name")
        nodes.append(
            NodePlan(
                host.name,
                "host",
                11 + index,
                ["service", "management", "migration"],
                host.unprivileged,
                host.release,
                f"5761746a-7269-4c61-8262-{11 + index:012d}",
                host.root_login,
                host.clock_s,
                ipv6_only,
            )
        )
    return nodes


def hosts_file(plan: NodePlan, nodes: list[NodePlan]) -> str:
    """/etc/hosts of a node: the plain name is the management address (of the client, its service
    address), NAME-mig and NAME-svc are the other two. An IPv6-only node knows no name but its own."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost"]
    for node in [plan] if plan.ipv6 else nodes:
        plain = "management" if "management" in node.networks else "service"
        for network in node.networks:
            suffix = "" if network == plain else NETWORKS[network].suffix
            lines.append(f"{node.address(network)} {node.name}{suffix}")
    return "\n".join(lines) + "\n"
