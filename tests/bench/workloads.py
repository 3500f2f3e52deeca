# SPDX-License-Identifier: MIT
"""What compare.py runs: programs that do the same work each time."""

import glob
import os
import shutil
import socket
import subprocess
import time

PYTHON_JSON = """
import json
rows = [{"id": i, "name": "n%d" % i, "tags": [str(i % 7), "x" * (i % 50)], "v": i * 1.5} for i in range(4000)]
for _ in range(60):
    text = json.dumps(rows)
    back = json.loads(text)
    assert len(back) == len(rows)
"""

# Indented text is written by json's Python code, not by its C code: less of it is allocation.
PYTHON_INDENT = PYTHON_JSON.replace("range(60)", "range(30)").replace("dumps(rows)", "dumps(rows, indent=1)")

SQLITE = """
CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b INT);
WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x < 1000000)
INSERT INTO t SELECT x, 'row ' || x, x * 7 % 1000 FROM c;
SELECT count(*), sum(b) FROM t;
"""

# With an index, an order that is not the rows', and a query: less of it is allocation.
SQLITE_INDEX = """
CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b INT);
CREATE INDEX i ON t(b, a);
WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x < 500000)
INSERT INTO t SELECT x, 'row ' || x, x * 7 % 1000 FROM c;
SELECT b, count(*), max(a) FROM t GROUP BY b ORDER BY 2 DESC LIMIT 10;
"""

CPLUSPLUS = """
#include <bits/stdc++.h>
int main()
{
	std::map<int, std::string> m;
	std::regex r("a*");
	return m.size();
}
"""

REDIS_REQUESTS = 30000  # of each kind


class Workload:
    """`argv` is the program that is measured. `drive`, if any, is called while it runs and has to
    make it end; it returns facts. `cost` says which clock tells what a tool costs: `wall`, or `cpu`
    for a program that another one loads. `threads`: how many share the allocations at a time.
    `inner`: runs that make one measurement (their median), for what is over in a moment.
    `real`: counted in the means over real programs. `family`: a process tree; see Tool.wrapper."""

    def __init__(self, name, argv, env=None, stdin=None, drive=None, cost="wall", threads=1,
                 inner=1, real=False, family=False):
        self.name, self.argv, self.env = name, argv, env or {}
        self.stdin, self.drive, self.cost = stdin, drive, cost
        self.threads, self.inner, self.real, self.family = threads, inner, real, family

    def facts(self):
        return {"cost": self.cost, "threads": self.threads, "real": self.real, "family": self.family}


def first(*patterns):
    return next((found for pattern in patterns for found in sorted(glob.glob(pattern))), None)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def micro(build):
    program = os.path.join(build, "tests/bench/bench-micro")
    for depth in (8, 16, 32):
        yield Workload("micro depth %d" % depth, [program, str(depth), "1", "2000000"])
    yield Workload("micro bursts of 8", [program, "16", "1", "3000000", "8"])
    yield Workload("micro 2 threads", [program, "16", "2", "1000000"], threads=2)
    yield Workload("micro cross frees", [program, "16", "2", "1000000", "1", "cross"], threads=2)


def compiler(scratch):
    """The C++ compiler proper, on the whole standard library."""
    cc1plus = first("/usr/lib/gcc/*/*/cc1plus", "/usr/libexec/gcc/*/*/cc1plus")
    if not cc1plus:
        return
    source = os.path.join(scratch, "all.cc")
    with open(source, "w") as f:
        f.write(CPLUSPLUS)
    # The driver tells cc1plus what the target needs; -### prints it and runs nothing.
    probe = subprocess.run(["g++", "-###", "-fsyntax-only", source], capture_output=True, text=True)
    line = next(line for line in probe.stderr.splitlines() if "cc1plus" in line)
    argv = [word.strip('"') for word in line.split()]
    yield Workload("cc1plus", [cc1plus] + argv[1:], real=True)


