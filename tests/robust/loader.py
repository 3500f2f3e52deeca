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


# A call by each name that takes, resizes or gives a block; as test-names understands them.
NAMES = {
    "glibc": "malloc free +__libc_malloc:s +__libc_calloc:nt +__libc_memalign:as +__libc_valloc:s +__libc_pvalloc:s"
             " =__libc_realloc:bs -__libc_free:b",
    "jemalloc": "malloc free +mallocx:so =rallocx:bso =xallocx:bsoo -dallocx:bo -sdallocx:bso",
    "tcmalloc":
        "tc_malloc tc_free +tc_malloc:s +tc_malloc_skip_new_handler:s +tc_calloc:nt +tc_memalign:as +tc_valloc:s +tc_pvalloc:s"
        " +tc_posix_memalign:vas =tc_realloc:bs -tc_free:b -tc_cfree:b -tc_free_sized:bs"
        " +__libc_malloc:s +__libc_calloc:nt +__libc_memalign:as +__libc_valloc:s +__libc_pvalloc:s =__libc_realloc:bs"
        " -__libc_free:b -__libc_cfree:b",
    "tcmalloc, operator new":
        "tc_new tc_delete +tc_new:s +tc_new_nothrow:sx -tc_delete:b -tc_delete_nothrow:bx -tc_delete_sized:bs"
        " +tc_new_aligned:sa +tc_new_aligned_nothrow:sax -tc_delete_aligned:ba -tc_delete_sized_aligned:bsa"
        " -tc_delete_aligned_nothrow:bax",
    "tcmalloc, operator new[]":
        "tc_newarray tc_deletearray +tc_newarray:s +tc_newarray_nothrow:sx -tc_deletearray:b -tc_deletearray_nothrow:bx"
        " -tc_deletearray_sized:bs +tc_newarray_aligned:sa +tc_newarray_aligned_nothrow:sax -tc_deletearray_aligned:ba"
        " -tc_deletearray_sized_aligned:bsa -tc_deletearray_aligned_nothrow:bax",
    "mimalloc":
        "mi_malloc mi_free +mi_malloc:s +mi_heap_malloc:hs +mi_mallocn:nt +mi_heap_mallocn:hnt +mi_zalloc:s"
        " +mi_heap_zalloc:hs +mi_calloc:nt +mi_heap_calloc:hnt +mi_new:s +mi_heap_alloc_new:hs"
        " +mi_new_nothrow:s +mi_new_n:nt +mi_heap_alloc_new_n:hnt +mi_new_aligned:sa +mi_new_aligned_nothrow:sa"
        " +mi_malloc_aligned:sa +mi_heap_malloc_aligned:hsa +mi_malloc_aligned_at:sao +mi_heap_malloc_aligned_at:hsao"
        " +mi_zalloc_aligned:sa +mi_heap_zalloc_aligned:hsa +mi_zalloc_aligned_at:sao +mi_heap_zalloc_aligned_at:hsao"
        " +mi_calloc_aligned:nta +mi_heap_calloc_aligned:hnta +mi_calloc_aligned_at:ntao +mi_heap_calloc_aligned_at:hntao"
        " +mi_memalign:as +mi_aligned_alloc:as +mi_valloc:s +mi_pvalloc:s +mi_posix_memalign:vas"
        " +mi_strdup:f +mi_heap_strdup:hf +mi_strndup:fs +mi_heap_strndup:hfs +mi_mbsdup:f"
        " =mi_realloc:bs =mi_heap_realloc:hbs =mi_reallocn:bnt =mi_heap_reallocn:hbnt =mi_reallocarray:bnt =mi_reallocarr:vnt"
        " =mi_rezalloc:bs =mi_heap_rezalloc:hbs =mi_recalloc:bnt =mi_heap_recalloc:hbnt =mi_new_realloc:bs =mi_new_reallocn:bnt"
        " =mi_realloc_aligned:bsa =mi_heap_realloc_aligned:hbsa =mi_realloc_aligned_at:bsao =mi_heap_realloc_aligned_at:hbsao"
        " =mi_rezalloc_aligned:bsa =mi_heap_rezalloc_aligned:hbsa =mi_rezalloc_aligned_at:bsao =mi_heap_rezalloc_aligned_at:hbsao"
        " =mi_recalloc_aligned:bnta =mi_heap_recalloc_aligned:hbnta =mi_recalloc_aligned_at:bntao"
        " =mi_heap_recalloc_aligned_at:hbntao =mi_aligned_recalloc:bnta =mi_aligned_offset_recalloc:bntao"
        " =mi_reallocf:bs =mi_heap_reallocf:hbs -mi_free:b -mi_cfree:b -mi_free_size:bs -mi_free_aligned:bo -mi_free_size_aligned:bso"
        " +__libc_malloc:s +__libc_calloc:nt +__libc_memalign:as +__libc_valloc:s +__libc_pvalloc:s =__libc_realloc:bs"
        " -__libc_free:b -__libc_cfree:b",
}


def add_names(name):
    @suite.case("%s by each of its names, once" % name, 30)
    def each(scratch):
        other = DOORS[name.split(",")[0]][0]
        words = NAMES[name].split()
        image = play(scratch, [helper("test-names"), *words], "%s %s" % (tool("PRELOAD"), library(other)))
        found, wrong = sizes(image), []
        for i, word in enumerate(words[2:]):
            blocks = found.get(60000 + 3 * i)
            old = found.get((60000 + 3 * i) // 2) if word[0] == "=" else (1, 1)
            if (blocks, old) != ((1, 1), (1, 1)):
                wrong.append((word, blocks, old))
        check_equal(wrong, [], "blocks that did not come and go once")
        if name == "mimalloc":
            check_equal(found.get(59999), (7, 7), "blocks that went with their heap")
        document = analyze_json("report", image.path)
        check_equal(document["quality"]["unknown_frees"], 0, "frees of nobody's block")
        # The frees are not of the aligned kind where the block is, or the other way round.
        errors = [e for e in document["errors"]["errors"] if e["kind"] != "mismatched_free"
                  or "align" not in e["call"] + e["allocated"]["call"]]
        check_equal(errors, [], "errors")


for allocator in NAMES:
    add_names(allocator)


@suite.case("an allocator that stands on __libc_malloc is recorded once", 30)
def shim(scratch):
    check_doors(play(scratch, [helper("test-doors"), "malloc", "realloc", "free", "common"],
                     "%s %s" % (tool("PRELOAD"), helper("libtest-shield.so"))))


suite.run()
