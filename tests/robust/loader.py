#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Allocators by all their names: what comes by one door and goes by another (TAP)."""

import ctypes.util
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from fttest import Suite, analyze_json, check, check_equal, launcher, preload_environment, query, run, skip, tool  # noqa: E402
from recordings import stack_functions  # noqa: E402
from robust import Image, helper, images, opened, rows_of, sizes  # noqa: E402

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


def play(scratch, argv, preload, **changes):
    env = preload_environment(FRAGTRACE_SYMBOLIZE="0", FRAGTRACE_OUTPUT=scratch + "/%p.frag", **changes)
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


# ---- libraries that come and go --------------------------------------------------------------------

PLUGINS = ("libtest-plugin-one.so", "libtest-plugin-two.so")


def plugins(scratch, how, times):
    """(recording, how often a library lay where one had lain)"""
    recording = os.path.join(scratch, "plugins.frag")
    result = run(launcher(recording, [helper("test-plugins"), how, *map(helper, PLUGINS), str(times)]), cwd=scratch)
    return recording, int(result.check_status(0).stdout)


def check_stacks(recording, most):
    """Each block's stack leads through the library that it came from, and through nothing else: by the
    tables of the recording, and by the analysis."""
    names = {64001: "one", 64002: "two"}
    seen, wrong = {}, []

    def judge(size, functions):
        name = names.get(size)
        seen[size] = True
        if functions[:4] != ([name + "_inner", name + "_allocate", "use", "turn"] if name else ["use", "turn"] + functions[2:4]) \
                or functions[-1] not in ("_start", "__clone3", "clone3", "__clone"):
            if functions[:1] != ["allocate_on"]:
                wrong.append((size, functions))

    rows = rows_of(query(recording, "SELECT DISTINCT a.requested, s.text FROM allocation a JOIN stack s ON s.id = a.stack"
                                    " WHERE a.requested IN (64001, 64002, 64003)"))
    for row in rows:
        judge(int(row["requested"]), [line.split(" (")[0] for line in row["text"].splitlines()])
    check_equal(wrong[:3], [], "stacks that are not those of their block, by SQL")
    check_equal(sorted(seen), most, "sizes")
    document = analyze_json("report", recording)
    stray = [stack_functions(site) for site in document["sites"]["sites"]
             if {"one", "two"} <= {f.split("_")[0] for f in stack_functions(site)}]
    check_equal(stray[:3], [], "stacks through both libraries")
    check_equal(document["quality"]["unknown_frees"], 0, "frees of nobody's block")
    check_equal(document["errors"]["errors"], [], "errors")
    return document


def sizes_of(recording):
    return sizes(Image(recording))


def nodes(recording):
    with opened(recording) as db:
        return db.execute("SELECT sum(n_nodes) FROM stack_chunk").fetchone()[0]


@suite.case("a library that is mapped where another one lay: stacks are those of their time", 60)
def turns(scratch):
    recording, n_same = plugins(scratch, "turns", 40)
    check(n_same > 20, "only %d of 39 lay where the other had lain" % n_same)
    check_stacks(recording, [64001, 64002, 64003])


@suite.case("a library that is loaded again and again needs no more stacks than once", 60)
def reloaded(scratch):
    recording, n_same = plugins(scratch, "reload", 3)
    few = nodes(recording)
    os.unlink(recording)
    recording, n_same = plugins(scratch, "reload", 300)
    check(n_same > 250, "only %d of 299 lay where it had lain" % n_same)
    check_stacks(recording, [64001, 64003])
    many = nodes(recording)
    check(many <= few + 64, "%d nodes after 3 loads, %d after 300" % (few, many))
    with opened(recording) as db:
        rows = db.execute("SELECT load_ns, unload_ns FROM module WHERE path LIKE '%plugin-one%' ORDER BY id").fetchall()
    check_equal(len(rows), 300, "rows of the library")
    check(all(load <= unload for load, unload in rows) and
          all(a[1] <= b[0] for a, b in zip(rows, rows[1:])), "rows of the library overlap in time")