def redis(scratch):
    server, client = shutil.which("redis-server"), shutil.which("redis-benchmark")
    if not server or not client:
        return
    port = str(free_port())

    def drive():
        try:
            for _ in range(400):
                pong = subprocess.run(["redis-cli", "-p", port, "ping"], capture_output=True)
                if pong.stdout == b"PONG\n":
                    break
                time.sleep(0.025)
            begin = time.monotonic()
            subprocess.run([client, "-p", port, "-q", "-n", str(REDIS_REQUESTS), "-c", "20", "-r", "100000",
                            "-t", "set,get,lpush,lpop,hset"], stdout=subprocess.DEVNULL, check=True, timeout=100)
            return {"drive": time.monotonic() - begin}
        finally:
            subprocess.run(["redis-cli", "-p", port, "shutdown", "nosave"], capture_output=True, timeout=30)

    yield Workload("redis-server", [server, "--port", port, "--save", "", "--bind", "127.0.0.1", "--dir", scratch],
                   drive=drive, cost="cpu", real=True)


# One module of a project: the same in every revision, unlike the project's own sources.
MODULE_HEAD = """#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct item { struct item *next; char name[32]; double weight; int flags[4]; };
"""
MODULE_PART = r"""
static struct item *find_@(struct item *list, const char *name)
{
	for (; list; list = list->next)
		if (strcmp(list->name, name) == 0 && !(list->flags[@ % 4] & 1 << @ % 7))
			return list;
	return NULL;
}

struct item *add_@(struct item **list, const char *name, double weight)
{
	struct item *item = find_@(*list, name);

	if (!item) {
		item = calloc(1, sizeof(*item));
		if (!item)
			return NULL;
		snprintf(item->name, sizeof(item->name), "%s-%d", name, @);
		item->next = *list;
		*list = item;
	}
	for (int i = 0; i < 4; i++)
		item->flags[i] += i * @ ^ (int)weight;
	item->weight += sqrt(weight * @) / (1 + fabs(item->weight));
	return item;
}

int print_@(const struct item *list, FILE *out)
{
	int n = 0;

	for (; list; list = list->next, n++)
		switch (list->flags[0] % 5) {
		case 0: fprintf(out, "%s %f\n", list->name, list->weight); break;
		case 1: fprintf(out, "%s\n", list->name); break;
		case 2: fputs(list->name, out); break;
		default: fprintf(out, "%d %d\n", list->flags[1], list->flags[2]);
		}
	return errno ? -errno : n;
}
"""


def make(scratch):
    """Modules of C through gcc. A tool that does not follow a program into its children
    is put before each process of the compiler (-wrapper)."""
    if not shutil.which("make") or not shutil.which("gcc"):
        return
    tree = os.path.join(scratch, "tree")
    os.mkdir(tree)
    for i in range(12):
        with open(os.path.join(tree, "m%d.c" % i), "w") as f:
            f.write(MODULE_HEAD + "".join(MODULE_PART.replace("@", "%d" % n) for n in range(20)))
    with open(os.path.join(tree, "Makefile"), "w") as f:
        f.write("all: %s\n.PHONY: all\n%%.o: %s/%%.c\n\tgcc $(WRAPPER) -std=gnu11 -O2 -g -c -o /dev/null $<\n" % (
            " ".join("m%d.o" % i for i in range(12)), tree))
    yield Workload("make -j2", [shutil.which("make"), "-s", "-f", os.path.join(tree, "Makefile"), "-j2"], real=True,
                   family=True)


def workloads(build, scratch):
    yield Workload("start-up", ["/bin/true"], inner=20)
    yield from micro(build)
    python3 = first("/usr/bin/python3")
    if python3:
        yield Workload("python3 JSON", [python3, "-c", PYTHON_JSON], env={"PYTHONMALLOC": "malloc"}, real=True)
        # Not in the means: one program counts once. Nor is the second of sqlite3.
        yield Workload("python3 indented", [python3, "-c", PYTHON_INDENT], env={"PYTHONMALLOC": "malloc"})
    sqlite3 = shutil.which("sqlite3")
    if sqlite3:
        yield Workload("sqlite3", [sqlite3, ":memory:"], stdin=SQLITE.encode(), real=True)
        yield Workload("sqlite3 index", [sqlite3, ":memory:"], stdin=SQLITE_INDEX.encode())
    yield from compiler(scratch)
    yield from redis(scratch)
    yield from make(scratch)
