#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Samples of real programs: near the exact figures of a full recording, and honest about it (TAP).

The programs do the same each time, and the chances are seeded: what holds once holds always, as long
as the programs stay the same. The bounds are four of the standard errors that the analysis states.
"""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from fttest import (Suite, analyze, analyze_json, check, check_equal, environment, launcher, need,  # noqa: E402
                    preload_environment, query, run, tool, wait_for)

suite = Suite()

SQL = """CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, x REAL);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
    INSERT INTO t SELECT i, 'row ' || i, i * 0.5 FROM n;
    CREATE INDEX u ON t(name);
    SELECT count(*), sum(length(name)), max(x) FROM t;"""

PYTHON = """
import json
rows = [{"id": i, "name": "n%d" % i, "tags": [str(i % 7), "x" * (i % 50)]} for i in range(1500)]
keep = [bytes(100000) for _ in range(20)]
for _ in range(4):
    assert len(json.loads(json.dumps(rows))) == len(rows)
"""


def record(recording, argv, *options, env=None):
    command = launcher(recording, argv)
    at = command.index("--")
    return run(command[:at] + list(options) + command[at:], env=env).check_status(0)


def near(estimate, exact, error, what):
    check(abs(estimate - exact) <= 4 * error + 1, "%s: %d of %d, standard error %d" % (what, estimate, exact, error))


def place(row):
    return tuple((frame["module"], frame["offset"]) for frame in row["stack"] if not frame["inlined"])


def compare(scratch, argv, rate, env):
    """A full recording and three samples of a program."""
    full = os.path.join(scratch, "full.frag")
    record(full, argv, env=env)
    exact = analyze_json("summary", full)
    check_equal(exact["estimated"], False, "estimated, of a full recording")
    check("bytes_allocated_error" not in exact["totals"], "a full recording states an error")
    places = {place(row): row for row in analyze_json("leaks", full, "--by=allocated", "--top=100000")["sites"]}

    for seed in ("1", "2", "3"):
        sampled = os.path.join(scratch, "sample%s.frag" % seed)
        record(sampled, argv, "--sample", str(rate), env=dict(env, FRAGTRACE_SAMPLE_SEED=seed))
        summary = analyze_json("summary", sampled)
        totals = summary["totals"]
        check_equal((summary["estimated"], summary["sample_bytes"]), (True, rate), "what the sample says of itself")
        near(totals["bytes_allocated"], exact["totals"]["bytes_allocated"], totals["bytes_allocated_error"], "allocated")
        near(totals["live_bytes"], exact["totals"]["live_bytes"], totals["live_bytes_error"] + rate, "live at the end")
        check(totals["bytes_allocated_relative_error"] < 0.1, "the sample is too small to show anything")
        check(totals["events"] < exact["totals"]["events"] / 10, "the sample is no sample")
        print("# allocated %d, exact %d, standard error %d; %d of %d events" % (
            totals["bytes_allocated"], exact["totals"]["bytes_allocated"], totals["bytes_allocated_error"],
            totals["events"], exact["totals"]["events"]))

        compared = 0
        for row in analyze_json("leaks", sampled, "--by=allocated", "--top=100000")["sites"]:
            if row["samples"] < 30 or place(row) not in places:
                continue
            near(row["allocated_bytes"], places[place(row)]["allocated_bytes"], row["allocated_error"], row["name"])
            compared += 1
        check(compared >= 2, "only %d sites were compared" % compared)
        check_ledger(sampled, totals)


def check_ledger(recording, totals):
    """The collector's totals are those of the replay; every death is that of a block that was there."""
    meta = {row["key"]: row["value"] for row in rows(recording, "SELECT key, value FROM meta")}
    check_equal(int(meta["unknown_frees"]), 0, "frees of blocks that were not there")
    check_equal(int(meta["sample_set_full"]), 0, "blocks without a place")
    check_equal(int(meta["peak_bytes"]), totals["peak_bytes"], "peak")
    last = rows(recording, "SELECT * FROM timeline ORDER BY time_ns DESC LIMIT 1")[0]
    check_equal(last["bytes_allocated"], totals["bytes_allocated"], "timeline: allocated")
    check_equal(last["live_bytes"], totals["live_bytes"], "timeline: live")
    check(abs(last["n_allocs"] - totals["allocations"]) <= 0.02 * totals["allocations"] + 10, "timeline: calls")
    sums = rows(recording, "SELECT sum(bytes_allocated) AS allocated, sum(live_bytes) AS live FROM site_total")[0]
    check_equal(sums["allocated"], totals["bytes_allocated"], "site_total: allocated")
    check_equal(sums["live"], totals["live_bytes"], "site_total: live")


def rows(recording, sql):
    result = query(recording, sql)
    return [dict(zip(result["columns"], row)) for row in result["rows"]]


@suite.case("a sample of sqlite3 is near the truth", 60)
def sqlite(scratch):
    compare(scratch, [need("sqlite3"), ":memory:", SQL], 16384, environment())


@suite.case("a sample of python3 is near the truth", 60)
def python(scratch):
    compare(scratch, [need("/usr/bin/python3"), "-c", PYTHON], 16384,
            environment(PYTHONMALLOC="malloc", PYTHONHASHSEED="1"))


@suite.case("the environment alone asks for a sample", 30)
def preloaded(scratch):
    recording = os.path.join(scratch, "plain.frag")
    run([need("sqlite3"), ":memory:", SQL],
        env=preload_environment(FRAGTRACE_SAMPLE="256KiB", FRAGTRACE_OUTPUT=recording)).check_status(0)
    wait_for("the recording", lambda: os.path.exists(recording))
    check_equal(analyze_json("summary", recording)["sample_bytes"], 256 * 1024, "rate")


@suite.case("what a sample can't answer is refused with the reason", 60)
def refused(scratch):
    recording = os.path.join(scratch, "sample.frag")
    said = record(recording, [need("sqlite3"), ":memory:", SQL], "--sample=512KiB").stderr.decode()
    check("estimated from a sample" in said, "the launcher says nothing of a sample: " + said)
    frag = run([tool("FRAGANALYZE"), "frag", recording]).check_status(3)
    check(b"sample" in frag.stderr and frag.stdout == b"", "frag says %r %r" % (frag.stdout, frag.stderr))
    run([tool("FRAGANALYZE"), "frag", "--json", recording]).check_status(3)
    for verb in ("summary", "leaks", "threads", "sites", "errors"):
        text = analyze(verb, recording).stdout.decode().lower()
        check("sample" in text, "%s does not say that it estimates" % verb)
    report = json.loads(analyze("report", recording, "--json").stdout)
    for section in ("frag", "map", "reallocs"):
        check_equal(list(report[section]), ["unavailable"], "keys of " + section)
    for section in ("summary", "leaks", "sites", "threads", "flame"):
        check_equal(report[section]["estimated"], True, section + " is estimated")
    html = os.path.join(scratch, "sample.html")
    analyze("report", recording, "-o", html)
    with open(html, encoding="utf-8") as f:
        check("All figures are estimates" in f.read(), "the report's first screen does not say that it estimates")


@suite.case("a rate that is none is a usage error", 20)
def nonsense(scratch):
    for rate in ("0", "lots", "65MiB", "-1", "12x", ""):
        result = run([tool("FRAGTRACE"), "run", "--sample=" + rate, "--", "/bin/true"], cwd=scratch)
        result.check_status(125)
        check(b"--sample" in result.stderr, "the message does not name the option: %r" % result.stderr)
    check_equal(os.listdir(scratch), [], "files that were left")


suite.run()
