# SPDX-License-Identifier: Apache-2.0
"""The lab: hosts, networks and guests on one machine, gone without a trace when they are put down.

    from watari_lab import HostSpec, Lab

    with Lab("demo", hosts=[HostSpec("hosta"), HostSpec("hostb", unprivileged=True)]) as lab:
        lab.host("hosta").run(["ssh", "hostb", "true"])
        lab.link(rate="1gbit", delay_ms=10)
        print(lab.host("hostb").virsh("list", "--all").stdout)
"""

from .errors import CommandError, LabError
from .lab import Lab, list_labs
from .node import Node
from .plan import HostSpec
from .process import NodeProcess

__all__ = ["CommandError", "HostSpec", "Lab", "LabError", "Node", "NodeProcess", "list_labs"]
