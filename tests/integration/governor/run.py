#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""fragtrace run --max-overhead: steps are taken and taken back, and no block is made up (TAP).

Usage: run.py PROGRAM. How long a step takes to come is the machine's affair: it is waited for.
"""

import contextlib
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from fttest import (Suite, analyze, analyze_json, check, check_equal, environment, kill_group, preload_environment,  # noqa: E402
                    query, run, tool, wait_for)

suite = Suite()
program = os.path.abspath(sys.argv[1])
del sys.argv[1]

DEPTHS = [None, 64, 16, 4, None, None]
RATES = [None, None, None, None, 64 << 10, 1 << 20]


def rows(path, sql):
    document = query(path, sql)
    return [dict(zip(document["columns"], row)) for row in document["rows"]]


class Governed:
    def __init__(self, process, path):
        self.process, self.path = process, path

    def do(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        check_equal(self.process.stdout.readline(), b"ok\n", "the program's answer")

    def steps(self):
        return [int(row["step"]) for row in rows(self.path, "SELECT step FROM governor ORDER BY id")]

    def wait_for_step(self, what, condition):
        wait_for(what, lambda: condition(self.steps()[-1]))

    def end(self):
        """What is left of the kept blocks: {address: size}."""
        self.process.stdin.write(b"end\n")
        self.process.stdin.flush()
        left = dict(map(int, line.split()) for line in self.process.stdout)
        check_equal(self.process.wait(), 0, "status of the program")
        return left


@contextlib.contextmanager
def governed(scratch, limit, *options):
    path = os.path.join(scratch, "soak.frag")
    process = subprocess.Popen(
        [tool("FRAGTRACE"), "run", "-o", path, "--max-overhead", limit, *options, "--", program],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment(),
        start_new_session=True)
    try:
        wait_for("the recording", lambda: os.path.exists(path))
        it = Governed(process, path)
        it.do("rest")
        wait_for("the first row", lambda: run([tool("FRAGANALYZE"), "query", path, "SELECT 1 FROM governor"]).stdout
                 .count(b"1") and it.steps() == [0])
        yield it
    finally:
        kill_group(process)


def live_blocks(path):
    return {int(row["address"]): int(row["requested"]) for row in rows(
        path, "SELECT address, requested FROM allocation WHERE died_ns IS NULL AND requested >= 200000")}


@suite.case("steps come with the load and go with it; no block looks live that is not, none is lost that was recorded", 240)
def _(scratch):
    with governed(scratch, "1%") as it:
        it.do("keep 2000 200001")
        it.do("load")
        it.wait_for_step("the last step", lambda step: step == 5)
        # Recorded before, freed now: those frees are there. Large ones are nearly all recorded, small ones hardly.
        it.do("drop 1500")
        it.do("keep 300 200002")
        it.do("drop 600")  # 500 of the first kind, 100 of the second
        it.do("rest")
        it.wait_for_step("the way back", lambda step: step == 0)
        it.do("keep 400 200003")
        left = it.end()
    check_equal(sorted(set(left.values())), [200002, 200003], "sizes that are left")

    # Each step is in the file, the way up and the way back one by one, and says what it is.
    table = rows(it.path, "SELECT * FROM governor ORDER BY id")
    steps = [int(row["step"]) for row in table]
    check_equal((steps[0], max(steps), steps[-1]), (0, 5, 0), "steps")
    check(all(abs(a - b) <= 1 for a, b in zip(steps, steps[1:])), "steps follow each other: %r" % steps)
    for row in table:
        step = int(row["step"])
        check_equal((row["depth"], row["sample_bytes"]), (DEPTHS[step], RATES[step]), "what step %d is" % step)
    for before, row in zip(table, table[1:]):
        check(row["time_ns"] >= before["time_ns"] and row["n_left_out"] >= before["n_left_out"], "rows go on")
        if int(row["step"]) > int(before["step"]):
            check(int(row["overhead_ppm"]) > 10000, "a step on is for a reason: %r" % row)
    check(int(table[-1]["n_left_out"]) > 1000, "blocks were left out: %r" % table[-1])

    # The heap: what is live in the recording is live in the program, and all that was recorded is known.
    live = live_blocks(it.path)
    check(set(live.items()) <= set(left.items()), "made up: %r" % sorted(set(live.items()) - set(left.items()))[:5])
    check_equal({a for a, s in live.items() if s == 200003}, {a for a, s in left.items() if s == 200003},
                "blocks of the time at which all are recorded")
    small = rows(it.path, "SELECT count(*) AS n FROM allocation WHERE died_ns IS NULL AND "
                 "(requested < 1000 OR requested BETWEEN 70001 AND 70999) AND "
                 "born_ns > (SELECT max(born_ns) FROM allocation WHERE requested = 200001)")
    check_equal(int(small[0]["n"]), 0, "blocks of the load that look live")
    summary = analyze_json("summary", it.path)
    check_equal(summary["totals"]["lost_events"], 0, "losses")
    document = json.loads(run([tool("FRAGANALYZE"), "report", "--json", it.path]).check_status(0).stdout)
    check_equal(document["quality"]["unknown_frees"], 0, "unknown frees")
    check_equal([step["step"] for step in document["quality"]["governor"]["steps"]], steps, "steps of the report")
    check("governed" in [finding["code"] for finding in summary["findings"]], "findings of the summary")

    # The layout is told up to the first block that was left out, and refused from there on.
    began = min(int(row["time_ns"]) for row in table if row["sample_bytes"])
    refused = run([tool("FRAGANALYZE"), "frag", it.path]).check_status(3).stderr
    check(b"--max-overhead" in refused and b"--to" in refused, "frag: %r" % refused)
    analyze("frag", it.path, "--to", "%.9fs" % ((began - 1000) / 1e9))


@suite.case("a limit that is kept leaves the recording whole", 120)
def _(scratch):
    with governed(scratch, "1000%") as it:
        it.do("load")
        it.do("keep 500 200001")
        it.do("drop 100")
        it.do("rest")
        left = it.end()
    check_equal(set(it.steps()), {0}, "steps")
    check_equal(live_blocks(it.path), left, "blocks")
    analyze("frag", it.path)
    check("governed" not in [f["code"] for f in analyze_json("summary", it.path)["findings"]], "findings")


@suite.case("a rotation goes on with the step; a bad limit is none", 240)
def _(scratch):
    with governed(scratch, "1%") as it:
        pids = [int(p) for p in os.popen("ps -o pid= --ppid %d" % it.process.pid).read().split()]
        pid = [p for p in pids if os.path.samefile("/proc/%d/exe" % p, program)][0]
        it.do("load")
        it.wait_for_step("a step that leaves out", lambda step: step >= 4)
        run([tool("FRAGTRACE"), "ctl", str(pid), "rotate"]).check_status(0)
        second = it.path.replace("soak.frag", "soak.2.frag")
        wait_for("its first row", lambda: rows(second, "SELECT step FROM governor"))
        first, = rows(second, "SELECT * FROM governor ORDER BY id LIMIT 1")
        check(int(first["step"]) >= 4 and int(first["n_left_out"]) > 0, "the next recording begins with: %r" % first)
        it.do("rest")
        it.end()
    check(b"--max-overhead" in run([tool("FRAGANALYZE"), "frag", second]).check_status(3).stderr, "frag of the second")
    path = os.path.join(scratch, "bad.frag")
    result = run([program], stdin=b"end\n", env=preload_environment(
        FRAGTRACE_OUTPUT=path, FRAGTRACE_MAX_OVERHEAD="much", FRAGTRACE_VERBOSE="1")).check_status(0)
    check(b"FRAGTRACE_MAX_OVERHEAD" in result.stderr, "stderr: %r" % result.stderr)
    wait_for("the recording", lambda: os.path.exists(path))
    for bad in ("0", "5x", "-1", "0.01%", "2000%", ""):
        run([tool("FRAGTRACE"), "run", "--max-overhead", bad, "--", program]).check_status(125)
    run([tool("FRAGTRACE"), "run", "--max-overhead", "5%", "--sample", "512K", "--", program]).check_status(125)


suite.run()
