#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The case of docs/FRAGMENTATION.md: a server whose resident size stays up after a burst.

Usage: run.py SERVER (TAP on stdout). The recording must say what malloc_trim() would give back; the
server with that change, without the tracer, must then be that much smaller, within 15 %.
"""

import http.client
import json
import os
import random
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from fttest import (Suite, analyze_json, check, environment, free_port, launcher, need,  # noqa: E402
                    port_is_open, server, skip, wait_for)

MIB = 1 << 20
CLIENTS, REQUESTS = 8, 4
suite = Suite()
program = os.path.abspath(sys.argv[1])
del sys.argv[1]


def client(port, seed):
    rng = random.Random(seed)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for _ in range(REQUESTS):
        rows = [{"name": "item-%d" % rng.randrange(3000), "value": rng.randrange(1000),
                 "note": "x" * rng.randrange(600)} for _ in range(6000)]
        connection.request("POST", "/", json.dumps(rows))
        connection.getresponse().read()
    connection.close()


def rss(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/rss")
    size = int(connection.getresponse().read())
    connection.close()
    return size


def session(scratch, command_of, **changes):
    """Resident size before the burst, and some seconds after it."""
    port = free_port()
    argv = command_of([need("/usr/bin/python3"), program, str(port)])
    env = environment(PYTHONMALLOC="malloc", PYTHONHASHSEED="0", **changes)
    with server(argv, cwd=scratch, env=env, expect_status=-signal.SIGTERM):
        wait_for("the server to listen", lambda: port_is_open(port))
        before = rss(port)
        clients = [threading.Thread(target=client, args=(port, i)) for i in range(CLIENTS)]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join()
        time.sleep(5)
        return before, rss(port)


@suite.case("malloc_trim after a burst saves what was predicted", 120)
def burst(scratch):
    recording = os.path.join(scratch, "burst.frag")
    _, traced = session(scratch, lambda argv: launcher(recording, argv))
    frag = analyze_json("frag", recording)
    if frag["residency"] != "sampled":
        skip("the kernel does not show the pages of another process")
    remedy = [r for r in frag["remedies"] if r["code"] == "malloc_trim"]
    check(len(remedy) == 1, "malloc_trim is not among the remedies")
    saves = remedy[0]["saves_bytes"]
    before, after = session(scratch, list)
    _, trimmed = session(scratch, list, BURST_TRIM="1")
    predicted = after - saves
    print("# RSS: %.1f MiB at first, %.1f after the burst (%.1f traced); predicted with the change "
          "%.1f (saves %.1f), really %.1f" % (before / MIB, after / MIB, traced / MIB,
                                              predicted / MIB, saves / MIB, trimmed / MIB))
    print("# %s: %s" % (frag["verdict"]["code"], frag["verdict"]["text"]))
    check(abs(predicted - trimmed) <= 0.15 * trimmed, "predicted %.1f MiB, really %.1f" % (
        predicted / MIB, trimmed / MIB))


suite.run()
