#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Slabs as the analyzer reads them off the addresses of blocks, against what allocators say of themselves.

Usage: slabs.py SLABS (TAP on stdout). jemalloc counts its blocks and slabs by class; of tcmalloc and
mimalloc it is only asked whether the addresses fit the rules by which their slabs are found.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from fttest import (Suite, analyze_json, check, check_equal, environment, launcher, need, run, skip)  # noqa: E402

program = os.path.abspath(sys.argv[1])
del sys.argv[1]
suite = Suite()

# What jemalloc or the C library hold in the class before the tracer begins, or for themselves.
OWN_BLOCKS, OWN_SLABS = 8, 4


def record(scratch, allocator, argv, **changes):
    """Returns (frag section, output) of a run under the allocator, behind the tracer."""
    plain = run(["true"], env=environment(LD_PRELOAD=allocator))
    if b"cannot be preloaded" in plain.stderr:
        skip(allocator + " is not installed")
    recording = os.path.join(scratch, "a.frag")
    # By the launcher, which waits until the recording is whole.
    result = run(launcher(recording, argv), cwd=scratch, env=environment(
        LD_PRELOAD=allocator, FRAGTRACE_SYMBOLIZE="0", FRAGTRACE_MIN_EVENTS="0", **changes)).check_status(0)
    return analyze_json("frag", recording), result.stdout.decode()


def check_sums(slabs):
    shapley = sum(site["shapley"] for site in slabs["sites"]) + slabs["other"]["shapley"]
    check_equal(shapley, slabs["free_bytes"], "what all sites pin in slabs")
    for key in ("slabs", "blocks", "free_bytes", "compact_gain_bytes", "mesh_gain_bytes"):
        check_equal(sum(c[key] for c in slabs["classes"]), slabs[key], key)
    check(slabs["mesh_gain_bytes"] <= slabs["compact_gain_bytes"], "meshing gains more than compacting")


@suite.case("jemalloc: blocks and slabs of each class are those of its own statistics", 60)
def jemalloc(scratch):
    frag, output = record(scratch, "libjemalloc.so.2", [program], MALLOC_CONF="tcache:false")
    slabs = frag["slabs"]
    ours = {c["size"]: c for c in slabs["classes"]}
    theirs = [tuple(map(int, line.split())) for line in output.splitlines()]
    check(sum(blocks for _, _, blocks, _ in theirs) > 5000, "jemalloc holds next to nothing")
    for size, slab_bytes, blocks, n_slabs in theirs:
        c = ours.get(size, {"slab_bytes": slab_bytes, "blocks": 0, "slabs": 0})
        check_equal(c["slab_bytes"], slab_bytes, "slab of %d" % size)
        check(0 <= blocks - c["blocks"] <= OWN_BLOCKS, "%d blocks of %d, jemalloc has %d" % (
            c["blocks"], size, blocks))
        check(0 <= n_slabs - c["slabs"] <= OWN_SLABS, "%d slabs of %d, jemalloc has %d" % (
            c["slabs"], size, n_slabs))
    print("# %d blocks in %d slabs, jemalloc has %d in %d" % (
        slabs["blocks"], slabs["slabs"], sum(t[2] for t in theirs), sum(t[3] for t in theirs)))
    check_equal(slabs["unplaced_blocks"], 0, "blocks without a slab")
    check_sums(slabs)


def fits(allocator, unplaced_pct):
    @suite.case("%s: the addresses of python3's blocks fit its slabs" % allocator, 60)
    def python(scratch):
        code = ("import json, os\nkept = [json.loads(json.dumps({'k%d' % i: list(range(i % 50)), 't': 'x' * (i % 900)}))"
                " for i in range(8000)]\ndel kept[::2]\nos._exit(0)")
        frag, _ = record(scratch, allocator, [need("/usr/bin/python3"), "-S", "-c", code],
                         PYTHONMALLOC="malloc")
        slabs = frag["slabs"]
        check(slabs is not None, "%s is taken for %s" % (allocator, frag["allocator"]))
        print("# %d blocks in %d slabs, %d unplaced, %d large" % (
            slabs["blocks"], slabs["slabs"], slabs["unplaced_blocks"], slabs["large_blocks"]))
        check(slabs["blocks"] > 50000, "only %d blocks" % slabs["blocks"])
        check(slabs["unplaced_blocks"] * 100 <= unplaced_pct * slabs["blocks"], "%d of %d blocks are unplaced" % (
            slabs["unplaced_blocks"], slabs["blocks"]))
        check_sums(slabs)


fits("libjemalloc.so.2", 0)
fits("libmimalloc.so.2.0", 1)
fits("libtcmalloc_minimal.so.4", 5)


@suite.case("glibc has no slabs", 30)
def glibc(scratch):
    frag, _ = record(scratch, "", [need("/usr/bin/python3"), "-S", "-c", "pass"])
    check_equal(frag["slabs"], None, "slabs")


suite.run()
