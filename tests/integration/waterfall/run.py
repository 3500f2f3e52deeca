#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Does the waterfall close? Its terms against the resident size, on real programs.

Usage: run.py SERVER8 [CASE...] (TAP on stdout). Each term of the waterfall is measured by itself; what
they leave of the resident size is the residual. At the 95th percentile of the samples after the
first second it must be at most 1 MiB or 1 % of the resident size, whichever is more.

A program that others keep from running stands between a call and what the call does to its memory
for longer than a sample takes. A run whose terms do not close is therefore repeated, and the claim
holds when one of RUNS closes: a term that is wrong is wrong in each.
"""

import os
import signal
import sys
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from fttest import (Suite, analyze_json, check, check_equal, environment, free_port, launcher, need,  # noqa: E402
                    port_is_open, run, server, skip, wait_for)

MIB = 1 << 20
suite = Suite()
server8 = os.path.abspath(sys.argv[1])
del sys.argv[1]


RUNS = 3


def closes(recording):
    """Prints how well the waterfall of the recording closes; None when nothing can be said."""
    frag = analyze_json("frag", recording)
    closing = frag["closing"]
    if closing is None:
        print("# no sample of pages after the first second")
        return None
    print("# %d samples, residual p95 %.3f MiB (%.2f %% of RSS), largest %.3f MiB; RSS %.1f MiB" % (
        closing["samples"], closing["p95_bytes"] / MIB, closing["p95_pct"],
        closing["max_bytes"] / MIB, frag["waterfall"]["rss"] / MIB if frag["waterfall"] else -1))
    return closing["within_pct"] >= 95


def check_closes(scratch, record):
    """record(path) makes a recording."""
    verdicts = []
    for i in range(RUNS):
        recording = os.path.join(scratch, "%d.frag" % i)
        record(recording)
        verdicts.append(closes(recording))
        if verdicts[-1]:
            return
    if all(verdict is None for verdict in verdicts):
        skip("no sample of pages after the first second: not permitted, or too busy a machine")
    check(False, "less than 95 % of the samples close, in each of %d runs" % RUNS)


@suite.case("threads: a server of 8 threads", 120)
def threads(scratch):
    def record(recording):
        run(launcher(recording, [server8, "5"])).check_status(0)

    check_closes(scratch, record)


PYTHON = """
import json, random, time
random.seed(1)
end = time.monotonic() + 5
documents = {}
while time.monotonic() < end:
    for _ in range(200):
        text = json.dumps({"k%d" % i: list(range(random.randrange(30))) for i in range(random.randrange(40))})
        documents[random.randrange(3000)] = json.loads(text)
    time.sleep(0.005)
