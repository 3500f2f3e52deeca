#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""That the comparison compares (TAP): figures from made-up runs, one slice of real ones, clean ends.

Usage: check.py BUILD
"""

import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "integration"))
from fttest import Suite, check, check_equal, run, wait_for  # noqa: E402
from figures import Figures, geometric_mean, targets  # noqa: E402

build = sys.argv.pop(1)
suite = Suite()


def made_up(slices):
    """A document of one workload: slices of {tool: [wall of each repeat]}; CPU is half of it."""
    document = {"slices": []}
    for walls in slices:
        runs = [{"workload": "sqlite3", "cost": "wall", "threads": 1, "real": True, "family": False, "tool": tool,
                 "repeat": i, **({"over": 9} if wall is None else {"wall": wall, "cpu": wall / 2, "rss": 1 << 20})}
                for tool, values in walls.items() for i, wall in enumerate(values)]
        for r in runs:
            if r["tool"] == "fragtrace":
                r.update(events=2000000, allocations=1000000, disk=3000000, collector=0.1, beside=0.2)
        document["slices"].append({"missing": {}, "runs": runs})
    return document


@suite.case("ratios are taken within a repeat of one slice", 10)
def pairs(scratch):
    # The machine is three times as slow in the second slice: medians over all would mix the two.
    figures = Figures(made_up([{"untraced": [1.0, 2.0], "fragtrace": [1.5, 3.0], "heaptrack-r": [3.0, 6.0]},
                               {"untraced": [3.0], "fragtrace": [4.5], "heaptrack-r": [9.0]}]))
    check_equal(figures.ratios("sqlite3", "fragtrace", "wall"), [1.5, 1.5, 1.5], "ratios")
    check_equal(figures.against("sqlite3", "heaptrack-r", "wall"), 0.25, "against heaptrack -r")
    check_equal(round(figures.per_allocation("sqlite3", "fragtrace", "wall")), 1000, "ns an allocation")
    rows = {row[0]: row[3] for row in targets(figures)}
    check_equal(rows["wall / untraced: sqlite3"], "1.50", "its row among the targets")
    check_equal(rows["collector, ns of CPU an event, mean of the real programs"], "50", "collector")
    check_equal(rows["bytes an event, mean of the real programs of more than 1 M events"], "1.50", "disk")


@suite.case("a tool that was too slow has no figures, and the others keep theirs", 10)
def over(scratch):
    figures = Figures(made_up([{"untraced": [1.0, 1.0], "fragtrace": [2.0, 2.0], "heaptrack-r": [None]}]))
    check_equal(figures.cell("sqlite3", "heaptrack-r").over, 9, "limit")
    check_equal(figures.against("sqlite3", "heaptrack-r", "wall"), None, "against heaptrack -r")
    check_equal(figures.ratios("sqlite3", "fragtrace", "wall"), [2.0, 2.0], "ratios")


@suite.case("geometric means", 10)
def means(scratch):
    check_equal(round(geometric_mean([1, 4, None]), 9), 2, "of 1 and 4")
    check_equal(geometric_mean([None]), None, "of nothing")


@suite.case("two slices go into one file, and the file into a table", 60)
def slices(scratch):
    path = os.path.join(scratch, "runs.json")
    command = [sys.executable, os.path.join(HERE, "compare.py")]
    for _ in range(2):
        run(command + ["--build", build, "--only", "start-up", "--repeat", "1", "--tools",
                       "untraced,forward,fragtrace", "--json", path, "--append"]).check_status(0)
    with open(path) as f:
        document = json.load(f)
    check_equal(len(document["slices"]), 2, "slices")
    recorded = [r for s in document["slices"] for r in s["runs"] if r["tool"] == "fragtrace"]
    check_equal([r["lost"] for r in recorded], [0, 0], "lost events")
    check(all(r["beside"] > 0 and r["finished"] >= r["wall"] > 0 for r in recorded), "facts: %s" % recorded)
    table = run(command + ["--from", path, "--markdown"]).check_status(0).stdout.decode()
    check("| start-up | fragtrace | 2 |" in table, table)


def is_running(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


# Leaves a process in a session of its own, as a tracer leaves its collector, and stays.
STUBBORN = "trap '' TERM; setsid sh -c 'trap \"\" TERM; echo $$ > pid; while :; do sleep 1; done' & " \
    "while [ ! -s pid ]; do sleep 0.05; done; %s"


@suite.case("what runs over its time ends, with all that it started", 60)
def limit(scratch):
    report = os.path.join(scratch, "report")
    run([os.path.join(build, "tests/bench/bench-run"), report, "2", "sh", "-c", STUBBORN % "sleep 100"], cwd=scratch)
    with open(report) as f:
        check(json.load(f)["timeout"], "no timeout was reported")
    with open(os.path.join(scratch, "pid")) as f:
        pid = int(f.read())
    check(not is_running(pid), "process %d is still there" % pid)


@suite.case("a run that is stopped from outside ends everything too", 60)
def stopped(scratch):
    process = subprocess.Popen([os.path.join(build, "tests/bench/bench-run"), os.path.join(scratch, "report"), "50",
                                "sh", "-c", STUBBORN % "exit 0"], cwd=scratch)
    path = os.path.join(scratch, "pid")
    wait_for("the process", lambda: os.path.exists(path) and os.path.getsize(path) > 0)
    time.sleep(0.1)
    check(process.poll() is None, "it did not wait for what the program left")
    process.terminate()
    process.wait(30)
    with open(path) as f:
        check(not is_running(int(f.read())), "the process is still there")


suite.run()
