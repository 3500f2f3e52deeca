#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What recording costs, beside other tools, in one interleaved run.

    tests/bench/compare.py --build BUILD [--repeat 5] [--only REGEX] [--tools LIST] [--markdown]

Every repeat runs each tool once, in turn, on the same workload, so that a machine whose speed drifts
treats them alike; ratios are taken within a repeat and their medians are printed. The wall clock and CPU are the
program's own (wait4), from the start of the program to its end: what a tool does afterwards is not counted; `beside` is the CPU of
the collector. The tools:

    untraced     the baseline
    forward      a preloaded library that only forwards
    fragtrace    every event with its full stack, the collector running beside it
    heaptrack-r  heaptrack's preloaded library writing its raw file (what `heaptrack -r` does): the client's cost alone
    heaptrack    the whole of the heaptrack that the variable HEAPTRACK names, if any
    gperftools   libtcmalloc with HEAPPROFILE (samples by default; it replaces the allocator too)

A tool that is not installed is left out, and the table says so.
"""

import argparse
import glob
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

PYTHON_JSON = """
import json
rows = [{"id": i, "name": "n%d" % i, "tags": [str(i % 7), "x" * (i % 50)], "v": i * 1.5} for i in range(4000)]
for _ in range(60):
    text = json.dumps(rows)
    back = json.loads(text)
    assert len(back) == len(rows)
"""

SQLITE = """
CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b INT);
WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x < 1000000)
INSERT INTO t SELECT x, 'row ' || x, x * 7 % 1000 FROM c;
SELECT count(*), sum(b) FROM t;
"""


def first(pattern):
    found = sorted(glob.glob(pattern))
    return found[0] if found else None


class Workload:
    """`argv` is the program that is measured; `drive`, if any, is called while it runs and ends it."""

    def __init__(self, name, argv, env=None, stdin=None, drive=None):
        self.name, self.argv, self.env = name, argv, env or {}
        self.stdin, self.drive = stdin, drive


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def workloads(build, scratch):
    micro = os.path.join(build, "tests/bench/bench-micro")
    for depth in (8, 16, 32):
        yield Workload("micro depth %d" % depth, [micro, str(depth), "1", "2000000"])
    yield Workload("micro 2 threads", [micro, "16", "2", "1000000"])
    yield Workload("micro cross frees", [micro, "16", "2", "1000000", "cross"])

    python3 = shutil.which("python3", path="/usr/bin") or shutil.which("python3")
    if python3:
        yield Workload("python3 JSON", [python3, "-c", PYTHON_JSON], env={"PYTHONMALLOC": "malloc"})
    if shutil.which("sqlite3"):
        yield Workload("sqlite3", [shutil.which("sqlite3"), ":memory:"], stdin=SQLITE.encode())

    cc1plus = first("/usr/lib/gcc/x86_64-linux-gnu/*/cc1plus")
    if cc1plus:
        source = os.path.join(scratch, "all.cc")
        with open(source, "w") as f:
            f.write("#include <bits/stdc++.h>\n#include <regex>\nint main() { std::map<int, std::string> m; "
                    "std::regex r(\"a*\"); return m.size(); }\n")
        includes = []
        probe = subprocess.run(["g++", "-E", "-x", "c++", "-v", "/dev/null"], capture_output=True, text=True)
        listing = False
        for line in probe.stderr.splitlines():
            if line.startswith("#include <"):
                listing = True
            elif line.startswith("End of search"):
                listing = False
            elif listing:
                includes += ["-I", line.strip()]
        yield Workload("cc1plus", [cc1plus, "-quiet", "-fsyntax-only", "-D_GNU_SOURCE"] + includes + [source])

    if shutil.which("redis-server") and shutil.which("redis-benchmark"):
        port = str(free_port())

        def drive(process):
            for _ in range(200):
                if subprocess.run(["redis-cli", "-p", port, "ping"], capture_output=True).stdout == b"PONG\n":
                    break
                time.sleep(0.05)
            subprocess.run(["redis-benchmark", "-p", port, "-q", "-n", "200000", "-c", "20", "-r", "100000",
                            "-t", "set,get,lpush,lpop,hset"], stdout=subprocess.DEVNULL, check=True)
            subprocess.run(["redis-cli", "-p", port, "shutdown", "nosave"], capture_output=True)

        yield Workload("redis-server", [shutil.which("redis-server"), "--port", port, "--save", "",
                                        "--bind", "127.0.0.1", "--dir", scratch], drive=drive)

    if shutil.which("make") and shutil.which("gcc"):
        tree = os.path.join(scratch, "tree")
        os.mkdir(tree)
        for i in range(8):
            with open(os.path.join(tree, "f%d.c" % i), "w") as f:
                f.write("#include <stdio.h>\n#include <stdlib.h>\n#include <pthread.h>\n")
                for j in range(150):
                    f.write("int f%d_%d(int x) { int a[8]; for (int i = 0; i < 8; i++) a[i] = x * i; "
                            "return a[x & 7] + printf(\"%%d\", x); }\n" % (i, j))
        with open(os.path.join(tree, "Makefile"), "w") as f:
            f.write("all: " + " ".join("f%d.o" % i for i in range(8)) + "\n%.o: %.c\n\tgcc -O2 -c -o /dev/null $<\n")
        yield Workload("make -j2", [shutil.which("make"), "-s", "-C", tree, "-j2"])


class Tool:
    name, missing = None, None

    def wrap(self, workload, scratch):
        """argv and environment additions."""
        return workload.argv, {}

    def after(self, scratch):
        """Once the program has ended: facts beyond wait4's."""
        return {}


