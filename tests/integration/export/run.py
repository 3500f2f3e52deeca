#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What leaves fraganalyze as a file: reports of two recordings, exports and who reads them.

Usage: run.py MAKE_RECORDING (TAP on stdout). The recordings are synthetic.
"""

import os
import sqlite3
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from fttest import Suite, analyze_json, check, check_equal, run, tool  # noqa: E402
from reports import read_report  # noqa: E402

suite = Suite()
make_recording = os.path.abspath(sys.argv[1])
del sys.argv[1]  # what is left chooses cases


def record(scratch, *arguments, name="a.frag"):
    path = os.path.join(scratch, name)
    run([make_recording, "-n", "60000", "-L", "50", "-g", "100000", *arguments, path]).check_status(0)
    return path


def fraganalyze(*arguments, **keywords):
    return run([tool("FRAGANALYZE"), *arguments], **keywords)


# ---- two recordings --------------------------------------------------------------------------------

@suite.case("a report of two recordings holds the newer one, what changed, and the older one's series", 120)
def _(scratch):
    a = record(scratch)
    b = record(scratch, "-n", "90000", "-L", "20", name="b.frag")
    result = fraganalyze("report", a, b).check_status(0)
    path = os.path.join(scratch, "b.diff.html")
    check_equal(result.stdout.decode().strip(), path, "name of the report")
    boot, columns, _html = read_report(path)
    check_equal(boot["summary"]["recording"]["path"], b, "the recording that the page is of")

    diff = boot["diff"]
    for side, recording in (("a", a), ("b", b)):
        totals = analyze_json("summary", recording)["totals"]
        check_equal(diff[side]["path"], recording, "path of " + side)
        for key in ("live_bytes", "peak_bytes", "allocations"):
            check_equal(diff[side][key], totals[key], "%s of %s" % (key, side))
    check_equal(max(columns["diff.a_peak_bytes"]), diff["a"]["peak_bytes"], "peak in the older one's series")
    check_equal(max(columns["timeline.peak_bytes"]), diff["b"]["peak_bytes"], "peak in the newer one's series")
    check_equal(columns["diff.a_allocations"][-1], diff["a"]["allocations"], "allocations in the series")
    check_equal(len(columns["diff.a_time_ns"]), len(columns["diff.a_live_bytes"]), "length of the series")

    scale = diff["scale"]
    check_equal(scale["events"], diff["b"]["allocations"] / diff["a"]["allocations"], "scale by events")
    time = diff["b"]["duration_ns"] / diff["a"]["duration_ns"]
    check(abs(scale["time"] / time - 1) < 1e-9, "scale by time: %r, not %r" % (scale["time"], time))
    check_equal(sum(row["delta_live_bytes"] for row in diff["sites"]) + diff["other"]["delta_live_bytes"],
                diff["b"]["live_bytes"] - diff["a"]["live_bytes"], "differences of all sites")
    for row in diff["sites"]:
        was = row["a"]["live_bytes"] if row["a"] else 0
        now = row["b"]["live_bytes"] if row["b"] else 0
        for name in ("time", "events"):
            check(abs(row["delta_live_bytes_by_" + name] - (now - was * scale[name])) <= 0.5,
                  "%r by %s" % (row, name))


@suite.case("a report of a recording and itself has no difference; another build is named", 60)
def _(scratch):
    a = record(scratch)
    rebuilt = record(scratch, name="rebuilt.frag")
    with sqlite3.connect(rebuilt) as db:
        before = db.execute("SELECT path, build_id FROM module WHERE build_id IS NOT NULL").fetchone()
        db.execute("UPDATE module SET build_id = 'feedface' WHERE path = ?", before[:1])
    page = os.path.join(scratch, "out.html")
    fraganalyze("report", a, a, "-o", page).check_status(0)
    diff = read_report(page)[0]["diff"]
    check_equal((diff["new"], diff["gone"], diff["changed"], diff["rebuilt"]), (0, 0, 0, []), "differences")
    fraganalyze("report", a, rebuilt, "-f", "-o", page).check_status(0)
    diff = read_report(page)[0]["diff"]
    check_equal(diff["rebuilt"], [{"module": os.path.basename(before[0]), "a": before[1], "b": "feedface"}],
                "modules that are not the same build")
    check_equal((diff["new"], diff["gone"], diff["changed"]), (0, 0, 0), "differences of another build")


@suite.case("a report of two recordings says which of them can't be read", 60)
def _(scratch):
    a = record(scratch)
    for pair in ((a, "none.frag"), ("none.frag", a)):
        result = fraganalyze("report", *pair, "-o", os.path.join(scratch, "out.html")).check_status(3)
        check(b"none.frag" in result.stderr, "no name in %r" % result.stderr)
    check(not os.path.exists(os.path.join(scratch, "out.html")), "a report was left")
    check(b"too many" in fraganalyze("report", a, a, a).check_status(2).stderr, "three recordings")


suite.run()
