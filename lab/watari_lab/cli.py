# SPDX-License-Identifier: Apache-2.0
"""The `lab` command: everything the Python interface can do, by hand."""

import argparse
import json
import os
import sys
import time

from . import wire
from .errors import CommandError, LabError
from .lab import Lab
from .measure import measure
from .plan import HostSpec

_DESCRIPTION = """\
Raise a lab of hosts on this machine, use it, and put it down without a trace.

Each host has its own network, mount, UTS and PID namespace, its own libvirtd, its own sshd and its
own files. There are three networks: service (guests, client), management (ssh, libvirt) and
migration (what `link` shapes). Further nodes are `admin`, a machine with ssh to all hosts, and
`client`, which sees the guests only."""

_EPILOG = """\
examples:
  sudo lab/lab up
  sudo lab/lab up --hosts hosta,hostb --release hostb=trixie --watari build/src/cli/watari
  sudo lab/lab shell hosta
  sudo lab/lab shell admin -- ssh hostb virsh list --all
  sudo lab/lab guest start hosta g1 -o pattern=text -o rate=500 -o set_mib=16
  sudo lab/lab client g1 -o seconds=10
  sudo lab/lab link rate 1gbit
  sudo lab/lab link delay 10
  sudo lab/lab link cut migration
  sudo lab/lab measure
  sudo lab/lab down"""


def _host_list(text: str, hosts: list[HostSpec]) -> list[HostSpec]:
    by_name = {host.name: host for host in hosts}
    if text in ("all", "none"):
        return hosts if text == "all" else []
    chosen = []
    for name in filter(None, text.split(",")):
        if name not in by_name:
            raise LabError(f"no host {name!r}: there are {', '.join(by_name)}")
        chosen.append(by_name[name])
    return chosen


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    return name, value


def _specs(options: argparse.Namespace) -> list[HostSpec]:
    hosts = [HostSpec(name) for name in options.hosts.split(",")]
    for host in _host_list(options.unprivileged or hosts[-1].name, hosts):
        host.unprivileged = True
    for name, release in options.release:
        _host_list(name, hosts)[0].release = release
    for name, path in options.host_watari:
        _host_list(name, hosts)[0].watari = path
    return hosts


def _up(options: argparse.Namespace) -> int:
    started = time.monotonic()
    lab = Lab(
        options.lab,
        _specs(options),
        watari=options.watari,
        watari_env=dict(options.watari_env),
        binds=options.bind,
        size=options.size,
    )
    lab.up(stay=True)
    print(f"lab {lab.name!r} is up after {time.monotonic() - started:.1f} s")
    _print_status(lab)
    print(f"next: {sys.argv[0]} shell {lab.hosts[0].name}; in the end: {sys.argv[0]} down")
    return 0


def _down(options: argparse.Namespace) -> int:
    for name in wire.lab_names() if options.all else [options.lab]:
        Lab.attach(name).down()
        print(f"lab {name!r} is gone")
    return 0


def _wire_text(link: dict) -> str:
    cuts = ", ".join(network + (f" of {host}" if host else "") for network, host in link["cuts"])
    return (
        f"rate {link['rate'] or 'unlimited'}, delay {link['delay_ms']:g} ms each way, "
        f"loss {link['loss'] * 100:g} %, cut: {cuts or 'nothing'}"
    )


def _print_status(lab: Lab) -> None:
    told = lab.describe()
    life = f"until process {told['raiser']} ends" if told["raiser"] else "until `lab down`"
    print(f"lab {lab.name}: process {lab.pid}, lives {life}")
    for node in lab.nodes.values():
        line = f"  {node.name:<10} pid {node.pid:<8}"
        line += " ".join(f"{name} {node.address(name)}" for name in node.plan.networks)
        print(line)
        if node.plan.is_host:
            watari = told["notes"].get(node.name, {}).get("watari")
            user = "libvirt-qemu" if node.plan.unprivileged else "root"
            print(
                f"  {'':<10} system {node.plan.release or 'of this machine'}, QEMU as {user}, "
                f"libvirtd {'up' if node.libvirtd_pid() else 'DOWN'}, "
                f"sshd {'up' if node.sshd_pid() else 'DOWN'}, watari {watari or 'none'}"
            )
    print(f"  migration link: {_wire_text(told['link'])}")


