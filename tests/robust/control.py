#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A word with a running recording: marks, pause, flush, figures; and who may have it (TAP)."""

import contextlib
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from fttest import Suite, check, check_equal, kill_group, preload_environment, query, run, skip, tool, wait_for  # noqa: E402
from recordings import recordings_in  # noqa: E402
from robust import images, rows_of, sizes, tree  # noqa: E402

suite = Suite()


@contextlib.contextmanager
def running(scratch, *words):
    """test-tree does its words one after another, each group up to `read` when step() is called."""
    process = subprocess.Popen(tree(*words), cwd=scratch, start_new_session=True, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, env=preload_environment(
                                   FRAGTRACE_OUTPUT=scratch + "/%p.frag", FRAGTRACE_SYMBOLIZE="0"))
    try:
        yield process
    finally:
        kill_group(process)


def step(process):
    process.stdin.write(b"\n")
    process.stdin.flush()
    check_equal(process.stdout.readline(), b"here\n", "the program's answer")


def finish(process):
    process.stdin.write(b"\n")
    process.stdin.flush()
    check_equal(process.wait(), 0, "status of the program")


def ctl(process, *words, status=0):
    return run([tool("FRAGTRACE")] + [str(word) for word in words]).check_status(status)


def begun(process):
    check_equal(process.stdout.readline(), b"here\n", "the program's first word")
    wait_for("the collector", lambda: run([tool("FRAGTRACE"), "ctl", str(process.pid), "stats"]).status == 0)


@suite.case("a mark stands between what was before and what came after", 30)
def mark(scratch):
    with running(scratch, "alloc", 70001, "say", "here", "read", "alloc", 70002, "say", "here", "read") as process:
        begun(process)
        ctl(process, "mark", process.pid, "a label; with 'quotes'")
        step(process)
        finish(process)
    image, = images(scratch, 1)
    (kind, label, seq, time_ns), = image.marks
    check_equal((kind, label), ("user", "a label; with 'quotes'"), "the mark")
    rows = rows_of(query(image.path, "SELECT size, seq, time_ns FROM event WHERE size IN (70001, 70002)"))
    at = {int(row["size"]): (int(row["seq"]), int(row["time_ns"])) for row in rows}
    check(at[70001][0] < seq <= at[70002][0], "sequence %r of %r" % (seq, at))
    check(at[70001][1] <= time_ns <= at[70002][1] + 128, "time %r of %r" % (time_ns, at))


@suite.case("pause leaves out births and the deaths that belong to them, no others", 30)
def pause(scratch):
    here = ("say", "here", "read")
    with running(scratch, "alloc", 70001, *here, "alloc", 70002, "free", "alloc", 70003, "free-first", *here,
                 "free", "alloc", 70004, *here) as process:
        begun(process)
        ctl(process, "ctl", process.pid, "pause")
        again = ctl(process, "ctl", process.pid, "pause", status=125)
        check(b"paused already" in again.stderr, "stderr: %r" % again.stderr)
        step(process)
        check_equal(json.loads(ctl(process, "ctl", process.pid, "stats").stdout)["paused"], True, "paused")
        ctl(process, "ctl", process.pid, "resume")
        step(process)
        finish(process)
    image, = images(scratch, 1)
    found = {size: n for size, n in sizes(image).items() if size > 70000}
    check_equal(found, {70001: (1, 1), 70004: (1, 0)}, "blocks")
    check_equal([mark[0] for mark in image.marks], ["pause", "resume"], "marks")
    check_equal(int(image.meta["unknown_frees"]), 0, "unknown frees")
    check(int(image.meta["paused_events"]) >= 4, "paused events")


@suite.case("flush: all that happened before the question is in the file at the answer", 30)
def flush(scratch):
    with running(scratch, "say", "here", "read", "alloc", 70001, "say", "here", "read") as process:
        begun(process)
        step(process)
        ctl(process, "ctl", process.pid, "flush")
        path, = recordings_in(scratch)
        rows = rows_of(query(path, "SELECT count(*) AS n FROM event WHERE size = 70001"))
        check_equal(int(rows[0]["n"]), 1, "events of the block")
        stats = json.loads(ctl(process, "ctl", process.pid, "stats").stdout)
        check(stats["events"] > 0 and stats["live_bytes"] >= 70001 and not stats["lost_events"], repr(stats))


@suite.case("another user has no say, and a process that is not recorded says so", 30)
def others(scratch):
    nobody = ctl(None, "ctl", os.getpid(), "stats", status=125)
    check(b"not recorded" in nobody.stderr, "stderr: %r" % nobody.stderr)
    check(b"no process" in ctl(None, "mark", 99999999, "x", status=125).stderr, "no such process")
    if os.getuid() != 0:
        skip("only root can be another user")
    with running(scratch, "say", "here", "read") as process:
        begun(process)
        result = run([sys.executable, "-c", "import os; os.setuid(65534); os.execv(%r, %r)" % (
            tool("FRAGTRACE"), [tool("FRAGTRACE"), "ctl", str(process.pid), "pause"])])
        check_equal(result.status, 125, "status (%r)" % result.stderr)
        stats = json.loads(ctl(process, "ctl", process.pid, "stats").stdout)
        check_equal(stats["paused"], False, "paused by another user")


@suite.case("recordings are for their owner alone, and nothing listens on the network", 30)
def private(scratch):
    with running(scratch, "say", "here", "read") as process:
        begun(process)
        wait_for("the recording", lambda: recordings_in(scratch))
        path, = recordings_in(scratch)
        check_equal(os.stat(path).st_mode & 0o777, 0o600, "mode")
        for name in os.listdir(scratch):
            check_equal(os.stat(os.path.join(scratch, name)).st_mode & 0o077, 0, "mode of " + name)
        inodes = set()
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                with open("/proc/%s/comm" % pid) as comm:
                    if comm.read().startswith("fragtrace-coll"):
                        inodes |= {os.readlink("/proc/%s/fd/%s" % (pid, fd))
                                   for fd in os.listdir("/proc/%s/fd" % pid)}
        listening = set()
        for table in ("tcp", "tcp6", "udp", "udp6", "raw", "packet"):
            with contextlib.suppress(OSError), open("/proc/net/" + table) as file:
                listening |= {"socket:[%s]" % line.split()[9 if table != "packet" else 8]
                              for line in list(file)[1:]}
        check(not inodes & listening, "sockets on the network: %r" % (inodes & listening))


suite.run()
