#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Does the waterfall close? Its terms against the resident size, on real programs.

Usage: run.py SERVER8 [CASE...] (TAP on stdout). Each term of the waterfall is measured by itself; what
they leave of the resident size is the residual. At the 95th percentile of the samples after the
first second it must be at most 1 MiB or 1 % of the resident size, whichever is more.
"""

import os
import signal
import sys
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from fttest import (Suite, analyze_json, check, environment, free_port, launcher, need,  # noqa: E402
                    port_is_open, run, server, skip, wait_for)

MIB = 1 << 20
suite = Suite()
server8 = os.path.abspath(sys.argv[1])
del sys.argv[1]


def check_closes(recording):
    frag = analyze_json("frag", recording)
    closing = frag["closing"]
    if closing is None:
        skip("no sample of pages after the first second: not permitted, or too busy a machine")
    print("# %d samples, residual p95 %.3f MiB (%.2f %% of RSS), largest %.3f MiB; RSS %.1f MiB" % (
        closing["samples"], closing["p95_bytes"] / MIB, closing["p95_pct"],
        closing["max_bytes"] / MIB, frag["waterfall"]["rss"] / MIB if frag["waterfall"] else -1))
    check(closing["within_pct"] >= 95, "only %.1f %% of the samples close: p95 is %d bytes, %.2f %%" % (
        closing["within_pct"], closing["p95_bytes"], closing["p95_pct"]))


@suite.case("threads: a server of 8 threads", 60)
def threads(scratch):
    recording = os.path.join(scratch, "a.frag")
    run(launcher(recording, [server8, "5"])).check_status(0)
    check_closes(recording)


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


@suite.case("python3: JSON documents", 60)
def python(scratch):
    recording = os.path.join(scratch, "a.frag")
    run(launcher(recording, [need("/usr/bin/python3"), "-c", PYTHON]),
        env=environment(PYTHONMALLOC="malloc")).check_status(0)
    check_closes(recording)


@suite.case("sqlite3: a table in memory and its indexes", 90)
def sqlite(scratch):
    recording = os.path.join(scratch, "a.frag")
    sql = ("CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c TEXT);"
           "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 200000)"
           " INSERT INTO t SELECT x, hex(randomblob(20)), hex(randomblob(x % 100)) FROM n;"
           "CREATE INDEX tb ON t(b); CREATE INDEX tc ON t(c);"
           "DELETE FROM t WHERE a % 3 = 0; UPDATE t SET b = hex(randomblob(30)) WHERE a % 5 = 0;"
           "SELECT count(*), count(DISTINCT b) FROM t; VACUUM;"
           "SELECT sum(length(c)) FROM t ORDER BY b;")
    run(launcher(recording, [need("sqlite3"), ":memory:"]),
        stdin=(sql + "DROP TABLE t;" + sql).encode()).check_status(0)
    check_closes(recording)


@suite.case("redis-server: keys that come and go", 90)
def redis(scratch):
    recording = os.path.join(scratch, "a.frag")
    port = free_port()
    bench = [need("redis-benchmark"), "-p", str(port), "-q", "-c", "20", "-r", "50000"]
    with server(launcher(recording, [need("redis-server"), "--port", str(port), "--bind",
                                     "127.0.0.1", "--save", "", "--dir", scratch]), cwd=scratch):
        wait_for("redis to listen", lambda: port_is_open(port))
        for size in ("100", "700", "40"):
            run(bench + ["-d", size, "-n", "60000", "-t", "set,lpush,lpop,sadd"]).check_status(0)
    check_closes(recording)


@suite.case("nginx: one process, many requests", 90)
def nginx(scratch):
    recording = os.path.join(scratch, "a.frag")
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
    check_closes(recording)


suite.run()
