#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The layout that a recording gives, against what the kernel says of the real heap.

Usage: layout.py SURVIVORS (TAP on stdout). The program frees most of its blocks, calls
malloc_trim() and prints how many pages that returned; `fraganalyze frag` must have known.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from fttest import (Suite, analyze_json, check, launcher, run, skip)  # noqa: E402

PAGE = 4096
suite = Suite()
program = os.path.abspath(sys.argv[1])
del sys.argv[1]  # what is left chooses cases


def record(scratch, placement, phase):
    recording = os.path.join(scratch, "%s-%s.frag" % (placement, phase))
    result = run(launcher(recording, [program, placement, phase]))
    if result.status == 77:
        skip("the kernel does not show this process its page table")
    result.check_status(0)
    # The end of the recording, as it is: the program lives until all is said.
    return int(result.stdout), analyze_json("frag", recording, "--at", "1h")


def check_near(actual, predicted, slack, what):
    check(abs(actual - predicted) <= slack,
          "%s: predicted %d pages, really %d" % (what, predicted, actual))


def placement_case(placement):
    def case(scratch):
        returned, frag = record(scratch, placement, "a")
        metrics = frag["metrics"]
        if frag["residency"] == "sampled":
            # A sample that came after the trim: what it found missing is what was returned.
            skip("sampled in the very moment of the trim")
        check_near(returned, metrics["trimmable_bytes"] // PAGE, 1 + returned // 1000, "trim")
        shares = sum(site["shapley"] for site in frag["sites"]) + frag["other"]["shapley"]
        check(shares == metrics["pinned_free_bytes"], "shares add up to %d of %d pinned bytes" % (
            shares, metrics["pinned_free_bytes"]))

        sole = [s["pages_sole"] for s in frag["sites"] if s["name"] == "site_b"]
        check(len(sole) == 1, "site_b is listed %d times" % len(sole))
        returned, _ = record(scratch, placement, "b")
        check_near(returned, sole[0], max(4, 0.06 * returned), "removing site_b")
    return case


suite.add("trim of a heap with scattered survivors", 40, placement_case("scattered"))
suite.add("trim of a heap with clustered survivors", 40, placement_case("clustered"))
suite.run()