class Untraced(Tool):
    name = "untraced"


class Forward(Tool):
    name = "forward"

    def __init__(self, build):
        self.library = os.path.join(build, "tests/bench/libbench-forward.so")
        self.missing = None if os.path.exists(self.library) else "not built"

    def wrap(self, workload, scratch):
        return workload.argv, {"LD_PRELOAD": self.library}


class Fragtrace(Tool):
    name = "fragtrace"

    def __init__(self, build):
        self.library = os.path.join(build, "libtrace/tracer/libfragtrace.so")
        self.analyzer = os.path.join(build, "analyzer/cli/fraganalyze")
        self.missing = None if os.path.exists(self.library) else "not built"

    def wrap(self, workload, scratch):
        return workload.argv, {"LD_PRELOAD": self.library,
                               "FRAGTRACE_OUTPUT": os.path.join(scratch, "out.%p.frag")}

    def after(self, scratch):
        recordings, facts = glob.glob(os.path.join(scratch, "out.*.frag")), {}
        for path in recordings:
            begin = time.monotonic()
            done = subprocess.run([self.analyzer, "summary", path, "--json"], capture_output=True)
            facts["analysis"] = facts.get("analysis", 0) + time.monotonic() - begin
            if done.returncode != 0:
                sys.exit("fraganalyze summary %s: %s" % (path, done.stderr.decode()))
            totals = json.loads(done.stdout)["totals"]
            facts["events"] = facts.get("events", 0) + totals["events"]
            facts["lost"] = facts.get("lost", 0) + totals["lost_events"]
            facts["disk"] = facts.get("disk", 0) + os.path.getsize(path)
            meta = subprocess.run([self.analyzer, "query", path, "--csv",
                                   "SELECT value FROM meta WHERE key = 'collector_cpu_ns'"],
                                  capture_output=True, text=True).stdout.split()
            if len(meta) > 1:
                facts["beside"] = facts.get("beside", 0) + int(meta[1]) / 1e9
        return facts


class HeaptrackRaw(Tool):
    name = "heaptrack-r"

    def __init__(self):
        self.library = first("/usr/lib/heaptrack/libheaptrack_preload.so") or \
            first("/usr/lib/*/heaptrack/libheaptrack_preload.so")
        self.missing = None if self.library else "heaptrack is not installed"

    def wrap(self, workload, scratch):
        return workload.argv, {"LD_PRELOAD": self.library,
                               "DUMP_HEAPTRACK_OUTPUT": os.path.join(scratch, "raw.$$")}

    def after(self, scratch):
        return {"disk": sum(os.path.getsize(p) for p in glob.glob(os.path.join(scratch, "raw.*")))}