def _status(options: argparse.Namespace) -> int:
    names = wire.lab_names()
    if options.json:
        print(json.dumps([wire.ask(name, {"op": "describe"})[0] for name in names], indent=2))
        return 0
    if not names:
        print("no lab is up")
    for name in names:
        try:
            _print_status(Lab.attach(name))
        except LabError as error:  # it comes or goes just now
            print(f"lab {name}: {error}")
    return 0


def _shell(options: argparse.Namespace) -> int:
    from . import shell

    node = Lab.attach(options.lab).node(options.node)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if command:
        return shell.run_command(node, command)
    if not sys.stdin.isatty():
        return shell.run_command(node, ["bash", "-l"])
    return shell.run_shell(node)


def _watari(options: argparse.Namespace) -> int:
    binary = None if options.binary == "none" else options.binary
    Lab.attach(options.lab).host(options.host).set_watari(binary, dict(options.env))
    return 0


def _link(options: argparse.Namespace) -> int:
    lab = Lab.attach(options.lab)
    value = getattr(options, "value", None)
    match options.what:
        case "rate":
            link = lab.link(rate=None if value == "unlimited" else value)
        case "delay":
            link = lab.link(delay_ms=float(value))
        case "loss":
            link = lab.link(loss=float(value) / 100)
        case "cut":
            link = lab.cut(options.network, options.host)
        case "restore":
            link = lab.restore(options.network, options.host)
        case _:
            link = lab.describe()["link"]
    print(_wire_text(link))
    return 0


def _measure(options: argparse.Namespace) -> int:
    lab = Lab.attach(options.lab)
    names = [host.name for host in lab.hosts]
    source, destination = options.source or names[0], options.destination or names[-1]
    for pair in ((source, destination), (destination, source)):
        print(measure(lab, *pair, network=options.network, seconds=options.seconds))
    return 0


def _guest(options: argparse.Namespace) -> int:
    from . import guest

    lab = Lab.attach(options.lab)
    match options.what:
        case "start":
            address = guest.start(lab, options.host, options.name, **dict(options.option))
            print(f"guest {options.name!r} serves at {address}")
        case "stop":
            guest.stop(lab, options.host, options.name)
        case "load":
            guest.load(lab, options.name, options.pattern, **dict(options.option))
        case "check":
            guest.check(lab, options.name)
            print(f"guest {options.name!r}: memory and disk are intact")
        case "state":
            print(json.dumps(guest.state(lab, options.name), indent=2))
        case _:
            for host in lab.hosts:
                print(f"{host.name}:\n{host.virsh('list', '--all').stdout.rstrip()}")
    return 0


def _client(options: argparse.Namespace) -> int:
    from . import client

    print(client.run(Lab.attach(options.lab), options.guest, **dict(options.option)))
    return 0


