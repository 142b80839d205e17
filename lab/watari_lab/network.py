# SPDX-License-Identifier: Apache-2.0
"""The lab's switch: bridges in the supervisor's namespace, and what can be done to the wires.

    hosta: mig0 ───── mig-hosta ┐                         without delay: all ports on one bridge
    hostb: mig0 ───── mig-hostb ┴ sw-mig

    hosta: mig0 ───── mig-hosta ─ dly-hosta ─ tap-hosta ┐ with delay: every port on a bridge of
    hostb: mig0 ───── mig-hostb ─ dly-hostb ─ tap-hostb ┴ packet-delay      its own

Rate is a tbf at each host's own end, loss, cuts and lengths are nft rules on the switch's bridges. Commands
run with the machine's own tools, so a node's root needs none of them.
"""

import dataclasses
import json
import subprocess

from . import kernel, process
from .errors import LabError
from .plan import MIGRATION, NETWORKS, NodePlan

# How long a packet may wait in the rate limiter's queue before it is dropped.
_QUEUE_MS = 50
_MTU = 1500
_MTU_WIRE = 9500  # the switch's own, so that it never is the limit


@dataclasses.dataclass
class LinkState:
    """What is set on the wires now."""

    rate: str | None = None
    delay_ms: float = 0.0
    loss: float = 0.0
    corrupt_every: int = 0  # TCP segments with data; 0: none
    mtu: int = _MTU  # what the hosts' interfaces believe
    drop_above: int = 0  # bytes of an IP packet that the switch still passes on; 0: any
    cuts: list[list[str]] = dataclasses.field(default_factory=list)  # [network, host or ""]


def run(argv: list[str], stdin: str | None = None) -> str:
    result = subprocess.run(
        argv, input=stdin, text=True, capture_output=True, check=False, timeout=30
    )
    if result.returncode != 0:
        raise LabError(f"{' '.join(argv)} failed: {result.stderr.strip()}")
    return result.stdout


def _ip_batch(lines: list[str], pid: int | None = None) -> None:
    """Many `ip` commands at once, in our own namespace or in that of `pid`."""
    argv = ["ip", "-batch", "-"]
    if pid is not None:
        argv = process.enter_network_argv(pid, argv)
    run(argv, "\n".join(lines) + "\n")


def _bridge_lines(name: str) -> list[str]:
    return [
        f"link add name {name} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
        f"link set dev {name} up",
    ]


def parse_rate(text: str) -> int:
    """Bits per second of "1gbit", "500mbit", "64kbit" or a plain number."""
    units = {"gbit": 10**9, "mbit": 10**6, "kbit": 10**3, "bit": 1, "": 1}
    value = text.strip().lower()
    number = value.rstrip("abcdefghijklmnopqrstuvwxyz")
    try:
        bits = int(float(number) * units[value[len(number) :]])
    except (KeyError, ValueError):
        bits = 0
    if bits < 8000:
        raise LabError(f"{text!r} is not a rate: write it like 1gbit, 500mbit or 64kbit")
    return bits