class Heaptrack(Tool):
    name = "heaptrack"

    def __init__(self):
        self.program = os.environ.get("HEAPTRACK")
        self.missing = None if self.program else "HEAPTRACK names none"

    def wrap(self, workload, scratch):
        return [self.program, "-o", os.path.join(scratch, "heaptrack")] + workload.argv, {}

    def after(self, scratch):
        files = glob.glob(os.path.join(scratch, "heaptrack.*"))
        facts = {"disk": sum(os.path.getsize(p) for p in files)}
        printer = os.path.join(os.path.dirname(self.program), "heaptrack_print")
        if files and os.path.exists(printer):
            begin = time.monotonic()
            subprocess.run([printer, "-f", files[0]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            facts["analysis"] = time.monotonic() - begin
        return facts


class Gperftools(Tool):
    name = "gperftools"

    def __init__(self):
        self.library = first("/usr/lib/x86_64-linux-gnu/libtcmalloc.so.*")
        self.missing = None if self.library else "libtcmalloc is not installed"

    def wrap(self, workload, scratch):
        return workload.argv, {"LD_PRELOAD": self.library, "HEAPPROFILE": os.path.join(scratch, "profile")}


def measure(workload, tool, timeout):
    """One run: facts, or None when it did not end in time."""
    with tempfile.TemporaryDirectory(prefix="fragtrace-bench-") as scratch:
        argv, extra = tool.wrap(workload, scratch)
        env = {k: v for k, v in os.environ.items() if not k.startswith("FRAGTRACE_") and k != "LD_PRELOAD"}
        env.update(workload.env)
        env.update(extra)
        stdin = subprocess.DEVNULL
        if workload.stdin is not None:
            stdin = open(os.path.join(scratch, "stdin"), "w+b")
            stdin.write(workload.stdin)
            stdin.seek(0)
        begin = time.monotonic()
        process = subprocess.Popen(argv, env=env, cwd=scratch, stdin=stdin, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, start_new_session=True)
        if stdin != subprocess.DEVNULL:
            stdin.close()
        signal.signal(signal.SIGALRM, lambda *_: os.killpg(process.pid, signal.SIGKILL))
        signal.alarm(timeout)
        if workload.drive:
            workload.drive(process)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - begin
        signal.alarm(0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode == -signal.SIGKILL:
            return None
        if process.returncode != 0:
            sys.exit("%s under %s: status %d" % (workload.name, tool.name, process.returncode))
        facts = {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "rss": usage.ru_maxrss * 1024}
        facts.update(tool.after(scratch))
        return facts


def show(value, form="%.2f"):
    return "-" if value is None else form % value


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--only", default=".")
    parser.add_argument("--tools", default="untraced,forward,fragtrace,heaptrack-r,heaptrack,gperftools")
    parser.add_argument("--timeout", type=int, default=120, help="seconds a run may take")
    options = parser.parse_args()
    build = os.path.abspath(options.build)
    wanted = options.tools.split(",")
    tools = [t for t in (Untraced(), Forward(build), Fragtrace(build), HeaptrackRaw(), Heaptrack(), Gperftools())
             if t.name in wanted]
    for tool in tools:
        if tool.missing:
            print("left out: %s (%s)" % (tool.name, tool.missing))
    tools = [t for t in tools if not t.missing]

    print("| workload | tool | wall s | wall ratio | CPU s | CPU ratio | beside s | peak RSS MiB | disk MiB "
          "| bytes/event | added ns/event | analysis s |")
    print("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory(prefix="fragtrace-bench-") as shared:
        for workload in workloads(build, shared):
            if not re.search(options.only, workload.name):
                continue
            runs = {t.name: [] for t in tools}
            for _ in range(options.repeat):
                for tool in tools:
                    runs[tool.name].append(measure(workload, tool, options.timeout))
            base = runs["untraced"]
            events = max((r.get("events", 0) for r in runs.get("fragtrace", []) if r), default=0)
            for tool in tools:
                pairs = [(r, b) for r, b in zip(runs[tool.name], base) if r and b]
                if not pairs:
                    print("| %s | %s | did not end in %d s |" % (workload.name, tool.name, options.timeout))
                    continue

                def median(key):
                    values = [r[key] for r, _ in pairs if r.get(key) is not None]
                    return statistics.median(values) if values else None

                added = statistics.median((r["wall"] - b["wall"]) for r, b in pairs)
                disk = median("disk")
                print("| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |" % (
                    workload.name, tool.name, show(median("wall")),
                    show(statistics.median(r["wall"] / b["wall"] for r, b in pairs)),
                    show(median("cpu")), show(statistics.median(r["cpu"] / b["cpu"] for r, b in pairs)),
                    show(median("beside")), show(median("rss") / 2**20, "%.1f"),
                    show(disk / 2**20 if disk is not None else None),
                    show(disk / events if disk and events else None),
                    show(added / events * 1e9 if events and tool.name != "untraced" else None, "%.0f"),
                    show(median("analysis"))), flush=True)
                lost = sum(r.get("lost", 0) for r, _ in pairs)
                if lost:
                    print("| | %d events were lost |" % lost)


main()
