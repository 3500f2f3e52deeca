#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Other allocators in LD_PRELOAD, behind the tracer and before it: the program runs as it does without
the tracer, and its recording has what one under glibc's allocator has (TAP)."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from fttest import (Suite, analyze_json, check, check_equal, environment, launcher, need, run, skip,  # noqa: E402
                    tool)
from robust import Image, helper, images, sizes  # noqa: E402

suite = Suite()

ALLOCATORS = ("libtcmalloc_minimal.so.4", "libtcmalloc.so.4", "libjemalloc.so.2", "libmimalloc.so.2.0")
PYTHON = ["/usr/bin/python3", "-I", "-S", "-c", "print(sum(len(str(i) * 200) for i in range(2000)))"]
SQL = ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)"
       " SELECT count(DISTINCT printf('%d-%d', i % 977, i)) FROM n;")

# What foreign.c asks for on each of its threads: requested size, births, of them died.
N = 200
EXPECTED = {30001: (N, N), 30003: (N, N), 30007: (N, N), 30016: (N, N), 30017: (N, N), 30011: (N, N),
            90001: (N, N), 20011: (N, N), 30021: (N, N), 30029: (1, 0)}


def plain(argv, preload, scratch, **changes):
    """Under the allocator alone; skipped where it is not installed, or the program fails with it."""
    result = run(argv, cwd=scratch, env=environment(LD_PRELOAD=preload, **changes))
    if b"cannot be preloaded" in result.stderr:
        skip(preload + " is not installed")
    return result.check_status(0)


def under(folder, argv, *libraries):
    """Run with these in LD_PRELOAD, and no launcher."""
    env = environment(LD_PRELOAD=" ".join(libraries), FRAGTRACE_MIN_EVENTS="0", FRAGTRACE_SYMBOLIZE="0",
                      FRAGTRACE_OUTPUT=os.path.join(folder, "%p.frag"))
    return run(argv, cwd=folder, env=env).check_status(0)


def quality(path):
    return analyze_json("report", path)["quality"]


def known_blocks(image):
    return {size: counts for size, counts in sizes(image).items() if size in EXPECTED}


def behind(allocator):
    @suite.case("%s behind the tracer: each call once, as it was made" % allocator, 60)
    def calls(scratch):
        argv = [helper("test-foreign")]
        expected = plain(argv, allocator, scratch)
        result = under(scratch, argv, tool("PRELOAD"), allocator)
        check_equal((result.stdout, result.stderr), (expected.stdout, expected.stderr), "output")
        image, = images(scratch, 1)
        check_equal(known_blocks(image), {size: (2 * n, 2 * died) for size, (n, died) in EXPECTED.items()},
                    "births and deaths by size")
        check_equal((quality(image.path)["unknown_frees"], image.losses), (0, []), "unknown frees and losses")

    # The launcher gets the allocator, too. Under the full tcmalloc it may wait long for the end of a
    # recording: docs/ROBUSTNESS.md.
    if allocator == "libtcmalloc.so.4":
        return

    @suite.case("%s behind the tracer: sqlite3, python3 and git, as under glibc" % allocator, 90)
    def programs(scratch):
        plain(["true"], allocator, scratch)
        commands = {"sqlite3": [need("sqlite3"), ":memory:", SQL], "python3": PYTHON,
                    "git": [need("git"), "--no-pager", "log", "-1", "--format=%H"]}
        repository = os.path.join(scratch, "repository")
        git = [need("git"), "-c", "user.name=A", "-c", "user.email=a@example.org"]
        run(git + ["init", "-q", repository]).check_status(0)
        run(git + ["commit", "-q", "--allow-empty", "-m", "one"], cwd=repository).check_status(0)
        for name, argv in commands.items():
            found = {}
            settings = {"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0", "HOME": scratch,
                        "GIT_CONFIG_NOSYSTEM": "1"}
            output = run(argv, cwd=repository, env=environment(**settings)).check_status(0).stdout
            for preload in (None, allocator):
                path = os.path.join(scratch, "%s-%s.frag" % (name, preload or "glibc"))
                changes = dict(settings, **({"LD_PRELOAD": preload} if preload else {}))
                result = run(launcher(path, argv), cwd=repository, env=environment(**changes))
                check_equal(result.check_status(0).stdout, output, "output of %s" % name)
                check_equal((quality(path)["unknown_frees"], Image(path).losses), (0, []),
                            "unknown frees and losses of %s" % name)
                found[preload] = analyze_json("summary", path)["totals"]
            # The C++ library that comes with it has a pool of 71 KiB for exceptions; tcmalloc has
            # an object or two of its own. python3's bytes differ by 128 KiB between some runs.
            glibc, other = found[None], found[allocator]
            for key, slack in (("allocations", 16), ("live_blocks", 16), ("bytes_allocated", 320 << 10)):
                print("# %s: %s %d, under glibc %d" % (name, key, other[key], glibc[key]))
                check(abs(other[key] - glibc[key]) <= slack, "%s: %s is %d, under glibc %d" % (
                    name, key, other[key], glibc[key]))


def before(allocator):
    @suite.case("%s before the tracer: the program is as it was" % allocator, 60)
    def case(scratch):
        for name, argv in (("foreign", [helper("test-foreign")]), ("python3", PYTHON)):
            folder = os.path.join(scratch, name)
            os.mkdir(folder)
            expected = plain(argv, allocator, folder)
            result = under(folder, argv, allocator, tool("PRELOAD"))
            check_equal(result.stdout, expected.stdout, "output of " + name)
            # The allocator's calls never come to the tracer: no part of them may be there either.
            image, = images(folder, 1)
            check_equal(known_blocks(image), {}, "blocks of " + name)
            check_equal(quality(image.path)["unknown_frees"], 0, "unknown frees of " + name)


for library in ALLOCATORS:
    behind(library)
    before(library)


@suite.case("an allocator behind a tracer that records nothing", 30)
def untraced(scratch):
    for allocator in ALLOCATORS:
        for argv in ([helper("test-foreign")], PYTHON):
            env = environment(LD_PRELOAD=tool("PRELOAD") + " " + allocator, FRAGTRACE_OUTPUT="/nonexistent/%p.frag")
            run(argv, cwd=scratch, env=env).check_status(0)


suite.run()
