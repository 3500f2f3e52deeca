# SPDX-License-Identifier: MIT
"""What test-witness (witness.c) writes into its books, and who works for a folder."""

import collections
import contextlib
import mmap
import os
import struct

from fttest import wait_for

# As in witness.c.
N_THREADS, N_CHILDREN = 4, 8
FIRST_SIZE, LANE_SIZES, N_RESIDUES = 20480, 1024, 997
STATUS, OUTPUT = 7, b"all done\n"
STEADY, FORKING, ENDING = 1, 2, 3
BOOKS = struct.Struct("QQ" + "QQQQQ" * (N_THREADS + N_CHILDREN))
Lane = collections.namedtuple("Lane", "pid begun returned dying freed")


def processes_of(folder, comm):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open("/proc/%s/comm" % pid) as file:
                if file.read().strip() != comm:
                    continue
            with open("/proc/%s/environ" % pid, "rb") as env:
                if os.fsencode(folder) + b"/" in env.read():
                    yield int(pid)


class Books:
    """The books of a program that is about to be started, or runs."""

    def __init__(self, path):
        self.path = path
        with open(path, "w+b") as file:
            file.truncate(BOOKS.size)
            self.map = mmap.mmap(file.fileno(), BOOKS.size)

    def numbers(self):
        return BOOKS.unpack(self.map[:])

    def pid(self):
        return self.numbers()[0]

    def lanes(self):
        numbers = self.numbers()[2:]
        return [Lane(*numbers[i:i + 5]) for i in range(0, len(numbers), 5)]

    def wait_begun(self):
        wait_for("the program", lambda: self.numbers()[1] == STEADY)

    def work(self, n=2000):
        """Let it do something: so many allocations."""
        before = sum(lane.returned for lane in self.lanes())
        wait_for("the program's work", lambda: sum(lane.returned for lane in self.lanes()) > before + n)

    def end(self):
        struct.pack_into("Q", self.map, 8, FORKING)
