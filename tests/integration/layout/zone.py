#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The models of the heap's pages, against pages that are counted one by one.

Usage: zone.py PINNED_HEAP (TAP on stdout). The pages are worked out anew from the table of
allocations: `fraganalyze buddy` and `fraganalyze compact` must say the same of them.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from fttest import (Suite, analyze_json, check, check_equal, launcher, query, run,
                    tool)  # noqa: E402

PAGE, GRANULE, MMAPPED = 4096, 65536, 1
ORDERS = 11
suite = Suite()
program = os.path.abspath(sys.argv[1])
del sys.argv[1]

WORKLOAD = """
import json
kept = []
for i in range(30000):
    text = json.dumps({"key%d" % i: list(range(i % 40)), "text": "x" * (i % 500)})
    if i % 23 == 0:
        kept.append(json.loads(text))
del kept[::3]
import os
os._exit(0)
"""


def record(scratch, name, records=16000):
    path = os.path.join(scratch, name + ".frag")
    argv = [program, "1", str(records)]
    if name == "python3":
        argv = ["/usr/bin/env", "PYTHONMALLOC=malloc", "/usr/bin/python3", "-c", WORKLOAD]
        path = os.path.join(scratch, "%n.frag")
    run(launcher(path, argv)).check_status(0)
    found = [f for f in os.listdir(scratch) if f.endswith(".frag") and
             (name != "python3" or "python3" in f)]
    check(found, "no recording in %s" % os.listdir(scratch))
    return os.path.join(scratch, max(found, key=lambda f: os.path.getsize(
        os.path.join(scratch, f))))


def free_pages(recording):
    """{region: (first page, [live?, ...])} at the end of the recording."""
    mapped = {row[0] for row in query(
        recording, "SELECT seq FROM event WHERE flags & %d" % MMAPPED)["rows"]}
    granules, extents = set(), []
    for address, usable, requested, born, live in query(
            recording, "SELECT address, usable, requested, born_seq, died_ns IS NULL "
            "FROM allocation")["rows"]:
        if born in mapped:
            continue
        start, end = address - 8, address + max(usable, requested)
        granules.update(range(start // GRANULE, (end - 1) // GRANULE + 1))
        if live:
            extents.append((start, end))
    extents.sort()
    regions, result = [], []
    for granule in sorted(granules):
        if regions and regions[-1][1] == granule:
            regions[-1][1] = granule + 1
        else:
            regions.append([granule, granule + 1])
    for first, end in regions:
        own = [e for e in extents if first * GRANULE <= e[0] < end * GRANULE]
        if not own:
            continue
        low, high = own[0][0] // PAGE, (own[-1][1] - 1) // PAGE + 1
        live = [False] * (high - low)
        for start, stop in own:
            for page in range(start // PAGE, (stop - 1) // PAGE + 1):
                live[page - low] = True
        result.append((low, live))
    return result


def cut(regions):
    """Free blocks by order: each maximal run into naturally aligned ones."""
    orders = [0] * ORDERS
    for low, live in regions:
        page = 0
        while page < len(live):
            if live[page]:
                page += 1
                continue
            end = page
            while end < len(live) and not live[end]:
                end += 1
            while page < end:
                order = ORDERS - 1
                while (low + page) % (1 << order) or page + (1 << order) > end:
                    order -= 1
                orders[order] += 1
                page += 1 << order
    return orders


def same_pages(scratch, name):
    recording = record(scratch, name)
    regions = free_pages(recording)
    expected = cut(regions)
    window = ["--at", "100000s"]  # the very end, whatever was torn down
    buddy = analyze_json("buddy", recording, *window)
    compact = analyze_json("compact", recording, *window)
    check_equal(buddy["zone"]["free_blocks"], expected, "free blocks of buddy")
    check_equal(compact["before"]["free_blocks"], expected, "free blocks of compact")
    check_equal(compact["pages"], sum(len(live) for _, live in regions), "pages")
    check_equal(compact["used_pages"], sum(sum(live) for _, live in regions), "used pages")
    return recording, compact


@suite.case("the pages of the pinned heap are those of its blocks", 60)
def pinned(scratch):
    recording, compact = same_pages(scratch, "pinned")
    free = sum(n << o for o, n in enumerate(compact["before"]["free_blocks"]))
    after = sum(n << o for o, n in enumerate(compact["after"]["free_blocks"]))
    check_equal(after, free, "free pages after the run")
    check(compact["packed_pages"] <= compact["used_pages"], "packed into more pages")


@suite.case("the pages of python3 are those of its blocks", 60)
def python3(scratch):
    same_pages(scratch, "python3")


@suite.case("compaction wins whole blocks, and what is named stays", 60)
def compaction(scratch):
    recording = record(scratch, "pinned", 64000)
    compact = analyze_json("compact", recording)
    check(compact["won_bytes"] > 0, "nothing was won: %s" % compact)
    check(compact["won_bytes"] <= (compact["pages"] - compact["used_pages"]) * PAGE,
          "more was won than is free")
    check(0 < compact["moved_pages"] <= compact["used_pages"], "moved %d pages of %d" % (
        compact["moved_pages"], compact["used_pages"]))
    moved = [point["moved_bytes"] for point in compact["budget"]]
    check(moved == sorted(moved), "the budget goes back: %s" % moved)
    fixed = analyze_json("compact", recording, "--unmovable", "key_remember")
    check_equal(fixed["unmovable"]["sites"], 1, "unmovable sites")
    check(fixed["moved_pages"] * 20 < compact["moved_pages"], "the keys moved")
    check(fixed["won_bytes"] < compact["won_bytes"], "nothing was lost by pinning")


@suite.case("an arena of fixed size says which request fails first", 60)
def arena(scratch):
    recording = record(scratch, "pinned")
    buddy = analyze_json("buddy", recording, "--arena", "1MiB", "--min-block", "64")["arena"]
    failure = buddy["first_failure"]
    check(failure is not None and buddy["failed"] > 0, "nothing failed")
    # 16000 records of 240 bytes take 256 each: 4096 of them are 1 MiB.
    check_equal(failure["held_bytes"], 1 << 20, "held")
    check(failure["largest_free"] < 64 << failure["order"], "it would have fitted: %s" % failure)
    enough = analyze_json("buddy", recording, "--arena", "64MiB")["arena"]
    check_equal((enough["failed"], enough["first_failure"]), (0, None), "failures in 64 MiB")
    growing = analyze_json("buddy", recording)["arena"]["peak"]
    check_equal(growing["rounded_bytes"], enough["peak"]["rounded_bytes"], "rounded")
    check(growing["requested_bytes"] <= growing["rounded_bytes"] <= growing["held_bytes"],
          "figures out of order: %s" % growing)


@suite.case("sizes that are none are refused", 30)
def refused(scratch):
    for option, value in (("--min-block", "48"), ("--min-block", "x"), ("--arena", "0"),
                          ("--arena", "-1")):
        result = run([tool("FRAGANALYZE"), "buddy", option, value, "nothing.frag"]).check_status(2)
        message = result.stderr.decode()
        check(option in message and value in message, message)


suite.run()
