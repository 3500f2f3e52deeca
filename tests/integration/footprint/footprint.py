#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The memory that the tracer adds to a program (TAP).

Stated bound: 4 MiB, 1 MiB a thread that allocates (of those that run at a time), 48 bytes a node of the
tree of stacks. Each program runs untraced and traced, and prints or shows its smaps at the same point:
what is resident in the second run and not in the first is the tracer's. The recording has to state
no less than that, but for the code and data of the library itself.
"""

import contextlib
import os
import re
import sqlite3
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from fttest import (Suite, check, environment, free_port, launcher, need, port_is_open, run,  # noqa: E402
                    tool, wait_for)

suite = Suite()
PROGRAM = os.environ["FT_FOOTPRINT"]
MIB = 1 << 20
LIBRARY = 2 * MIB  # its code and data, the pages of libc that only it uses, and what differs by itself


def resident(smaps):
    return 1024 * sum(int(kib) for kib in re.findall(r"^Rss:\s+(\d+) kB$", smaps, re.M))


def facts_of(recording):
    """(what the recording states in bytes, nodes)"""
    with contextlib.closing(sqlite3.connect("file:%s?mode=ro" % recording, uri=True)) as db:
        meta = dict(db.execute("SELECT key, value FROM meta"))
        nodes, = db.execute("SELECT coalesce(sum(n_nodes), 0) FROM stack_chunk").fetchone()
    check(meta["state"] == "complete", "the recording is %s" % meta["state"])
    check(int(meta["lost_events"]) == 0, "%s events were lost" % meta["lost_events"])
    return int(meta["tracer_bytes"]) + int(meta["tracer_shared_bytes"]), nodes


def check_bound(added, threads, recording):
    stated, nodes = facts_of(recording)
    bound = 4 * MIB + threads * MIB + 48 * nodes
    figures = "%.2f MiB added, %.2f MiB stated, %.2f MiB allowed by %d threads and %d nodes" % (
        added / MIB, stated / MIB, bound / MIB, threads, nodes)
    print("# " + figures)
    check(added <= bound, figures)
    check(added <= stated + LIBRARY, figures)


def compare(scratch, argv, threads, env=None, name="program"):
    """A program that prints its smaps when its work is done."""
    recording = os.path.join(scratch, name + ".frag")
    untraced = run(argv, env=env).check_status(0)
    traced = run(launcher(recording, argv), env=env).check_status(0)
    added = resident(traced.stdout.decode()) - resident(untraced.stdout.decode())
    check_bound(added, threads, recording)


@suite.case("64 threads at once that fill their rings", 60)
def many_threads(scratch):
    compare(scratch, [PROGRAM, "threads", "64", "100000"], 65)


@suite.case("2000 threads, one after the other, need what one needs", 60)
def short_threads(scratch):
    compare(scratch, [PROGRAM, "short", "2000", "300"], 2)


@suite.case("some hundred thousand nodes in the tree of stacks", 60)
def many_stacks(scratch):
    # Just after a table has grown is the worst moment, so that one size would not do.
    for n in (20000, 55000, 82000, 100000):
        compare(scratch, [PROGRAM, "stacks", str(n)], 1, name="stacks-%d" % n)


@suite.case("python3", 60)
def python(scratch):
    script = """
import json
rows = [{"id": i, "name": "n%d" % i, "tags": [str(i % 7), "x" * (i % 50)]} for i in range(2000)]
for _ in range(4):
    assert len(json.loads(json.dumps(rows))) == len(rows)
print(open("/proc/self/smaps").read())
"""
    compare(scratch, [need("/usr/bin/python3"), "-c", script], 1,
            env=environment(PYTHONMALLOC="malloc", PYTHONHASHSEED="0"))


@suite.case("redis-server under load", 90)
def redis(scratch):
    server, client, benchmark = need("redis-server"), need("redis-cli"), need("redis-benchmark")
    recording = os.path.join(scratch, "program.frag")
    sizes = []
    for traced in (False, True):
        port = str(free_port())
        argv = [server, "--port", port, "--save", "", "--bind", "127.0.0.1", "--dir", scratch]
        env = environment(LD_PRELOAD=tool("PRELOAD"), FRAGTRACE_OUTPUT=recording) if traced else environment()
        process = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            wait_for("redis-server", lambda: port_is_open(int(port)))
            run([benchmark, "-p", port, "-q", "-n", "10000", "-c", "10", "-t", "set,lpush,hset"]).check_status(0)
            with open("/proc/%d/smaps" % process.pid) as f:
                sizes.append(resident(f.read()))
            run([client, "-p", port, "shutdown", "nosave"])
            process.wait(30)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    wait_for("the end of the recording", lambda: is_complete(recording))
    check_bound(sizes[1] - sizes[0], 5, recording)


def is_complete(recording):
    with contextlib.suppress(sqlite3.Error):
        with contextlib.closing(sqlite3.connect("file:%s?mode=ro" % recording, uri=True)) as db:
            return db.execute("SELECT value FROM meta WHERE key = 'state'").fetchone() == ("complete",)
    return False


suite.run()
