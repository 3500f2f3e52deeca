#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Pools of the program's own: objects are blocks, the block that they lie in counts once (TAP)."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from fttest import Suite, analyze_json, check, check_equal, query, run  # noqa: E402
from robust import bare, helper, images, meta_of, rows_of, sizes  # noqa: E402

suite = Suite()
POOL = 1 << 47


@suite.case("objects of a pool are blocks of their own, and its memory counts as none", 60)
def objects(scratch):
    bare(scratch, [helper("test-pools")])
    image, = images(scratch, 1)
    found = sizes(image)
    check_equal({size: found.get(size) for size in range(66011, 66016)},
                {66011: (10, 0), 66012: (30, 30), 66013: (107, 107), 66014: (8000, 8000), 66015: (1, 0)}, "objects")
    check_equal((image.losses, meta_of(image, "unknown_frees"), meta_of(image, "bad_records"),
                 meta_of(image, "events_read") >= 16000), ([], 0, 0, True), "the ledger")
    totals = analyze_json("summary", image.path)["totals"]
    objects = 10 * 66011 + 66015
    check(objects <= totals["live_bytes"] < objects + 66001, "live bytes: %d of %d" % (totals["live_bytes"], objects))
    last, = rows_of(query(image.path, "SELECT live_bytes FROM timeline ORDER BY id DESC LIMIT 1"))
    check_equal(int(last["live_bytes"]), totals["live_bytes"], "the collector's live bytes")
    rows = rows_of(query(image.path, "SELECT address, size FROM event WHERE kind = 'alloc' AND size BETWEEN 66001 AND 66015"
                                     " GROUP BY size"))
    check(all((int(row["address"]) & POOL != 0) == (int(row["size"]) > 66001) for row in rows), repr(rows))
    check_equal(analyze_json("report", image.path)["errors"]["errors"], [], "errors")


@suite.case("pools have names, memory, peaks and ends", 60)
def table(scratch):
    bare(scratch, [helper("test-pools")])
    image, = images(scratch, 1)
    rows = rows_of(query(image.path, "SELECT name, n_allocs, n_frees, live_objects, live_bytes, peak_bytes, memory_bytes,"
                                     " destroyed_ns IS NOT NULL AS gone FROM pool ORDER BY id"))
    pools = [tuple(row[key] if key == "name" else int(row[key]) for key in (
        "name", "n_allocs", "n_frees", "live_objects", "live_bytes", "peak_bytes", "memory_bytes", "gone")) for row in rows]
    check_equal(pools[:3], [("a pool", 40, 30, 10, 660110, 10 * 66011 + 30 * 66012, 66001, 0),
                            ("scratch; \"2\"", 107, 107, 0, 0, 20 * 66013, 0, 1),
                            (None, 1, 0, 1, 66015, 66015, 0, 0)], "pools")
    check_equal(pools[3][:5], (None, 8000, 8000, 0, 0), "the pool of the threads")
    section = analyze_json("sites", image.path)["pools"]["pools"]
    check_equal([p["live_objects"] for p in section], [10, 0, 1, 0], "live objects")
    check_equal((section[0]["stack"] is not None, section[2]["stack"]), (True, None), "where they were made")


@suite.case("the layout of the heap knows the block alone", 60)
def layout(scratch):
    bare(scratch, [helper("test-pools")])
    image, = images(scratch, 1)
    frag = analyze_json("frag", image.path)
    check_equal(frag["unplaced_blocks"], 0, "blocks without a place")
    live = frag["metrics"]["live_bytes"]
    check(66001 <= live < 2 * 66001 + 200000, "live bytes of the layout: %d" % live)
    for region in frag["regions"]:
        check(region["end"] < POOL, "a region of objects: %r" % region)


@suite.case("what a pool divides counts as none in what is rolled up, too", 60)
def rolled(scratch):
    documents = []
    for size in None, "1M":
        folder = "%s/%s" % (scratch, size)
        os.mkdir(folder)
        bare(folder, [helper("test-pools"), "6000"], FRAGTRACE_MAX_SIZE=size)
        image, = images(folder, 1)
        documents.append((analyze_json("summary", image.path), analyze_json("sites", image.path)))
    (full, full_sites), (folded, folded_sites) = documents
    check(folded["rolled_up"] and not full["rolled_up"], "one of them is rolled up")
    for key in set(full["totals"]) - {"peak_ns"}:
        check_equal(folded["totals"][key], full["totals"][key], key)
    figures = [sorted((site["live_bytes"], site["live_blocks"], site["allocations"]) for site in sites["sites"]["sites"])
               for sites in (full_sites, folded_sites)]
    check_equal(figures[1], figures[0], "sites")


@suite.case("annotations are free of charge without the tracer, and of no effect in a sample", 30)
def without(scratch):
    run([helper("test-pools")], cwd=scratch).check_status(0)
    bare(scratch, [helper("test-pools")], FRAGTRACE_SAMPLE="4096")
    image, = images(scratch, 1)
    rows = rows_of(query(image.path, "SELECT count(*) AS n FROM event WHERE size > 66001"))
    check_equal(int(rows[0]["n"]), 0, "objects in a sample")


suite.run()