"""


@suite.case("python3: JSON documents", 120)
def python(scratch):
    def record(recording):
        run(launcher(recording, [need("/usr/bin/python3"), "-c", PYTHON]),
            env=environment(PYTHONMALLOC="malloc")).check_status(0)

    check_closes(scratch, record)


@suite.case("sqlite3: a table in memory and its indexes", 180)
def sqlite(scratch):
    def record(recording):
        sql = ("CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c TEXT);"
               "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 200000)"
               " INSERT INTO t SELECT x, hex(randomblob(20)), hex(randomblob(x % 100)) FROM n;"
               "CREATE INDEX tb ON t(b); CREATE INDEX tc ON t(c);"
               "DELETE FROM t WHERE a % 3 = 0; UPDATE t SET b = hex(randomblob(30)) WHERE a % 5 = 0;"
               "SELECT count(*), count(DISTINCT b) FROM t; VACUUM;"
               "SELECT sum(length(c)) FROM t ORDER BY b;")
        run(launcher(recording, [need("sqlite3"), ":memory:"]),
            stdin=(sql + "DROP TABLE t;" + sql).encode()).check_status(0)

    check_closes(scratch, record)


@suite.case("redis-server: keys that come and go", 180)
def redis(scratch):
    def record(recording):
        port = free_port()
        bench = [need("redis-benchmark"), "-p", str(port), "-q", "-c", "20", "-r", "50000"]
        with server(launcher(recording, [need("redis-server"), "--port", str(port), "--bind",
                                         "127.0.0.1", "--save", "", "--dir", scratch]), cwd=scratch):
            wait_for("redis to listen", lambda: port_is_open(port))
            for size in ("100", "700", "40"):
                run(bench + ["-d", size, "-n", "60000", "-t", "set,lpush,lpop,sadd"]).check_status(0)

    check_closes(scratch, record)


def redis_info(port):
    text = run([need("redis-cli"), "-p", str(port), "INFO", "memory"]).check_status(0).stdout.decode()
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


@suite.case("INFO of redis-server: its ratios", 60)
def redis_ratios(scratch):
    """What Redis' ratios are made of, from outside and as its allocator counts, while nothing
    happens: the heap of INFO and that of the recording's end differ by one client."""
    recording = os.path.join(scratch, "a.frag")
    port = free_port()
    with server(launcher(recording, [need("redis-server"), "--port", str(port), "--bind",
                                     "127.0.0.1", "--save", "", "--dir", scratch]), cwd=scratch):
        wait_for("redis to listen", lambda: port_is_open(port))
        for size in ("200", "90"):
            run([need("redis-benchmark"), "-p", str(port), "-q", "-c", "20", "-r", "20000", "-P", "16",
                 "-d", size, "-n", "40000", "-t", "set,sadd"]).check_status(0)
        gone = ["key:%012d" % i for i in range(20000) if i % 3]
        run([need("redis-cli"), "-p", str(port)], stdin="".join(
            "DEL %s\n" % " ".join(gone[i:i + 100]) for i in range(0, len(gone), 100)).encode()).check_status(0)
        time.sleep(1.5)
        info = redis_info(port)
        time.sleep(1.5)
    if "jemalloc" not in info["mem_allocator"]:
        skip("this redis-server uses %s, which does not tell what it holds" % info["mem_allocator"])
    frag = analyze_json("frag", recording)
    check(frag["allocator"] == "jemalloc", "the allocator is called " + frag["allocator"])
    if frag["residency"] != "sampled" or frag["sample_ns"] < frag["at_ns"] - 2.5e9:
        skip("no sample of pages while the server was idle: not permitted, or too busy a machine")

    redis = frag["metrics"]["redis"]
    ours = {"rss": frag["waterfall"]["rss"]}
    ours["allocated"] = ours["rss"] / redis["mem_fragmentation_ratio"]
    ours["active"] = ours["allocated"] * redis["allocator_frag_ratio"]
    ours["resident"] = ours["active"] * redis["allocator_rss_ratio"]
    print("# used_memory is %.3f of allocator_allocated" % (
        int(info["used_memory"]) / int(info["allocator_allocated"])))
    # What jemalloc's caches of threads hold is allocated to it, and so are slabs that hold nothing
    # else active; resident is its upper bound, which it does not ask the kernel for.
    for name, key, low, high in (("rss", "used_memory_rss", 0.95, 1.05),
                                 ("allocated", "allocator_allocated", 0.75, 1.02),
                                 ("active", "allocator_active", 0.85, 1.02),
                                 ("resident", "allocator_resident", 0.5, 1.02)):
        ratio = ours[name] / int(info[key])
        print("# %s: %.0f bytes, %.3f of INFO's" % (name, ours[name], ratio))
        check(low <= ratio <= high, "%s is %.0f, which is not %.2f to %.2f of INFO's %s" % (
            name, ours[name], low, high, info[key]))
    check_equal(round(redis["rss_overhead_ratio"], 6), round(ours["rss"] / ours["resident"], 6),
                "rss_overhead_ratio")


@suite.case("nginx: one process, many requests", 180)
def nginx(scratch):
    def record(recording):
        port = free_port()
        program = need("nginx")
        with open(os.path.join(scratch, "data"), "wb") as file:
            file.write(os.urandom(300000))
        with open(os.path.join(scratch, "nginx.conf"), "w") as file:
            file.write("daemon off; master_process off; pid %s/pid; error_log %s/error.log;"
                       "events { worker_connections 200; } http { access_log off; gzip on; gzip_types *;"
                       "client_body_temp_path %s/b; proxy_temp_path %s/p; fastcgi_temp_path %s/f;"
                       "uwsgi_temp_path %s/u; scgi_temp_path %s/s;"
                       "server { listen 127.0.0.1:%d; root %s; } }" % ((scratch,) * 7 + (port, scratch)))
        with server(launcher(recording, [program, "-p", scratch, "-e", scratch + "/early.log",
                                         "-c", scratch + "/nginx.conf"]),
                    cwd=scratch, stop=signal.SIGQUIT):
            wait_for("nginx to listen", lambda: port_is_open(port))
            for i in range(400):
                request = urllib.request.Request("http://127.0.0.1:%d/data" % port,
                                                 headers={"Accept-Encoding": "gzip"})
                with urllib.request.urlopen(request) as answer:
                    answer.read()

    check_closes(scratch, record)


suite.run()
