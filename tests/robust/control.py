#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A word with a running recording: marks, pause, flush, figures; and who may have it (TAP)."""

import contextlib
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from fttest import Suite, analyze_json, check, check_equal, kill_group, preload_environment, query, run, skip, tool, wait_for  # noqa: E402
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
    summary = analyze_json("summary", image.path)
    check_equal(summary["marks"], [{"time_ns": time_ns, "label": label}], "phases of the summary")
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


def doors():
    """Names of the abstract sockets that collectors listen at."""
    with open("/proc/net/unix") as file:
        names = {line.split()[-1] for line in file}
    return sorted(name[1:] for name in names if name.startswith("@fragtrace"))


# Says what the socket of that name answers to words of its own, as the user of that number.
STRANGER = """
import os, random, socket, sys
uid, names = int(sys.argv[1]), sys.argv[2:]
if uid:
    os.setgid(uid)
    os.setuid(uid)
random.seed(7)
for name in names:
    for n in (0, 1, 8, 64, 200, 256, 4096, 60000):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.settimeout(20)
        try:
            s.connect("\\0" + name)
            if n:
                s.send(random.randbytes(n))
            else:
                s.shutdown(socket.SHUT_WR)
            print(len(s.recv(65536)))
        except ConnectionError:
            print(0)
        except TimeoutError:
            print("waited in vain")
        except OSError as error:
            print(0 if error.errno == 90 else error)
"""


def strangers(scratch, uid):
    with running(scratch, "say", "here", "read", "alloc", 70001, "say", "here", "read") as process:
        begun(process)
        names = doors()
        check(names, "no collector listens anywhere")
        result = run([sys.executable, "-c", STRANGER, str(uid), *names]).check_status(0)
        check_equal(set(result.stdout.split()), {b"0"}, "answers to nonsense")
        step(process)
        stats = json.loads(ctl(process, "ctl", process.pid, "stats").stdout)
        check(stats["live_bytes"] >= 70001 and not stats["paused"] and not stats["lost_events"], repr(stats))
        finish(process)
    image, = images(scratch, 1)
    check_equal((sizes(image).get(70001), image.marks, image.losses), ((1, 0), [], []), "the recording")


@suite.case("what the program has mapped is listed, by resident bytes", 60)
def mappings(scratch):
    with running(scratch, "alloc", 70001, "say", "here", "read") as process:
        begun(process)

        def sampled():
            ctl(process, "ctl", process.pid, "flush")
            path, = recordings_in(scratch)
            return int(rows_of(query(path, "SELECT count(*) AS n FROM mapping WHERE kind = 'heap'"))[0]["n"])
        wait_for("a sample of the mappings", sampled)
        with open("/proc/%d/maps" % process.pid) as maps:
            there = {int(line.split("-")[0], 16): line.split()[1] for line in maps}
        finish(process)
    image, = images(scratch, 1)
    section = analyze_json("report", image.path)["mappings"]
    listed = section["mappings"]
    check(section["sampled_ns"] is not None and not section["other"]["mappings"], repr(section["other"]))
    check_equal({m["start"]: m["perms"] for m in listed if m["kind"] in ("file", "heap", "stack")}.items() - there.items(),
                set(), "mappings that the program did not have")
    kinds = {m["kind"] for m in listed}
    check({"heap", "stack", "file"} <= kinds and any((m["path"] or "").endswith("/test-tree") for m in listed), repr(kinds))
    sizes_ = [m["rss"] for m in listed]
    check_equal(sizes_, sorted(sizes_, reverse=True), "the order")
    check_equal(section["bytes"], sum(m["end"] - m["start"] for m in listed), "bytes")


@suite.case("nonsense at the collector's socket is not answered and does no harm", 60)
def nonsense(scratch):
    strangers(scratch, 0)


@suite.case("another user at the collector's socket is not answered", 60)
def other_user(scratch):
    if os.getuid() != 0:
        skip("only root can be another user")
    strangers(scratch, 65534)


suite.run()
