# SPDX-License-Identifier: Apache-2.0
"""VMs of the ticking ROM (ticker.S) in the lab: made, started, watched, moved around by tests about what happens to a VM
rather than in it."""
import os
import pathlib
import subprocess
import tempfile
import time

from watari_lab import guest

HERE = pathlib.Path(__file__).resolve().parent
ROM = '/lab/shared/ticker.rom'
TICKS = 18.2  # a second
DOMAIN = """<domain type='{kind}'{namespace}>
  <name>{name}</name>{uuid}<memory unit='MiB'>{memory}</memory>{maximum}<vcpu>1</vcpu>{backing}
  <os><type arch='x86_64' machine='{machine}'>hvm</type><loader readonly='yes' type='rom'>{rom}</loader></os>
  <features><acpi/><apic/></features>{cpu}
  <devices><emulator>{emulator}</emulator>{devices}
    <serial type='file'><source path='{log}' append='on'/><target port='0'/></serial>
    <controller type='usb' model='none'/><memballoon model='none'/><video><model type='none'/></video>
  </devices>{extra}
</domain>"""
CPU = "<cpu mode='custom' match='exact'><model>qemu64</model></cpu>"


def assemble(work, writes=0, checks_mib=0):
    """The ROM as a file in the directory `work`; with `writes` it writes to so many pages at every tick, with
    `checks_mib` these are of an area of that size and it checks what is in them, and in another one of that size."""
    words = ['--defsym', f'WRITES={writes}'] if writes else []
    words += ['--defsym', 'CHECKS=1', '--defsym', f'SPAN={checks_mib << 20}'] if checks_mib else []
    subprocess.run(['as', '--32', *words, '-o', f'{work}/o', HERE / 'ticker.S'], check=True)
    subprocess.run(['ld', '-m', 'elf_i386', '-Ttext=0', '--oformat=binary', '-o', f'{work}/rom', f'{work}/o'], check=True)
    return pathlib.Path(f'{work}/rom')


def install(lab, writes=0, checks_mib=0):
    """Assembles the ROM into the directory that all hosts share."""
    with tempfile.TemporaryDirectory() as work:
        lab.hosts[0].write_bytes(ROM, assemble(work, writes, checks_mib).read_bytes())


def runs_on_kvm(seconds=3.0):
    """Whether this machine's KVM runs at least such a guest, found by running one: there are machines where /dev/kvm is
    there and hangs, or takes no 64-bit guest (watari_lab.guest.acceleration)."""
    with tempfile.TemporaryDirectory() as work:
        argv = ['qemu-system-x86_64', '-accel', 'kvm', '-M', guest.MACHINE, '-m', '128', '-nodefaults', '-display', 'none',
                '-bios', str(assemble(work)), '-serial', 'stdio', '-no-reboot']
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as qemu:
            os.set_blocking(qemu.stdout.fileno(), False)
            seen, limit = 0, time.monotonic() + seconds
            while seen < TICKS / 2 and qemu.poll() is None and time.monotonic() < limit:
                seen += len(qemu.stdout.read() or b'')
                time.sleep(0.05)
            qemu.kill()
    return seen >= TICKS / 2


def domain(name, kind='qemu', uuid='', memory=128, maximum='', backing='', devices='', cpu=CPU, machine=guest.MACHINE,
           emulator='/usr/bin/qemu-system-x86_64', namespace='', extra='', log='/lab/shared/ticks'):
    """Its XML; `name` and `log` are put in as they are."""
    uuid = uuid and f'<uuid>{uuid}</uuid>'
    return DOMAIN.format(kind=kind, name=name, uuid=uuid, memory=memory, maximum=maximum, backing=backing,
                         devices=devices, cpu=cpu, machine=machine, emulator=emulator, namespace=namespace,
                         extra=extra, log=log, rom=ROM)


def count(lab, log='/lab/shared/ticks'):
    """How often it has ticked until now, at all hosts together."""
    try:
        return os.stat(lab.hosts[0].path(log)).st_size
    except FileNotFoundError:
        return 0


def goes_on(lab, log='/lab/shared/ticks', seconds=20.0):
    """Whether it ticks, waiting for it for so long."""
    before, limit = count(lab, log), time.monotonic() + seconds
    while count(lab, log) == before:
        if time.monotonic() > limit:
            return False
        time.sleep(0.02)
    return True


# ---- what it found in its memory (a ROM with checks) ----

STATUS = 0x600
FIRST = 0x1000000  # its area begins there
MARK = 0x54415257


class Status:
    """What it says of itself: `passes` over its area, `wrong` pages and the address of the last one, `ticks`."""

    def __init__(self, words):
        self.mark, self.passes, self.wrong, self.address, self.ticks = words


def status(node, name):
    """Read out of the VM's memory, whether it runs or not; waits a moment for a VM that begins."""
    for _ in range(50):
        found = read_status(node, name)
        if found.mark == MARK:
            return found
        time.sleep(0.1)
    raise AssertionError(f'{name} is no VM of a ROM that checks: {vars(found)}')


def read_status(node, name):
    told = node.virsh('qemu-monitor-command', name, '--hmp', f'xp /5wx {STATUS:#x}').stdout
    words = [int(word, 16) for line in told.splitlines() for word in line.partition(':')[2].split()]
    return Status(words)


def wait_passes(node, name, more=2, seconds=60.0):
    """Waits until all its pages were looked at again, which takes a pass and a half; its status then."""
    begin, limit = status(node, name), time.monotonic() + seconds
    while True:
        now = status(node, name)
        if now.passes >= begin.passes + more:
            return now
        assert time.monotonic() < limit, f'{name} made {now.passes - begin.passes} passes in {seconds} s'
        time.sleep(0.1)


def spoil(node, name, address, memory=128):
    """Writes into the memory of a VM behind its back, as a move that lost a page would."""
    (pid, _), *_ = node.processes(f'guest={name},')
    with open(f'/proc/{pid}/maps', encoding='ascii') as maps:
        for line in maps:
            begin, end = (int(word, 16) for word in line.split()[0].split('-'))
            if end - begin == memory << 20:
                with open(f'/proc/{pid}/mem', 'r+b', buffering=0) as file:
                    file.seek(begin + address)
                    file.write(b'gone')
                return
    raise AssertionError(f'{name} has no memory of {memory} MiB')
