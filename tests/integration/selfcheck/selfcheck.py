#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every captured stack against libunwind's: real programs, exceptions, signal handlers, coroutines
(TAP).

A difference fails the case and is printed as the recording's mark tells it. So does one that is
"explained" because libunwind is known to be wrong there (libtrace/tracer/tr_check.h): these
programs have none.

SELF_CHECK_TIMES (1) makes the programs do that much more: scripts/prove selfcheck.
"""

import glob
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from fttest import (Suite, check, check_equal, environment, free_port, need, port_is_open,  # noqa: E402
                    query, run, server, skip, tool, wait_for)

TIMES = int(os.environ.get("SELF_CHECK_TIMES", "1"))

suite = Suite()


def checked(recording, argv, *options):
    return [tool("FRAGTRACE"), "run", "--self-check", *options, "--no-symbols", "-o", recording,
            "--"] + argv


def figures(scratch):
    """Stacks, differences, explained ones and the text of marks, over all recordings in scratch."""
    sums, texts = [0, 0, 0], []
    names = ["self_check_stacks", "self_check_differences", "self_check_explained"]
    for recording in sorted(glob.glob(os.path.join(scratch, "*.frag"))):
        meta = dict(rows(recording, "SELECT key, value FROM meta WHERE key LIKE 'self_check_%'"))
        check_equal(sorted(meta), sorted(names), "figures in " + recording)
        sums = [total + int(meta[name]) for total, name in zip(sums, names)]
        texts += [label for label, in rows(
            recording, "SELECT label FROM mark WHERE kind = 'self_check'")]
    print("# %d stacks compared, %d differences, %d explained" % tuple(sums))
    return (*sums, texts)


def check_stacks(scratch, at_least):
    stacks, differences, explained, texts = figures(scratch)
    check(differences == 0 and not texts,
          "%d of %d stacks differ:\n%s" % (differences, stacks, "\n".join(texts[:16])))
    check(stacks >= at_least, "only %d stacks were compared, not %d" % (stacks, at_least))
    check_equal(explained, 0, "stacks that are explained")
    return stacks


def rows(recording, sql):
    return query(recording, sql)["rows"]


def helper(name):
    path = os.path.join(os.environ["FT_HELPERS"], name)
    if not os.path.exists(path):
        skip("%s is not built" % name)
    return path


SMALL_CXX = """#include <map>
#include <string>
#include <vector>
int main()
{
	std::map<std::string, std::vector<int>> numbers;

	numbers["one"].push_back(1);
	return numbers.size() == 1 ? 0 : 1;
}
"""


@suite.case("cc1plus", 60 * TIMES)
def cc1plus(scratch):
    source = os.path.join(scratch, "small.cc")
    with open(source, "w", encoding="ascii") as file:
        file.write(SMALL_CXX)
    # The driver starts cc1plus with the options that it needs; both are compared.
    run(checked(os.path.join(scratch, "cc.frag"), [need("g++"), "-S", "-o", "/dev/null", source]),
        cwd=scratch).check_status(0)
    check_stacks(scratch, 100000)


@suite.case("python3", 60 * TIMES)
def python(scratch):
    script = ("import json, re, subprocess\n"
              "for i in range(%d):\n"
              "    text = json.dumps([{'name': str(k), 'values': list(range(9))} for k in range(60)])\n"
              "    json.loads(text), re.findall('[0-9]+', text), sorted(text.split(), key=len)\n"
              "subprocess.run(['/bin/true'], check=True)\n" % (40 * TIMES))
    run(checked(os.path.join(scratch, "python.frag"), [need("/usr/bin/python3"), "-c", script]),
        cwd=scratch, env=environment(PYTHONMALLOC="malloc")).check_status(0)
    check_stacks(scratch, 50000 * TIMES)


@suite.case("redis-server", 60 * TIMES)
def redis(scratch):
    port = free_port()
    argv = [need("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "",
            "--appendonly", "no", "--dir", scratch]
    with server(checked(os.path.join(scratch, "redis.frag"), argv), cwd=scratch):
        wait_for("redis to listen", lambda: port_is_open(port))
        run([need("redis-benchmark"), "-p", str(port), "-n", str(2000 * TIMES), "-c", "8", "-q",
             "-t", "set,get,lpush,lpop,sadd"]).check_status(0)
    check_stacks(scratch, 10000 * TIMES)


@suite.case("a C++ program that throws", 60 * TIMES)
def throws(scratch):
    run(checked(os.path.join(scratch, "throws.frag"), [helper("test-throws"), str(4500 * TIMES)]),
        cwd=scratch).check_status(0)
    check_stacks(scratch, 200000 * TIMES)


@suite.case("signal handlers, coroutines, alloca, threads", 60 * TIMES)
def awkward(scratch):
    run(checked(os.path.join(scratch, "awkward.frag"), [helper("test-awkward-stacks"), str(3000 * TIMES)]),
        cwd=scratch).check_status(0)
    check_stacks(scratch, 15000 * TIMES)


@suite.case("stacks of frees", 60)
def frees(scratch):
    program = [helper("test-throws"), "100"]
    run(checked(os.path.join(scratch, "checked.frag"), program, "--free-stacks"),
        cwd=scratch).check_status(0)
    stacks = check_stacks(scratch, 10000)

    # Without the self-check: libunwind's own blocks have no stacks.
    recording = os.path.join(scratch, "plain")
    run([tool("FRAGTRACE"), "run", "--free-stacks", "--no-symbols", "-o", recording, "--"] + program,
        cwd=scratch).check_status(0)
    [[n_events, n_frees, n_without]] = rows(recording, """SELECT count(*), sum(kind = 'free'),
        sum(kind = 'free' AND coalesce(stack, 0) = 0) FROM event""")
    check(n_frees > 1000 and n_without == 0, "%d of %d frees have no stack" % (n_without, n_frees))
    check(stacks > n_events - 20, "only %d of %d events' stacks were compared" % (stacks, n_events))
    [[n_dead, n_known]] = rows(recording, """SELECT count(*), sum(free_stack <> 0) FROM allocation
        WHERE died_ns IS NOT NULL""")
    check_equal(n_known, n_dead, "blocks whose end is known by its stack")


@suite.case("a walk that is wrong is found out", 60)
def wrong(scratch):
    # Frame pointers in a program that has none.
    recording = os.path.join(scratch, "python.frag")
    result = run(checked(recording, [need("/usr/bin/python3"), "-c", "pass"], "--unwind=fp"),
                 cwd=scratch).check_status(0)
    stacks, differences, explained, texts = figures(scratch)
    check(differences > 0, "none of %d stacks is wrong" % stacks)
    check_equal(len(texts), min(16, differences), "marks")
    for text in texts:
        check(text.startswith("unwind difference: frame "), "no mark of a difference: " + text)
    line = "self-check: %d stacks compared with libunwind, %d differ" % (stacks, differences)
    check(line.encode() in result.stderr, "%r is not what the launcher says: %r" % (
        line, result.stderr))


suite.run()
