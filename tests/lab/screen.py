# SPDX-License-Identifier: Apache-2.0
"""A terminal of so many columns, and what stands on it: enough of one for a line that is drawn again and again."""
import fcntl
import os
import re
import struct
import termios
import unicodedata


def width(text):
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


class Screen:
    """`terminal` is for the program, close it once it is started; then read() until it says False."""

    def __init__(self, columns=80):
        self.columns = columns
        self._keyboard, self.terminal = os.openpty()
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self._bytes = b""

    def hand_over(self):
        os.close(self.terminal)

    def read(self):
        """False once no program has the terminal any more."""
        try:
            got = os.read(self._keyboard, 65536)
        except OSError:
            got = b""
        self._bytes += got
        return bool(got)

    def close(self):
        os.close(self._keyboard)

    def drawn(self):
        """Each state of each line, in order, as long as it was."""
        text = self._bytes.decode()
        return [part for part in re.split(r"[\r\n]+|\x1b\[K", text) if part]

    def lines(self):
        """What can be seen in the end."""
        lines, column = [""], 0
        for part in re.findall(r"\r|\n|\x1b\[K|[^\r\n\x1b]+|\x1b", self._bytes.decode()):
            if part == "\n":
                lines.append("")
            elif part == "\x1b[K":
                lines[-1] = lines[-1][:column]
            elif part != "\r":
                lines[-1] = lines[-1][:column] + part + lines[-1][column + len(part):]
                column += len(part)
            if part in "\r\n":
                column = 0
        return [line for line in lines if line.strip()]