@suite.case("libraries are loaded and unloaded in two threads while others allocate", 90)
def concurrently(scratch):
    recording, _ = plugins(scratch, "threads", 150)
    check_stacks(recording, [64001, 64002, 64003])


@suite.case("RTLD_DEEPBIND: the program runs, and what is seen is what it did", 30)
def deep(scratch):
    recording, _ = plugins(scratch, "deep", 5)
    # The library is bound to libc before us: its calls are not seen, the program's own are.
    found = sizes_of(recording)
    check_equal(found.get(64001), None, "blocks of the library")
    check_equal(found.get(64003, (0, 0))[0], 5, "blocks of the program, which the library frees unseen")
    document = analyze_json("report", recording)
    check_equal((document["quality"]["lost_events"], document["errors"]["errors"]), (0, []), "losses and errors")
    check_equal(document["quality"]["unknown_frees"], 5, "frees of blocks of the library")


@suite.case("dlmopen: another namespace has another libc and a heap of its own", 30)
def namespace(scratch):
    recording, _ = plugins(scratch, "space", 5)
    found = sizes_of(recording)
    check_equal((found.get(64001), found.get(64003)), (None, (5, 5)), "blocks of the namespace, and of the program")
    document = analyze_json("report", recording)
    check_equal((document["quality"]["unknown_frees"], document["errors"]["errors"]), (0, []), "frees of nobody's block and errors")


def runtimes(scratch, mode, *plugins, **changes):
    """(the image, by plugin and number of the size: (call, made, dropped))"""
    paths = [os.path.join(os.environ["FT_HELPERS"], "libtest-runtime-%s.so" % name) for name in plugins]
    if not all(os.path.exists(path) for path in paths):
        skip("libc++ is not installed")
    image = play(scratch, [helper("test-runtimes"), mode, *paths], tool("PRELOAD"), **changes)
    run([tool("FRAGANALYZE"), "resolve", image.path]).check_status(0)
    rows = rows_of(query(image.path, "SELECT requested, min(api) AS call, max(api) AS other, count(*) AS n, count(died_seq) AS died"
                                     " FROM allocation WHERE requested BETWEEN 50000 AND 50999 GROUP BY requested"))
    check(all(row["call"] == row["other"] for row in rows), repr(rows))
    return image, {(plugins[(int(row["requested"]) - 50000) // 100], int(row["requested"]) % 100):
                   (row["call"], int(row["n"]), int(row["died"])) for row in rows}


def check_runtimes(image, found, mode, plugins):
    sizes = (0, 1, 2, 3, 4, 5, 6, 7) if mode == "all" else (0, 1, 6, 7)
    check_equal(found, {(name, n): ("operator new[]" if n % 2 else "operator new", 10, 0 if n >= 6 else 10)
                        for name in plugins for n in sizes}, "blocks by call")
    document = analyze_json("report", image.path)
    check_equal((document["errors"]["errors"], document["quality"]["unknown_frees"]), ([], 0), "errors, unknown frees")


@suite.case("a plugin with a libstdc++ of its own (-static-libstdc++): new and delete once, and no mismatch", 30)
def static_runtime(scratch):
    check_runtimes(*runtimes(scratch, "all", "static"), "all", ["static"])


@suite.case("libc++ beside libstdc++: new and delete once, and no mismatch", 30)
def two_runtimes(scratch):
    check_runtimes(*runtimes(scratch, "all", "libcxx", "static"), "all", ["libcxx", "static"])


@suite.case("a C++ runtime that a plugin hides: its calls are the malloc and free below, and no mismatch", 30)
def hidden_runtime(scratch):
    across = os.path.join(scratch, "across")
    os.mkdir(across)
    image, _ = runtimes(across, "make", "hidden")
    check_equal(analyze_json("report", image.path)["errors"]["errors"], [], "errors of blocks that the program has of it")
    image, found = runtimes(scratch, "own", "hidden")
    check_equal(found, {("hidden", n): ("malloc", 10, 0 if n >= 6 else 10) for n in (0, 1, 6, 7)}, "blocks by call")
    check_equal(analyze_json("report", image.path)["errors"]["errors"], [], "errors")


suite.run()