def _add_up(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--hosts", default="hosta,hostb", help="names of the hosts (default: %(default)s)")
    add(
        "--unprivileged",
        metavar="HOST[,HOST]|all|none",
        help="hosts that run QEMU as Debian ships it, as its own user (default: the last one)",
    )
    add(
        "--release",
        metavar="HOST=NAME",
        type=_pair,
        action="append",
        default=[],
        help="give a host its own Debian root, such as hostb=trixie (built once, cached)",
    )
    add("--watari", metavar="PATH", help="binary that every host and admin get as `watari`")
    add(
        "--host-watari",
        metavar="HOST=PATH",
        type=_pair,
        action="append",
        default=[],
        help="another binary for one host",
    )
    add(
        "--watari-env",
        metavar="NAME=VALUE",
        type=_pair,
        action="append",
        default=[],
        help="variable `watari` always runs with, such as ASAN_OPTIONS=...",
    )
    add(
        "--bind",
        metavar="DIR",
        action="append",
        default=[],
        help="show this directory in every node, read-only, at the same path",
    )
    add("--size", default="75%", help="limit of the lab's tmpfs (default: %(default)s of memory)")
    parser.set_defaults(run=_up)


def _add_link(parser: argparse.ArgumentParser) -> None:
    what = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    rate = what.add_parser("rate", help="limit the rate, each direction")
    rate.add_argument("value", metavar="RATE", help="1gbit, 500mbit, 64kbit or `unlimited`")
    delay = what.add_parser("delay", help="hold every packet; the round trip grows by twice this")
    delay.add_argument("value", metavar="MILLISECONDS", help="0 takes the delay away")
    loss = what.add_parser("loss", help="lose packets at random")
    loss.add_argument("value", metavar="PERCENT")
    for name, default, text in (
        ("cut", "migration", "drop everything on a network"),
        ("restore", "all", "let a cut network work again"),
    ):
        sub = what.add_parser(name, help=text)
        sub.add_argument(
            "network",
            nargs="?",
            default=default,
            choices=["service", "management", "migration", "all"],
            help="(default: %(default)s)",
        )
        sub.add_argument("--host", default="", help="only this host's wire")
    what.add_parser("show", help="what is set now")
    parser.set_defaults(run=_link)


def _add_options(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument(
        "-o", "--option", metavar="NAME=VALUE", type=_pair, action="append", default=[], help=text
    )


def _add_guest(parser: argparse.ArgumentParser) -> None:
    what = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    start = what.add_parser("start", help="start a small guest and wait until it serves")
    start.add_argument("host")
    start.add_argument("name")
    _add_options(
        start, "memory_mib=256, vcpus=1, pattern=none|few|text|random|zero|same|mixed, set_mib=, rate="
    )
    stop = what.add_parser("stop", help="end a guest")
    stop.add_argument("name")
    stop.add_argument("host", nargs="?", help="only there (default: wherever it is)")
    load = what.add_parser("load", help="change what a guest does to its memory")
    load.add_argument("name")
    load.add_argument("pattern", help="none, few, text, random, zero, same or mixed")
    _add_options(load, "rate=PAGES_A_SECOND or max, set_mib=, order=sequential|random")
    for name, text in (("check", "let it verify its memory and disk"), ("state", "all it knows")):
        what.add_parser(name, help=text).add_argument("name")
    what.add_parser("list", help="guests on all hosts")
    parser.set_defaults(run=_guest)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lab",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--lab", default="lab", metavar="NAME", help="which lab, several can be up (default: lab)"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_up(commands.add_parser("up", help="raise a lab that stays until `down`"))
    down = commands.add_parser("down", help="put a lab down; nothing of it stays")
    down.add_argument("--all", action="store_true", help="every lab of this machine")
    down.set_defaults(run=_down)
    status = commands.add_parser("status", help="the labs that are up, their nodes and links")
    status.add_argument("--json", action="store_true", help="for programs")
    status.set_defaults(run=_status)
    shell = commands.add_parser("shell", help="a shell, or one command, on a host")
    shell.add_argument("node", metavar="HOST", help="a host, admin or client")
    shell.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    shell.set_defaults(run=_shell)
    watari = commands.add_parser("watari", help="change the watari binary of a host")
    watari.add_argument("host")
    watari.add_argument("binary", help="its path on this machine, or `none`")
    watari.add_argument("--env", metavar="NAME=VALUE", type=_pair, action="append", default=[])
    watari.set_defaults(run=_watari)
    _add_guest(commands.add_parser("guest", help="start, stop and list guests"))
    client = commands.add_parser("client", help="watch a guest from outside, report the gaps")
    client.add_argument("guest")
    _add_options(client, "seconds=10 (default: until Ctrl-C) and other options of the prober")
    client.set_defaults(run=_client)
    _add_link(commands.add_parser("link", help="shape, delay, lose, cut and restore"))
    measure_ = commands.add_parser("measure", help="measure round trip and rate, both ways")
    measure_.add_argument("source", nargs="?", help="(default: the first host)")
    measure_.add_argument("destination", nargs="?", help="(default: the last host)")
    measure_.add_argument("--network", default="migration", help="(default: %(default)s)")
    measure_.add_argument("--seconds", type=float, default=2.0, help="(default: %(default)s)")
    measure_.set_defaults(run=_measure)
    return parser


def main() -> int:
    options = _parser().parse_args()
    if os.geteuid() != 0:
        print("lab: the lab makes namespaces and interfaces: run it as root (sudo)", file=sys.stderr)
        return 2
    try:
        return options.run(options)
    except (LabError, CommandError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
        return 141
    except KeyboardInterrupt:
        return 130
