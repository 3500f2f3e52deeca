#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Bad frees: each is recorded before the allocator sees it, with what is known of it (TAP)."""

import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from fttest import Suite, check, check_equal, kill_group, launcher, need, preload_environment, run, tool, wait_for  # noqa: E402
from recordings import recordings_in  # noqa: E402
from robust import bare, helper, images  # noqa: E402

suite = Suite()
PROGRAM = "test-bad"


def errors_of(path, status=None):
    """The listed errors, and the section that has them."""
    run([tool("FRAGANALYZE"), "resolve", path])
    result = run([tool("FRAGANALYZE"), "errors", "--json", path])
    check(result.status in (0, 1), "errors: status %d, %r" % (result.status, result.stderr))
    section = json.loads(result.stdout)
    check_equal(result.status, 1 if section["errors"] else 0, "status of errors")
    if status is not None:
        check_equal(result.status, status, "status of errors")
    return section["errors"], section


def play(scratch, scene, **changes):
    """Let the program make its mistake, whatever becomes of it: what it said, and the image."""
    env = preload_environment(FRAGTRACE_OUTPUT=os.path.join(scratch, "%p.frag"), FRAGTRACE_MIN_EVENTS="0",
                              FRAGTRACE_SYMBOLIZE="0", **changes)
    result = run([helper(PROGRAM), scene], cwd=scratch, env=env)
    check(result.status <= 0, "%s: status %d" % (scene, result.status))
    image, = images(scratch, 1)
    check_equal(image.losses, [], "losses")
    address = int(result.stdout.split()[0], 16) if result.stdout else None
    return address, image, result.status


def functions(stack):
    return [frame["function"].split("(")[0] for frame in stack or [] if frame["function"]]


def goes_through(stack, name, what):
    check(name in functions(stack), "%s does not go through %s: %r" % (what, name, functions(stack)))


def one(scratch, scene, kind, died=None, **changes):
    """The scene's one error."""
    address, image, status = play(scratch, scene, **changes)
    if died is not None:
        check_equal(status < 0, died, "%s: did the program die (status %d)" % (scene, status))
    errors, section = errors_of(image.path, 1)
    check_equal([e["kind"] for e in errors], [kind], "errors of " + scene)
    check_equal(errors[0]["address"], address, "address of " + scene)
    check_equal(errors[0]["count"], 1, "count")
    check_equal(section["unknown_frees"], 0, "unknown frees beside it")
    return errors[0], image


def bad(name, scene, kind, died=None, through="bad_call", **expected):
    @suite.case(name, 30)
    def case(scratch):
        error, image = one(scratch, scene, kind, died)
        if through:
            goes_through(error["stack"], through, "the stack of the call")
        for key, value in expected.items():
            if key == "allocated" or key == "freed":
                check(error[key] is not None, key)
                if value:
                    goes_through(error[key]["stack"], value, "the stack where it was " + key)
            elif key == "mapping":
                check((error[key] or "").endswith(value), "mapping %r" % error[key])
            else:
                check_equal(error[key], value, key)


bad("double free that glibc dies of", "double", "double_free", died=True, allocated="make_block", freed=None)
bad("double free of a small block", "double-small", "double_free", died=True, allocated="make_block", freed=None)
bad("double free that glibc does not see", "double-fast", "double_free", died=False, allocated="make_block",
    freed=None)
bad("double free in a thread of its own arena", "double-in-thread", "double_free", died=True,
    allocated="make_block", freed=None)
bad("realloc of a freed block", "double-realloc", "double_free", through="bad_realloc", call="realloc",
    allocated="make_block", freed=None)
bad("free inside of a block", "interior", "interior_free", died=True, offset=64, allocated="make_block")
bad("realloc inside of a block, which the program does not survive", "interior-realloc", "interior_free",
    died=True, through="bad_realloc", call="realloc", offset=64, allocated="make_block")
bad("free of the caller's stack", "stack", "invalid_free", region="stack", offset=1)
bad("free of another thread's stack", "other-stack", "invalid_free", region="stack", offset=2)
bad("free of initialised data", "data", "invalid_free", region="data", mapping=PROGRAM)
bad("free of uninitialised data", "bss", "invalid_free", region="data", mapping=PROGRAM)
bad("free of a constant", "text", "invalid_free", died=True, region="data", mapping=PROGRAM)
bad("free of code", "code", "invalid_free", region="code", mapping=PROGRAM)
bad("free in a mapping of the program's", "mapped", "invalid_free", died=True, region="mmap", offset=0x2340)
bad("free in a mapped file", "file", "invalid_free", region="file", mapping="a file (deleted)", offset=0x1230)
bad("free where nothing is mapped", "unmapped", "invalid_free", died=True, region="unmapped")
bad("free of an address that can't be", "wild", "invalid_free", died=True, region="unmapped")
bad("free in the program's own part of the heap", "own-heap", "invalid_free", died=True, region="heap")
bad("realloc of the stack", "stack-realloc", "invalid_free", through="bad_realloc", call="realloc", region="stack")
bad("reallocarray of data", "data-reallocarray", "invalid_free", through="bad_reallocarray",
    call="reallocarray", region="data", mapping=PROGRAM)
bad("delete of malloc's block", "malloc-delete", "mismatched_free", died=False, through=None,
    allocated="make_block", call="operator delete")
bad("free of new's block", "new-free", "mismatched_free", died=False, through=None, allocated="new_free")
bad("delete of new[]'s block", "array-delete", "mismatched_free", died=False, through=None, allocated="array_delete")
bad("delete[] of new's block", "new-array-delete", "mismatched_free", died=False, through=None,
    allocated="new_array_delete")
