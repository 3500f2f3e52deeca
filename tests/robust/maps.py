#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""mmap and its kin as calls with stacks: what they say is mapped is what the kernel says (TAP)."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from fttest import Suite, analyze, analyze_json, check, check_equal, query, run  # noqa: E402
from robust import bare, helper, images, meta_of, rows_of  # noqa: E402

suite = Suite()
PAGE = 4096
FILE_FLAGS = 0x20  # MAP_ANONYMOUS


def maps(scratch, *words, **changes):
    """(the image, its output, rows of calls, rows of sites)"""
    output = bare(scratch, [helper("test-maps")] + list(words), **changes).stdout
    image, = images(scratch, 1)
    calls = rows_of(query(image.path, "SELECT * FROM map_call ORDER BY id"))
    sites = rows_of(query(image.path, "SELECT * FROM map_site"))
    for row in calls + sites:
        for key, value in row.items():
            row[key] = value if key == "call" or value is None else int(value)
    check_equal((image.losses, meta_of(image, "bad_records"), meta_of(image, "map_calls"),
                 meta_of(image, "map_calls_without_row"), meta_of(image, "map_ranges_left_out")),
                ([], 0, len(calls), 0, 0), "the ledger")
    check_equal(meta_of(image, "ring_events"), meta_of(image, "events_read"), "they are no events")
    check_equal(sum(row["n_calls"] for row in sites), len(calls), "calls of the sites")
    return image, output, calls, sites


def pages_of(start, n_bytes):
    return range(start // PAGE, (start + n_bytes) // PAGE)


def replay(calls):
    """page -> (stack, call) that mapped it: an account by single pages."""
    owner = {}
    for row in calls:
        site, old = (row["stack"], row["call"]), pages_of(row["old_address"], row["old_bytes"])
        new = pages_of(row["address"], row["bytes"])
        if row["call"] == "madvise":
            continue
        before = [owner.pop(page, None) for page in old]
        for i, page in enumerate(new):
            known = before[i] if i < len(before) else None
            if known or i >= len(before) or new[0] != old[0]:
                owner[page] = known or site
    return owner


def kernels(output):
    ranges = [tuple(int(word) for word in line.split()) for line in output.splitlines()]
    return {page for start, end in ranges for page in pages_of(start, end - start)}


@suite.case("mmap, munmap, mremap: what is mapped, page by page, is what /proc/self/maps has", 120)
def one_thread(scratch):
    for seed in (1, 2, 3):
        folder = os.path.join(scratch, str(seed))
        os.mkdir(folder)
        _, output, calls, sites = maps(folder, "random", "1", str(seed * 1000))
        owner = replay(calls)
        files = {(row["stack"], row["call"]) for row in sites if row["call"] == "mremap" or
                 row["call"] == "mmap" and not row["flags"] & FILE_FLAGS}
        check_equal({page for page, site in owner.items() if site in files}, kernels(output), "pages of the file")
        live = {}
        for site in owner.values():
            live[site] = live.get(site, 0) + PAGE
        check_equal({(row["stack"], row["call"]): row["live_bytes"] for row in sites if row["live_bytes"]}, live,
                    "bytes by site")
        check(all(row["live_bytes"] <= row["peak_bytes"] and (row["live_ranges"] > 0) == (row["live_bytes"] > 0)
                  for row in sites), repr(sites))
        kinds = {row["call"] for row in calls}
        check(kinds >= {"mmap", "munmap", "mremap", "madvise"}, "calls: %s" % kinds)
        check(all(row["stack"] for row in calls), "a call without a stack")


@suite.case("the same in four threads, and in handlers that interrupt the hooks", 120)
def threads(scratch):
    for seed in (1, 2):
        folder = os.path.join(scratch, str(seed))
        os.mkdir(folder)
        _, output, _, sites = maps(folder, "random", "4", str(seed * 1000))
        live = sum(row["live_bytes"] for row in sites if row["call"] == "mremap" or
                   row["call"] == "mmap" and not row["flags"] & FILE_FLAGS)
        check_equal(live, len(kernels(output)) * PAGE, "bytes mapped")


@suite.case("sites of mappings: kinds, program break, advice; no blocks, no leaks", 60)
def by_site(scratch):
    image, _, calls, sites = maps(scratch, "calls")
    found = sorted((row["call"], row["flags"] if row["call"] == "madvise" else None, row["n_calls"], row["bytes"] // PAGE,
                    row["live_bytes"] // PAGE, row["peak_bytes"] // PAGE) for row in sites if row["call"] != "munmap" and
                   not (row["call"] == "madvise" and row["flags"] == 15))
    check_equal(found, sorted([
        ("mmap", None, 1, 101, 90, 101), ("mmap", None, 1, 102, 102, 102), ("mmap", None, 1, 103, 0, 103),
        ("mremap", None, 1, 120, 120, 120), ("madvise", 4, 7, 14, 0, 0), ("sbrk", None, 1, 5, 4, 5),
        ("sbrk", None, 1, 0, 0, 0), ("brk", None, 1, 4, 0, 4), ("brk", None, 1, 0, 0, 0)]), "sites")
    mapped = analyze_json("sites", image.path)["mapped"]
    check_equal((mapped["live_bytes"], mapped["calls"]), (sum(row["live_bytes"] for row in sites), len(calls)), "totals")
    check(mapped["peak_bytes"] >= mapped["live_bytes"], "peak")
    listed = {(s["call"], s["kind"], s["advice"], s["live_bytes"] // PAGE) for s in mapped["sites"]}
    check(listed >= {("mmap", "anonymous", None, 90), ("mmap", "reserved", None, 102), ("mmap", "shared", None, 0),
                     ("mremap", None, None, 120), ("madvise", None, "DONTNEED", 0), ("sbrk", None, None, 4)}, repr(listed))
    text = analyze("sites", image.path).stdout.decode()
    check("mmap reserved in" in text and "madvise DONTNEED in" in text, text)
    rows = rows_of(query(image.path, "SELECT count(*) AS n FROM event WHERE size >= %d" % (80 * PAGE)))
    check_equal(int(rows[0]["n"]), 0, "events of mappings")
    totals = analyze_json("summary", image.path)["totals"]
    check(totals["peak_bytes"] < 80 * PAGE, "peak of the heap: %d" % totals["peak_bytes"])


@suite.case("calls that fail are as without the tracer, and are not recorded", 60)
def failing(scratch):
    run([helper("test-maps"), "failing"]).check_status(0)
    _, _, calls, _ = maps(scratch, "failing")
    check(all(row["address"] != 1 and row["old_address"] != 1 for row in calls), repr(calls))
    last = [(row["call"], row["bytes"], row["old_bytes"]) for row in calls][-2:]
    check_equal(last, [("mmap", PAGE, 0), ("munmap", 0, PAGE)], "what succeeded")


@suite.case("a mapping that a vfork child makes is its parent's", 60)
def vforked(scratch):
    _, _, _, sites = maps(scratch, "vfork")
    check(11 * PAGE in {row["live_bytes"] for row in sites}, repr(sites))


suite.run()
