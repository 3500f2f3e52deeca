#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How large a recording is and how long it takes to read (TAP).

Records tests/bench/allocations and prints bytes an event, and the time of the recording beside that
of `fraganalyze summary`. Only the size is a claim that can fail: times depend on the machine.
Usage: size.py PROGRAM [ALLOCATIONS]
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from fttest import Suite, analyze, analyze_json, check, launcher, run  # noqa: E402

program, allocations = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "10000000"
del sys.argv[1:]
suite = Suite()


@suite.case("a recording takes at most 4 bytes an event", 280)
def size(scratch):
    recording = os.path.join(scratch, "bench.frag")
    untraced = run([program, allocations]).check_status(0)
    traced = run(launcher(recording, [program, allocations]), cwd=scratch).check_status(0)
    check(traced.stdout == untraced.stdout, "the program printed something else")
    summary = analyze("summary", recording)
    totals = analyze_json("summary", recording)["totals"]
    n_bytes = os.path.getsize(recording)
    per_event = n_bytes / totals["events"]
    print("# %d allocations, %d events, %d bytes, %.2f bytes an event" % (
        totals["allocations"], totals["events"], n_bytes, per_event))
    print("# untraced %.2f s, recorded %.2f s, summary %.2f s" % (
        untraced.seconds, traced.seconds, summary.seconds))
    check(totals["lost_events"] == 0, "lost %d events" % totals["lost_events"])
    check(totals["allocations"] >= int(allocations), "only %d allocations" % totals["allocations"])
    check(per_event <= 4, "%.2f bytes an event" % per_event)


suite.run()
