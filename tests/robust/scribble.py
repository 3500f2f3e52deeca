#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The program writes over the memory that it shares with its collector (TAP).

Whatever is there, the collector ends, by itself and not by a signal, soon after the program; it has
written to its recording and to nothing else; and the recording opens. SCRIBBLE_RUNS (1) seeds of each
kind, from SCRIBBLE_SEED (1) on.
"""

import concurrent.futures
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from fttest import Suite, analyze_json, check, check_equal, environment, launcher, time_left  # noqa: E402
from robust import helper  # noqa: E402

RUNS = int(os.environ.get("SCRIBBLE_RUNS", "1"))
SEED = int(os.environ.get("SCRIBBLE_SEED", "1"))
PATTERNS = ("zeros", "ones", "random", "small", "plausible")
MOST_BYTES = 64 << 20
suite = Suite()


def listing(folder):
    return sorted(os.path.relpath(os.path.join(where, name), folder) for where, _, names in os.walk(folder) for name in names)


def scribble(folder, part, pattern, seed):
    what = "%s %s %s" % (part, pattern, seed)
    os.mkdir(folder)
    recording = os.path.join(folder, "x.frag")
    process = subprocess.Popen(launcher(recording, [helper("test-scribble"), part, pattern, str(seed)]), cwd=folder,
                               env=environment(FRAGTRACE_SYMBOLIZE="0"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    try:
        _, stderr = process.communicate(timeout=time_left())
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return "%s: the launcher still waits" % what
    if process.returncode != 7:
        return "%s: status %d, %r" % (what, process.returncode, stderr)
    if b"signal" in stderr or b"collector ended" in stderr:
        return "%s: %r" % (what, stderr)
    if listing(folder) != ["x.frag"]:
        return "%s: files %s, %r" % (what, listing(folder), stderr)
    if os.stat(recording).st_size > MOST_BYTES:
        return "%s: %d bytes" % (what, os.stat(recording).st_size)
    document = analyze_json("summary", recording)
    if document["recording"]["state"] != "complete":
        return "%s: the recording is %s" % (what, document["recording"]["state"])
    return None


def add(part):
    @suite.case("%s: the collector ends, its recording opens, and nothing else is written" % part, 100)
    def over(scratch):
        runs = [(pattern, seed) for pattern in PATTERNS for seed in range(SEED, SEED + RUNS)]
        with concurrent.futures.ThreadPoolExecutor(5) as pool:
            wrong = [text for text in pool.map(lambda run: scribble(
                os.path.join(scratch, "%s-%d" % run), NAMES[part], *run), runs) if text]
        check_equal(wrong, [], "runs that went wrong of %d" % len(runs))


NAMES = {
    "the segment's header is written over": "header",
    "the rings' headers are written over": "rings",
    "records are written over, and more of them claimed": "bodies",
    "the tree of stacks is written over": "nodes",
    "single words anywhere are written over": "any",
}
for case in NAMES:
    add(case)


@suite.case("where the recording goes is written over: another file stays as it is", 60)
def paths(scratch):
    victim = os.path.join(scratch, "victim")
    with open(victim, "w") as file:
        file.write("precious\n")
    before = os.stat(victim)
    wrong = scribble(os.path.join(scratch, "run"), "paths", "zeros", victim)
    check(wrong is None, wrong)
    after = os.stat(victim)
    check_equal((after.st_mtime_ns, after.st_size, listing(scratch)),
                (before.st_mtime_ns, before.st_size, ["run/x.frag", "victim"]), "the other file")


suite.run()
