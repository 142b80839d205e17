# SPDX-License-Identifier: Apache-2.0
"""A guest of a kernel and a guest agent (agent-init), which answers or does not."""
import pathlib
import time

from watari_lab import guest, guest_image

HERE = pathlib.Path(__file__).resolve().parent
CHANNEL = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
DOMAIN = """<domain type='qemu'>
  <name>{name}</name><memory unit='MiB'>256</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='{machine}'>hvm</type><kernel>/lab/shared/agent-kernel</kernel>
  <initrd>/lab/shared/agent-initrd</initrd><cmdline>{words} agent={manner}</cmdline></os>
  <features><acpi/><apic/></features><cpu mode='custom' match='exact'><model>qemu64</model></cpu>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>{channel}<memballoon model='none'/>
    <controller type='usb' model='none'/></devices>
</domain>"""


def install(lab):
    """Puts kernel and initramfs into the directory that all hosts share."""
    modules = [*guest_image.SMALL_MODULES, 'virtio_console']
    images = guest_image._kernel_and_initrd(guest_image.CACHE, 'agent', HERE / 'agent-init', modules, {})
    for name, path in zip(('kernel', 'initrd'), images):
        lab.hosts[0].write_bytes(f'/lab/shared/agent-{name}', pathlib.Path(path).read_bytes())


def start(host, name, manner):
    """Starts it and waits until its agent has opened the channel."""
    host.write_text('/root/agent.xml', DOMAIN.format(name=name, machine=guest.MACHINE, words=guest.KERNEL_WORDS, manner=manner,
                                                     channel=CHANNEL))
    host.virsh('create', '/root/agent.xml')
    limit = time.monotonic() + guest.BOOT_TIMEOUT
    while "state='connected'" not in host.virsh('dumpxml', name).stdout:
        if time.monotonic() > limit:
            raise guest.GuestError(f'the guest agent of {name} did not open its channel')
        time.sleep(0.2)
