#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A collector that is stopped, a disk that is full, a quota that is used up, a folder that can't be written to (TAP)."""

import contextlib
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from fttest import Suite, analyze_json, check, check_equal, environment, kill_group, launcher, preload_environment, run, skip, tool, wait_for  # noqa: E402
from recordings import recordings_in  # noqa: E402
from robust import bare, helper, images, sizes, tree  # noqa: E402

suite = Suite()


def collectors(folder):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open("/proc/%s/comm" % pid) as comm, open("/proc/%s/environ" % pid, "rb") as env:
                if comm.read().strip() == "fragtrace-colle" and os.fsencode(folder) in env.read():
                    yield int(pid)


@suite.case("a collector that is stopped: the program goes on after the stall limit, the gap is reported", 60)
def stopped(scratch):
    n = 1000000  # more than fits into a ring
    process = subprocess.Popen(tree("alloc", 70001, "say", "here", "read", "many", n, "say", "here", "read"),
                               cwd=scratch, start_new_session=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               env=preload_environment(FRAGTRACE_OUTPUT=scratch + "/%p.frag",
                                                       FRAGTRACE_SYMBOLIZE="0", FRAGTRACE_STALL_LIMIT_MS="200"))
    pid = None
    try:
        check_equal(process.stdout.readline(), b"here\n", "the program's first word")
        wait_for("the recording", lambda: recordings_in(scratch))
        pid, = collectors(scratch)
        os.kill(pid, signal.SIGSTOP)
        process.stdin.write(b"\n")
        process.stdin.flush()
        check_equal(process.stdout.readline(), b"here\n", "the program's answer while the collector is stopped")
        os.kill(pid, signal.SIGCONT)
        process.stdin.write(b"\n")
        process.stdin.flush()
        check_equal(process.wait(), 0, "status of the program")
    finally:
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        kill_group(process)
    image, = images(scratch, 1)
    lost = sum(events for _, events in image.losses)
    births, deaths = sizes(image).get(64, (0, 0))
    check(0 < births < n, "%d of %d blocks recorded" % (births, n))
    check(lost >= 2 * n - births - deaths, "%r lost, %d births and %d deaths recorded" % (image.losses, births, deaths))
    check_equal(analyze_json("summary", image.path)["totals"]["lost_events"], lost, "lost events of the document")


@suite.case("a folder that nobody can write to: the program runs as ever, the launcher says why", 30)
def unwritable(scratch):
    words = tree("many", 2000, "say", "done")
    result = bare(scratch, words, FRAGTRACE_OUTPUT="/proc/%p.frag")
    check_equal((result.stdout, result.stderr), (b"done\n", b""), "what the program wrote")
    result = run(launcher("/proc/x.frag", words)).check_status(0)
    check_equal(result.stdout, b"done\n", "what the program wrote")
    check(b"/proc/x.frag: cannot create the recording" in result.stderr, "stderr: %r" % result.stderr)


@suite.case("a disk that is full: the program runs as ever, the launcher says why, what was committed opens", 60)
def full(scratch):
    if run(["unshare", "-m", "mount", "-t", "tmpfs", "none", scratch]).status != 0:
        skip("no mount namespace of one's own is permitted")
    small, kept = os.path.join(scratch, "small"), os.path.join(scratch, "kept")
    os.mkdir(small)
    os.mkdir(kept)
    inside = 'mount -t tmpfs -o size=300k none "$1"; cp=$2; shift 2; "$@"; status=$?; cp "$cp"* "$KEPT"; exit $status'
    recording = os.path.join(small, "x.frag")
    env = environment(KEPT=kept, FRAGTRACE_SYMBOLIZE="0")
    result = run(["unshare", "-m", "sh", "-c", inside, "sh", small, recording] + launcher(
        recording, tree("many", 1000000, "say", "done")), env=env).check_status(0)
    check_equal(result.stdout, b"done\n", "what the program wrote")
    check(b"No space left on device" in result.stderr, "stderr: %r" % result.stderr)
    document = analyze_json("summary", os.path.join(kept, "x.frag"))
    check_equal(document["complete"], False, "complete")


@suite.case("a quota that is used up: the program runs as ever, the launcher says why, what was committed opens", 60)
def quota(scratch):
    wrapper = os.path.join(scratch, "collector")
    with open(wrapper, "w") as file:
        file.write('#!/bin/sh\nLD_PRELOAD=%s exec %s "$@"\n' % (helper("libtest-quota.so"), tool("COLLECTOR")))
    os.chmod(wrapper, 0o755)
    recording = os.path.join(scratch, "x.frag")
    env = environment(FRAGTRACE_COLLECTOR=wrapper, FRAGTRACE_SYMBOLIZE="0", QUOTA_BYTES="300000")
    result = run(launcher(recording, tree("many", 1000000, "say", "done")), env=env).check_status(0)
    check_equal(result.stdout, b"done\n", "what the program wrote")
    check(b"Disk quota exceeded" in result.stderr, "stderr: %r" % result.stderr)
    check_equal(analyze_json("summary", recording)["complete"], False, "complete")


suite.run()