class Switch:
    """All bridges, ports and rules of one lab; lives in the supervisor."""

    def __init__(self, packet_delay: list[str]) -> None:
        self._packet_delay = packet_delay
        self._delay: subprocess.Popen | None = None
        self._hosts: dict[str, int] = {}
        self._ports: dict[str, list[str]] = {name: [] for name in NETWORKS}
        self.state = LinkState()

    def create(self) -> None:
        for table in ("ip", "ip6", "arp"):
            kernel.set_sysctl(f"net.bridge.bridge-nf-call-{table}tables", "0")
        kernel.set_sysctl("net.ipv6.conf.default.disable_ipv6", "1")
        lines = ["link set dev lo up"]
        for network in NETWORKS.values():
            lines += _bridge_lines(network.switch)
        _ip_batch(lines)

    def plug(self, plan: NodePlan, pid: int) -> None:
        """Wire a node up: a port on each of its networks, addresses inside."""
        outside, inside = [], ["link set dev lo up"]
        for name in plan.networks:
            network = NETWORKS[name]
            port = f"{network.port}-{plan.name}"
            outside += [
                f"link add name {port} mtu {_MTU_WIRE} type veth peer name {network.interface} mtu {_MTU} netns {pid}",
                f"link set dev {port} master {network.switch} up",
            ]
            inside += self._inside_lines(plan, name)
            self._ports[name].append(port)
        _ip_batch(outside)
        _ip_batch(inside, pid)
        if plan.is_host:
            self._hosts[plan.name] = pid

    @staticmethod
    def _inside_lines(plan: NodePlan, name: str) -> list[str]:
        network = NETWORKS[name]
        device, lines = network.interface, [f"link set dev {network.interface} up"]
        if name == "service" and plan.is_host:
            # Guests' taps join this bridge; its fixed MAC keeps the host's address steady.
            lines += _bridge_lines("br-svc")
            lines.append(f"link set dev br-svc address 52:54:00:0a:0a:{plan.number:02x}")
            lines.append(f"link set dev {device} master br-svc")
            device = "br-svc"
        lines.append(f"address add {plan.address_with_mask(name)} dev {device}")
        return lines

    # ---- shaping ----

    def shape(self, changes: dict) -> None:
        """Change rate (text or None), delay_ms, loss (0..1), corrupt_every (segments; 0: none), mtu and
        drop_above (bytes; 0: none) of the migration network."""
        new = dataclasses.replace(self.state, **changes)
        if not 0 <= new.loss < 1:
            raise LabError(f"a loss of {new.loss} makes no sense: give a share from 0 to below 1")
        if not 0 <= new.delay_ms <= 10000:
            raise LabError(f"a delay of {new.delay_ms} ms makes no sense: give 0 to 10000")
        if new.rate is not None:
            parse_rate(new.rate)
        if new.corrupt_every < 0:
            raise LabError("one spoiled segment in less than none makes no sense")
        if not 576 <= new.mtu <= _MTU_WIRE:
            raise LabError(f"an MTU of {new.mtu} makes no sense: give 576 to {_MTU_WIRE}")
        self._set_device(new)
        for pid in self._hosts.values():
            self._set_rate(pid, new.rate)
            # A lost packet shall be one frame of the wire, not a whole offloaded burst of them.
            segments = 1 if new.loss or new.drop_above else 65535
            _ip_batch([f"link set dev {MIGRATION.interface} gso_max_segs {segments} mtu {new.mtu}"], pid)
        self.state = new
        self._set_rules()

    def _set_rate(self, pid: int, rate: str | None) -> None:
        device = ["dev", MIGRATION.interface, "root"]
        if rate is None:
            if self.state.rate is not None:
                run(process.enter_network_argv(pid, ["tc", "qdisc", "del", *device]))
            return
        bits = parse_rate(rate)
        burst = max(16384, bits // 8 // 1000)  # a millisecond's worth
        tbf = ["tbf", "rate", f"{bits}bit", "burst", f"{burst}b", "latency", f"{_QUEUE_MS}ms"]
        run(process.enter_network_argv(pid, ["tc", "qdisc", "replace", *device, *tbf]))

    def _set_device(self, new: LinkState) -> None:
        """The packet device stands in the way only while it has something to do."""
        if not new.delay_ms and not new.corrupt_every:
            if self._delay is not None:
                self._unplug_delay()
            return
        if self._delay is None:
            self._plug_delay()
        self._tell_delay(f"delay {int(new.delay_ms * 1000)}")
        self._tell_delay(f"corrupt {int(new.corrupt_every)}")

    def _tell_delay(self, command: str) -> str:
        try:
            self._delay.stdin.write(command + "\n")
            self._delay.stdin.flush()
            answer = self._delay.stdout.readline().split()
        except BrokenPipeError:
            answer = []
        if answer[:1] != ["ok"]:
            raise LabError(f"packet-delay answered {' '.join(answer) or 'nothing'!r} and may have ended")
        return " ".join(answer[1:])

    def _plug_delay(self) -> None:
        taps = [f"tap-{name}" for name in self._hosts]
        self._delay = subprocess.Popen(
            self._packet_delay + taps,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            self._tell_delay("corrupted")  # it answers when all its taps are there
        except LabError:
            self._end_delay()
            raise
        lines = []
        for name in self._hosts:
            lines += _bridge_lines(f"dly-{name}")
            lines += [
                f"link set dev tap-{name} mtu {_MTU_WIRE} master dly-{name} up",
                f"link set dev {MIGRATION.port}-{name} master dly-{name}",
            ]
        _ip_batch(lines)

    def _unplug_delay(self) -> None:
        lines = []
        for name in self._hosts:
            lines.append(f"link set dev {MIGRATION.port}-{name} master {MIGRATION.switch}")
            lines.append(f"link del dev dly-{name}")
        _ip_batch(lines)
        self._end_delay()

    def _end_delay(self) -> None:
        delay, self._delay = self._delay, None
        delay.communicate(timeout=10)

    def child_pids(self) -> set[int]:
        return {self._delay.pid} if self._delay else set()

    # ---- cuts ----

    def cut(self, network: str, host: str = "") -> None:
        names = list(NETWORKS) if network == "all" else [network]
        for name in names:
            if name not in NETWORKS:
                raise LabError(f"no network {name!r}: there are {', '.join(NETWORKS)} and all")
            if host and f"{NETWORKS[name].port}-{host}" not in self._ports[name]:
                raise LabError(f"{host!r} is not on the {name} network")
            if [name, host] not in self.state.cuts:
                self.state.cuts.append([name, host])
        self._set_rules()

    def restore(self, network: str = "all", host: str = "") -> None:
        self.state.cuts = [
            [name, cut_host]
            for name, cut_host in self.state.cuts
            if network not in ("all", name) or host not in ("", cut_host)
        ]
        self._set_rules()

    def _rules(self) -> list[str]:
        rules = []
        for network, host in self.state.cuts:
            ports = [f"{NETWORKS[network].port}-{host}"] if host else self._ports[network]
            names = ", ".join(f'"{port}"' for port in ports)
            rules += [f"iifname {{ {names} }} drop", f"oifname {{ {names} }} drop"]
        if self.state.drop_above:
            names = ", ".join(f'"{port}"' for port in self._ports["migration"])
            rules.append(f"iifname {{ {names} }} meta length > {self.state.drop_above} drop")
        if self.state.loss:
            names = ", ".join(f'"{port}"' for port in self._ports["migration"])
            share = round(self.state.loss * 1000000)
            rules.append(f"iifname {{ {names} }} numgen random mod 1000000 < {share} drop")
        return rules

    def _set_rules(self) -> None:
        text = "table bridge lab\ndelete table bridge lab\n"
        rules = self._rules()
        if rules:
            text += "table bridge lab {\nchain wires {\n"
            text += "type filter hook forward priority 0; policy accept;\n"
            text += "\n".join(rules) + "\n}\n}\n"
        run(["nft", "-f", "-"], text)

    def describe(self) -> dict:
        described = dataclasses.asdict(self.state)
        described["corrupted"] = int(self._tell_delay("corrupted")) if self._delay else 0
        return json.loads(json.dumps(described))
