#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Threads and signals: what the program counted is what the recording has (TAP)."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from fttest import Suite, check, check_equal, preload_environment, run, tool  # noqa: E402
from robust import helper, images, opened, sizes  # noqa: E402

suite = Suite()


def play(scratch, program, scene, shield=False, status=0, **changes):
    """Record a scene. What its witnesses counted, the image, its sizes."""
    changes.setdefault("FRAGTRACE_OUTPUT", os.path.join(scratch, "%p.frag"))
    # Room for all: while a hook waits for some, the buffer of nested events would run over.
    changes.setdefault("FRAGTRACE_RING_KIB", "16384")
    env = preload_environment(FRAGTRACE_SYMBOLIZE="0", **changes)
    if shield:
        env["LD_PRELOAD"] = "%s %s" % (tool("PRELOAD"), helper("libtest-shield.so"))
    result = run([helper(program), scene], cwd=scratch, env=env).check_status(status)
    witnesses = {name: int(n) for name, n in (line.split() for line in result.stdout.decode().splitlines())}
    image, = images(scratch, 1)
    check_equal(image.losses, [], "losses")
    return witnesses, image, sizes(image)


def expect(found, size, n, what):
    """All n blocks of the size were recorded, and freed."""
    check_equal(found.get(size), (n, n), what)


def between(found, size, low, high, what):
    n = found.get(size, (0, 0))[0]
    check(low <= n <= high, "%s: %d are recorded, the program counted %d to %d" % (what, n, low, high))


def meta(image, key):
    with opened(image.path) as db:
        return int(db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()[0])


@suite.case("10000 short threads share few rings", 60)
def short_threads(scratch):
    said, image, found = play(scratch, "test-unsettled", "short-threads")
    expect(found, 61001, said["threads"], "blocks of threads")
    with opened(image.path) as db:
        n, = db.execute("SELECT count(*) FROM thread").fetchone()
    check_equal(n, said["threads"] + 1, "threads")
    n_bytes = meta(image, "tracer_bytes")
    print("# the tracer had %d KiB" % (n_bytes >> 10))
    # 16 MiB of ring each: those of 8 threads at a time, and of some that are about to go.
    check(n_bytes < 64 * (17 << 20), "the tracer took %d bytes" % n_bytes)


@suite.case("allocations in the destructors of a thread's data", 30)
def tls_destructors(scratch):
    said, _, found = play(scratch, "test-unsettled", "tls-destructors")
    check_equal(said["destroyed"], said["threads"] * 4, "rounds of destructors")
    expect(found, 61002, said["destroyed"], "blocks in destructors")
    expect(found, 61003, said["destroyed"], "values")


def handlers(name, scene):
    @suite.case("handlers at a high rate, also inside of hooks: " + name, 60)
    def case(scratch):
        said, image, found = play(scratch, "test-unsettled", scene, shield=True)
        expect(found, 61004, said["handled"], "blocks of handlers")
        expect(found, 61005, said["loops"], "blocks of the program")
        with opened(image.path) as db:
            pass
        from robust import rows_of
        from fttest import query
        nested, = rows_of(query(image.path, "SELECT count(*) AS n FROM event WHERE size = 61004"
                                            " AND coalesce(stack, 0) = 0"))
        print("# %d of %d were inside of hooks" % (int(nested["n"]), said["handled"]))
        check(int(nested["n"]) > 0, "no handler came inside of a hook")


def jumps(name, scene):
    @suite.case("siglongjmp() out of handlers, also out of hooks: " + name, 60)
    def case(scratch):
        said, image, found = play(scratch, "test-unsettled", scene, shield=True)
        between(found, 61006, said["returned"], said["begun"], "blocks of calls that may be left")
        expect(found, 61007, said["pairs"], "blocks after the jumps")
        check_equal(meta(image, "floors_passed_over"), 0, "reallocs that hold events up")


handlers("on the thread's stack", "handlers")
handlers("on a stack of their own", "handlers-onstack")
jumps("on the thread's stack", "jumps")
jumps("on a stack of their own", "jumps-onstack")


@suite.case("deferred cancellation in a loop of allocations", 30)
def deferred_cancel(scratch):
    said, _, found = play(scratch, "test-unsettled", "deferred-cancel")
    between(found, 61008, said["loops"], said["loops"] + said["threads"], "blocks")


@suite.case("asynchronous cancellation inside of hooks", 60)
def async_cancel(scratch):
    said, _, found = play(scratch, "test-unsettled", "async-cancel", shield=True)
    between(found, 61009, said["returned"], said["returned"] + said["threads"], "blocks of cancelled threads")
    expect(found, 61010, said["pairs"], "blocks of the thread that goes on")


@suite.case("coroutines on small stacks at the edges of mappings", 30)
def coroutines(scratch):
    said, _, found = play(scratch, "test-unsettled", "coroutines")
    expect(found, 61011, said["rounds"], "blocks of coroutines")


@suite.case("a stack that ends where its mapping ends, without an outermost frame", 30)
def edge(scratch):
    said, _, found = play(scratch, "test-unsettled", "edge")
    if said["rounds"]:
        expect(found, 61011, said["rounds"], "blocks")


@suite.case("a stack overflow handled on a stack of its own", 30)
def overflow(scratch):
    said, _, found = play(scratch, "test-unsettled", "overflow")
    expect(found, 61012, said["handled"], "blocks of the handler")
    expect(found, 61014, said["after"], "blocks afterwards")


@suite.case("before the tracer's constructor, and after its destructor", 30)
def early_and_late(scratch):
    said, _, found = play(scratch, "test-unsettled", "early-and-late")
    expect(found, 61015, said["late"], "blocks after all destructors")
    expect(found, 61016, 1, "a block from before the constructors")
    expect(found, 61017, 1, "blocks in a destructor")


@suite.case("bad_alloc out of operator new", 30)
def bad_alloc(scratch):
    said, _, found = play(scratch, "test-allocating", "bad-alloc")
    check_equal(said["caught"], 1000, "exceptions")
    expect(found, 62001, 1000, "blocks that the exceptions freed")
    expect(found, 62002, 1000, "blocks where they were caught")


@suite.case("longjmp() out of a new-handler", 30)
def handler_jumps(scratch):
    said, _, found = play(scratch, "test-allocating", "handler-jumps")
    for size in (62003, 62004, 62005, 62006):
        expect(found, size, said["jumps"], "blocks of %d" % size)


@suite.case("exit() in a new-handler", 30)
def handler_exits(scratch):
    _, image, found = play(scratch, "test-allocating", "handler-exits")
    check_equal(found.get(62007), (1, 0), "the handler's block")
    check_equal(image.process["exit_kind"], "exit", "end")


@suite.case("pthread_exit() in a new-handler", 30)
def handler_ends_thread(scratch):
    said, _, found = play(scratch, "test-allocating", "handler-ends-thread")
    check_equal(found.get(62008), (said["threads"], 0), "blocks of the handlers")
    expect(found, 62009, said["threads"], "blocks of the threads")
    expect(found, 62010, said["threads"], "blocks between them")


@suite.case("exceptions through frames whose destructors allocate", 30)
def through_frames(scratch):
    said, _, found = play(scratch, "test-allocating", "through-frames")
    expect(found, 62011, said["destroyed"], "blocks of destructors")


suite.run()
