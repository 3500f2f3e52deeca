# SPDX-License-Identifier: MIT
"""A terminal for tests: a pty, and what a program has drawn on it.

Knows the few sequences that `top` uses, and refuses all others: what it can't draw it can't judge.
A character behind the last column sets `overflowed`, as do lines behind the last one.
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import fttest
from fttest import Failed, check

CSI = re.compile(rb"\x1b\[([?0-9;]*)([A-Za-z])")


class Screen:
    def __init__(self, rows, columns):
        self.resize(rows, columns)
        self.alternate, self.cursor, self.colors = False, True, set()
        self.overflowed, self.left = False, b""

    def resize(self, rows, columns):
        self.rows, self.columns = rows, columns
        self.lines = [[" "] * columns for _ in range(rows)]
        self.row = self.column = 0

    def feed(self, data):
        data, self.left = self.left + data, b""
        while data:
            if data.startswith(b"\x1b"):
                match = CSI.match(data)
                if not match:
                    if len(data) > 16:
                        raise Failed("a sequence that is none: %r" % data[:32])
                    self.left = data
                    return
                self.sequence(match.group(1), match.group(2))
                data = data[match.end():]
                continue
            end = data.find(b"\x1b")
            text, data = (data, b"") if end < 0 else (data[:end], data[end:])
            try:
                decoded = text.decode()
            except UnicodeDecodeError as error:
                if data or error.start < len(text) - 4:
                    raise
                decoded, self.left = text[:error.start].decode(), text[error.start:]
            for c in decoded:
                self.put(c)

    def put(self, c):
        if c == "\r":
            self.column = 0
        elif c == "\n":
            self.row += 1
            if self.row >= self.rows:
                self.overflowed = self.overflowed or self.alternate
                self.row = self.rows - 1
        elif self.column >= self.columns:
            self.overflowed = self.overflowed or self.alternate
        else:
            check(c >= " ", "a control character on the screen: %r" % c)
            self.lines[self.row][self.column] = c
            self.column += 1

    def sequence(self, parameters, letter):
        known = (parameters, letter)
        if letter == b"m":
            self.colors.add(parameters)
        elif known == (b"?1049", b"h") or known == (b"?1049", b"l"):
            self.alternate = letter == b"h"
        elif known == (b"?25", b"h") or known == (b"?25", b"l"):
            self.cursor = letter == b"h"
        elif known == (b"", b"H"):
            self.row = self.column = 0
        elif known == (b"", b"K"):
            check(self.column < self.columns, "the last column is cleared after it was written")
            self.lines[self.row][self.column:] = [" "] * (self.columns - self.column)
        elif known == (b"", b"J"):
            self.lines[self.row][self.column:] = [" "] * (self.columns - self.column)
            for row in range(self.row + 1, self.rows):
                self.lines[row] = [" "] * self.columns
        elif known == (b"2", b"J"):
            self.lines = [[" "] * self.columns for _ in range(self.rows)]
        else:
            raise Failed("an unknown sequence: CSI %r %r" % known)

    def text(self):
        return "\n".join("".join(line).rstrip() for line in self.lines)


class Terminal:
    """A program on a pty of its own; `with` ends it."""

    def __init__(self, argv, rows=24, columns=80, **changes):
        self.master, slave = pty.openpty()
        self.screen = Screen(rows, columns)
        self.set_size(rows, columns)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        changes.setdefault("TERM", "xterm-256color")
        changes.setdefault("LC_ALL", "C.UTF-8")
        changes.setdefault("NO_COLOR", None)
        self.process = subprocess.Popen(
            argv, stdin=slave, stdout=slave, stderr=slave, env=fttest.environment(**changes),
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)

    def set_size(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, rows, columns):
        self.screen.resize(rows, columns)
        self.set_size(rows, columns)
        self.process.send_signal(signal.SIGWINCH)

    def pump(self, seconds):
        """What has been drawn meanwhile. False: nothing was."""
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        try:
            self.screen.feed(os.read(self.master, 65536))
        except OSError:  # the other side is closed
            return False
        check(not self.screen.overflowed, "drawn beyond the screen:\n" + self.screen.text())
        return True

    def press(self, keys):
        os.write(self.master, keys)

    def wait_for(self, what, condition):
        """Until condition(text) is true of what is on the screen; returns that."""
        while not condition(self.screen.text()):
            if fttest.time_left() <= 0.2:
                raise Failed("waited in vain for %s; on the screen is:\n%s" % (what, self.screen.text()))
            if self.process.poll() is not None and not self.pump(0):
                raise Failed("%s: the program has ended (%s)" % (what, self.process.returncode))
            self.pump(0.1)
        return self.screen.text()

    def check_restored(self, status):
        """The program has ended, and the terminal is as it was."""
        end = time.monotonic() + fttest.time_left()
        while self.process.poll() is None and time.monotonic() < end:
            self.pump(0.05)
        while self.pump(0.05):
            pass
        fttest.check_equal(self.process.returncode, status, "status of the program")
        check(not self.screen.alternate, "the alternate screen was left on")
        check(self.screen.cursor, "the cursor was left off")
        fttest.check_equal(termios.tcgetattr(self.slave), self.before, "settings of the terminal")