bad("plain delete of an aligned block", "aligned-delete", "mismatched_free", died=False, through=None,
    allocated="aligned_delete")
bad("realloc of new's block", "new-realloc", "mismatched_free", died=False, through="bad_realloc",
    allocated="new_realloc")
bad("delete with a size that needs the same chunk", "size-near", "bad_size", died=False, through=None,
    given_bytes=97, block_bytes=100, allocated="size_near")
bad("delete with a size that needs another chunk", "size-far", "bad_size", died=False,
    through="bad_sized_delete", given_bytes=400, block_bytes=100, allocated="size_far")
bad("delete with a size that the record has no room for", "size-huge", "bad_size", died=False,
    through="bad_sized_delete", given_bytes=70000, block_bytes=100, allocated="size_huge")
bad("free_sized", "size-c", "bad_size", died=False, through="size_c", call="free_sized",
    given_bytes=260, block_bytes=100)
bad("free_aligned_sized", "size-aligned-c", "bad_size", died=False, through="size_aligned_c",
    call="free_aligned_sized", given_bytes=320, block_bytes=128)


@suite.case("with --free-stacks: the stacks of allocation, first free and bad call", 60)
def free_stacks(scratch):
    for scene, kind, call in (("double", "double_free", "bad_call"), ("malloc-delete", "mismatched_free", "bad_delete"),
                              ("size-near", "bad_size", "bad_sized_delete")):
        folder = os.path.join(scratch, scene)
        os.mkdir(folder)
        error, _ = one(folder, scene, kind, FRAGTRACE_FREE_STACKS="1")
        goes_through(error["stack"], call, "the stack of the call")
        if kind == "double_free":
            goes_through(error["allocated"]["stack"], "make_block", "the stack of the allocation")
            goes_through(error["freed"]["stack"], "first_free", "the stack of the first free")


@suite.case("a mistake that is made again comes with the stack of its call", 60)
def repeated(scratch):
    process = subprocess.Popen([helper(PROGRAM), "repeated"], cwd=scratch, start_new_session=True,
                               stdin=subprocess.PIPE, env=preload_environment(
                                   FRAGTRACE_OUTPUT=scratch + "/%p.frag", FRAGTRACE_MIN_EVENTS="0",
                                   FRAGTRACE_SYMBOLIZE="0"))
    try:
        def has_stack():
            if run([tool("FRAGTRACE"), "ctl", str(process.pid), "flush"]).status != 0:
                return False
            path, = recordings_in(scratch)
            errors, _ = errors_of(path)
            return errors and errors[0]["stack"]
        wait_for("a stack of the call", has_stack)
        process.stdin.write(b"\n")
        process.stdin.flush()
        check_equal(process.wait(), 0, "status")
    finally:
        kill_group(process)
    image, = images(scratch, 1)
    errors, _ = errors_of(image.path, 1)
    check_equal([e["kind"] for e in errors], ["mismatched_free"], "errors")
    goes_through(errors[0]["stack"], "repeated", "the stack of the call")
    check(errors[0]["count"] > 2, "count %d" % errors[0]["count"])


@suite.case("what looks bad and is not: threads, arenas, mappings, coroutines, a heap without a break", 60)
def innocent(scratch):
    for scene in ("innocent", "no-break"):
        folder = os.path.join(scratch, scene)
        os.mkdir(folder)
        _, image, status = play(folder, scene)
        check_equal(status, 0, "status of " + scene)
        errors, section = errors_of(image.path, 0)
        check_equal((errors, section["unknown_frees"]), ([], 0), "errors of " + scene)
        check_equal((image.meta["invalid_frees"], image.meta["bad_sizes"]), (0, 0), "of the collector")


@suite.case("blocks that the recording does not know are unknown frees, and no error", 60)
def unknown(scratch):
    _, image, status = play(scratch, "unseen")
    errors, section = errors_of(image.path, 0)
    check_equal((status, errors, section["unknown_frees"]), (0, [], 101), "errors of unseen")
    folder = os.path.join(scratch, "fork")
    os.mkdir(folder)
    bare(folder, [helper(PROGRAM), "inherited"])
    for image in images(folder, 2):
        errors, section = errors_of(image.path, 0)
        check_equal((errors, section["unknown_frees"]), ([], 0), "errors of " + str(image.origin))


@suite.case("an image of few calls that made a mistake keeps its recording", 30)
def small(scratch):
    path = os.path.join(scratch, "sh.frag")
    run(launcher(path, ["/bin/sh", "-c", "%s data; exit 0" % helper(PROGRAM)]), cwd=scratch)
    kinds = []
    for name in recordings_in(scratch):
        kinds += [e["kind"] for e in errors_of(name)[0]]
    check_equal(kinds, ["invalid_free"], "errors in the recordings of the tree")


@suite.case("real programs make no mistake that is none", 120)
def real(scratch):
    for number, argv in enumerate((
            [sys.executable, "-c", "import json, threading, re\n"
             "t = [threading.Thread(target=lambda: json.dumps(list(range(20000)))) for _ in range(4)]\n"
             "[x.start() for x in t]; [x.join() for x in t]"],
            [need("git"), "--version"],
            [need("sqlite3"), ":memory:", "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE"
             " i < 20000) SELECT count(DISTINCT hex(i)) FROM c"])):
        path = os.path.join(scratch, "%d.frag" % number)
        run(launcher(path, argv), cwd=scratch).check_status(0)
        errors, section = errors_of(path, 0)
        check_equal((errors, section["unknown_frees"]), ([], 0), argv[0])


suite.run()
