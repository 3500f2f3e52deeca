#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The layout that a recording gives, against what the kernel says of the real heap.

Usage: layout.py SURVIVORS LAYOUTS (TAP on stdout). The programs free most of their blocks, call
malloc_trim() and print how many pages that returned; `fraganalyze frag` must have known.
"""

import functools
import glob
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from fttest import (Suite, analyze_json, check, environment, launcher, need, query, run, skip)  # noqa: E402

PAGE = 4096
suite = Suite()
program, layouts = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
del sys.argv[1:3]  # what is left chooses cases


def record(scratch, argv):
    """Pages that the last trim returned, and how to get the analysis of the moment before it."""
    recording = os.path.join(scratch, "%s.frag" % "-".join(argv[1:]))
    result = run(launcher(recording, argv))
    if result.status == 77:
        skip("the kernel does not show this process its page table")
    result.check_status(0)
    return int(result.stdout), recording


def before_trim(recording):
    # The first sample after the last free; the trim is 2.2 s after that.
    rows = query(recording, "SELECT min(r.time_ns), max(c.last_ns) FROM residency r, "
                 "(SELECT max(last_ns) AS last_ns FROM event_chunk) c WHERE r.time_ns > c.last_ns")
    sample, last = (int(v) if v is not None else None for v in rows_first(rows))
    if sample is None or sample > last + 2000000000:
        return None
    frag = analyze_json("frag", recording, "--at", "%d.%09ds" % (sample // 10**9, sample % 10**9))
    check(frag["residency"] == "sampled", "residency is %s" % frag["residency"])
    return frag


def analyzed(scratch, argv):
    """Samples are far apart on a busy machine: more than one try."""
    for _ in range(4):
        returned, recording = record(scratch, argv)
        frag = before_trim(recording)
        if frag:
            return returned, frag
        os.unlink(recording)
    skip("no sample of pages between the last free and the trim")


def rows_first(rows):
    row = rows["rows"][0] if isinstance(rows, dict) else rows[0]
    return list(row.values()) if isinstance(row, dict) else row


def other_allocator(scratch, name, pattern):
    libraries = sorted(glob.glob("/usr/lib/*/" + pattern) + glob.glob("/usr/lib/" + pattern))
    if not libraries:
        skip("%s is not installed" % pattern)
    recording = os.path.join(scratch, "a.frag")
    run(launcher(recording, [need("sqlite3"), ":memory:", "CREATE TABLE t(a); SELECT count(*) FROM t;"]),
        env=environment(LD_PRELOAD=libraries[0])).check_status(0)
    frag = analyze_json("frag", recording)
    check(frag["allocator"] == name, "%s is called %s" % (name, frag["allocator"]))
    check(frag["unplaced_blocks"] == 0, "%d blocks overlap others" % frag["unplaced_blocks"])
    check(frag["sites"] and frag["metrics"]["pinned_free_bytes"] > 0, "no site pins anything")
    check(frag["metrics"]["pinned_free_bytes"] == sum(s["shapley"] for s in frag["sites"]) +
          frag["other"]["shapley"], "the shares do not add up")


for allocator, file in (("jemalloc", "libjemalloc.so.*"), ("mimalloc", "libmimalloc.so.*"),
                        ("tcmalloc", "libtcmalloc_minimal.so.*")):
    suite.add("pages of a program on " + allocator, 20,
              functools.partial(other_allocator, name=allocator, pattern=file))


def check_near(actual, predicted, slack, what):
    check(abs(actual - predicted) <= slack,
          "%s: predicted %d pages, really %d" % (what, predicted, actual))


def check_shares(frag):
    shares = sum(site["shapley"] for site in frag["sites"]) + frag["other"]["shapley"]
    pinned = frag["metrics"]["pinned_free_bytes"]
    check(shares == pinned, "shares add up to %d of %d pinned bytes" % (shares, pinned))


def pages_sole(frag, name):
    sole = [s["pages_sole"] for s in frag["sites"] if s["name"] == name]
    check(len(sole) == 1, "%s is listed %d times" % (name, len(sole)))
    return sole[0]


def placement_case(placement):
    def case(scratch):
        returned, frag = analyzed(scratch, [program, placement, "a"])
        predicted = frag["metrics"]["trimmable_bytes"] // PAGE
        print("# trim: predicted %d pages, really %d" % (predicted, returned))
        check_near(returned, predicted, 1 + returned // 1000, "trim")
        check_shares(frag)
        sole = pages_sole(frag, "site_b")
        returned, _ = record(scratch, [program, placement, "b"])
        print("# site_b: holds %d pages alone, removing it returned %d" % (sole, returned))
        check_near(returned, sole, max(4, 0.06 * returned), "removing site_b")
    return case


def layout_case(kind, slack, runs=1):
    """slack: pages in 1000, in one of so many runs."""
    def one(scratch, last):
        returned, frag = analyzed(scratch, [layouts, kind])
        predicted = frag["metrics"]["trimmable_bytes"] // PAGE
        print("# predicted %d pages, really %d" % (predicted, returned))
        check(returned > 200, "only %d pages were returned" % returned)
        check_shares(frag)
        within = 1 + slack * returned / 1000
        if last:
            check_near(returned, predicted, within, "trim")
        return abs(returned - predicted) <= within

    def case(scratch):
        for i in range(runs):
            folder = os.path.join(scratch, str(i))
            os.mkdir(folder)
            if one(folder, i + 1 == runs):
                break
    return case


suite.add("trim of a heap with scattered survivors", 40, placement_case("scattered"))
suite.add("trim of a heap with clustered survivors", 40, placement_case("clustered"))
suite.add("trim after reallocs of all sizes", 40, layout_case("realloc", 1))
suite.add("trim after large blocks that raised the threshold", 40, layout_case("large", 1))
# Chunks that malloc itself moves to the caches are not seen: some pages more stay.
suite.add("trim of a heap that turned over", 40, layout_case("churn", 10))
suite.add("trim of 8 threads with arenas", 40, layout_case("arenas", 10))
# How the threads take turns decides how many these are: 0.3 to 1.4 percent in six runs, two of them above 1.
suite.add("trim of 8 threads in one arena", 90, layout_case("one_arena", 10, runs=3))
suite.run()
