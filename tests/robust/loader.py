#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Allocators by all their names: what comes by one door and goes by another (TAP)."""

import ctypes.util
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from fttest import Suite, analyze_json, check_equal, preload_environment, run, skip, tool  # noqa: E402
from robust import helper, images, sizes  # noqa: E402

suite = Suite()

DOORS = {
    "glibc": (None, "__libc_malloc", "__libc_realloc", "__libc_free"),
    "jemalloc": ("jemalloc", "mallocx", "rallocx", "dallocx"),
    "tcmalloc": ("tcmalloc_minimal", "tc_malloc", "tc_realloc", "tc_free"),
    "mimalloc": ("mimalloc", "mi_malloc", "mi_realloc", "mi_free"),
}


def library(name):
    found = name and ctypes.util.find_library(name)
    if name and not found:
        skip("lib%s is not installed" % name)
    return found or ""


def play(scratch, argv, preload):
    env = preload_environment(FRAGTRACE_SYMBOLIZE="0", FRAGTRACE_OUTPUT=scratch + "/%p.frag")
    env["LD_PRELOAD"] = preload
    check_equal(run(argv, cwd=scratch, env=env).check_status(0).stdout, b"done\n", "stdout")
    image, = images(scratch, 1)
    return image


def check_doors(image):
    found = sizes(image)
    check_equal([found.get(size) for size in (63001, 63002, 63003, 63004)],
                [(100, 100), (50, 50), (100, 100), (100, 100)], "blocks by the allocator's own names")
    document = analyze_json("report", image.path)
    check_equal(document["quality"]["unknown_frees"], 0, "frees of nobody's block")
    check_equal(document["errors"]["errors"], [], "errors")


def add(name):
    @suite.case("%s after the tracer, by all its names" % name, 30)
    def after(scratch):
        other, *names = DOORS[name]
        check_doors(play(scratch, [helper("test-doors"), *names, "common"],
                         "%s %s" % (tool("PRELOAD"), library(other))))


for allocator in DOORS:
    add(allocator)


@suite.case("an allocator that stands on __libc_malloc is recorded once", 30)
def shim(scratch):
    check_doors(play(scratch, [helper("test-doors"), "malloc", "realloc", "free", "common"],
                     "%s %s" % (tool("PRELOAD"), helper("libtest-shield.so"))))


suite.run()
