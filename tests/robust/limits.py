#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Limits that a program sets while it is traced, and the kernel's when there is no memory (TAP)."""

import contextlib
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from fttest import Suite, check, check_equal, environment, launcher, query, run, skip, wait_for  # noqa: E402
from robust import bare, images, rows_of, sizes, tree  # noqa: E402

suite = Suite()
MIB = 1 << 20


def limited(what, value, *words):
    @suite.case("RLIMIT_%s, set by the program while it is traced" % what, 60)
    def case(scratch):
        program = tree("alloc", 70001, "many", 2000, "limit", what, value, *words, "many", 2000, "alloc", 70002)
        alone = run(program).check_status(0).stdout
        traced = bare(scratch, program).stdout
        image, = images(scratch, 1)
        found = sizes(image)
        check_equal((found[70001], found[70002], found[64], image.losses), ((1, 0), (1, 0), (4000, 4000), []), "blocks")
        if not words:
            return
        had, has = int(alone), int(traced)
        check_equal(found[MIB], (has, has), "blocks of what there was")
        check(has >= had * 3 / 4, "%d MiB to be had, %d without the tracer" % (has, had))


limited("AS", 1024 * MIB, "fill", MIB)
limited("DATA", 512 * MIB, "fill", MIB)
limited("NOFILE", 4)
limited("CORE", 0)


class Group:
    """A control group with a limit of memory."""

    def __init__(self, limit):
        name = "ft-limit-%d" % os.getpid()
        for root, file, swap in (("/sys/fs/cgroup", "memory.max", "memory.swap.max"),
                                 ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes")):
            self.outer = os.path.join(root, name)
            self.folder = os.path.join(self.outer, "in")
            try:
                if not os.path.exists(os.path.join(root, "cgroup.procs")):
                    continue
                os.mkdir(self.outer)
                if file == "memory.max":
                    self.write(self.outer, "cgroup.subtree_control", "+memory")
                os.mkdir(self.folder)
                self.write(self.outer, file, limit)
                self.write(self.folder, file, limit * 4)
                with contextlib.suppress(OSError):
                    self.write(self.outer, swap, limit if "memsw" in swap else 0)
                return
            except OSError:
                self.remove()
        skip("no control group with a limit of memory can be made")

    @staticmethod
    def write(folder, name, value):
        with open(os.path.join(folder, name), "w") as file:
            file.write(str(value))

    def n_killed(self):
        for name in ("memory.events", "memory.oom_control"):
            with contextlib.suppress(OSError), open(os.path.join(self.folder, name)) as file:
                for line in file:
                    if line.startswith("oom_kill "):
                        return int(line.split()[1])
        return 0

    def remove(self):
        for folder in (self.folder, self.outer):
            with contextlib.suppress(OSError):
                os.rmdir(folder)


@suite.case("OOM kill of the program alone: all that had returned is recorded, and the limit of the group above", 60)
def oom(scratch):
    limit = 64 * MIB
    group = Group(limit)
    try:
        count, recording = os.path.join(scratch, "count"), os.path.join(scratch, "%n.frag")
        enter = 'echo $$ >"$1"; shift; exec "$@"'
        argv = ["sh", "-c", enter, "sh", os.path.join(group.folder, "cgroup.procs")] + tree("sleep", 300, "hog", 100000, count)
        result = run(launcher(recording, argv), cwd=scratch, env=environment(FRAGTRACE_SYMBOLIZE="0", FRAGTRACE_MIN_EVENTS="0"))
        check(result.status in (-9, 137), "status %d: %r" % (result.status, result.stderr))
        check(group.n_killed() >= 1, "the kernel killed nothing")
        image = next(image for image in images(scratch, 2) if 100000 in sizes(image))
    finally:
        wait_for("an empty group", lambda: group.remove() or not os.path.exists(group.outer))
    with open(count, "rb") as file:
        counted, = struct.unpack("=Q", file.read())
    births, deaths = sizes(image)[100000]
    check(counted > 100, "blocks: %d" % counted)
    check(counted <= births <= counted + 1 and not deaths, "%d counted, %d recorded" % (counted, births))
    check_equal((image.process["exit_kind"], image.process["exit_code"], image.losses, image.state),
                ("signal", 9, [], "complete"), "the end")
    rows = rows_of(query(image.path, "SELECT max(value) AS most FROM sample WHERE source = 'cgroup' AND key = 'memory.max'"))
    check_equal(int(rows[0]["most"]), limit, "the lowest limit")


suite.run()
