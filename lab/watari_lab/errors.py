# SPDX-License-Identifier: Apache-2.0
"""What goes wrong in the lab, with a message for a person."""

import subprocess


class LabError(Exception):
    """Something about the lab itself; the text names the thing, the reason and the next step."""


class CommandError(subprocess.CalledProcessError):
    """A command inside the lab ended badly; its text carries what the command said."""

    def __str__(self) -> str:
        text = super().__str__()
        for name, value in (("stdout", self.stdout), ("stderr", self.stderr)):
            if value:
                if isinstance(value, bytes):
                    value = value.decode(errors="replace")
                text += f"\n--- {name} ---\n{value.rstrip()}"
        return text
