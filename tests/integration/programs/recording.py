#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How a recording comes to be, is named, cut off, refused and queried (TAP)."""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from fttest import (Suite, analyze, analyze_json, check, check_equal, environment, kill_group,  # noqa: E402
                    launcher, need, preload_environment, query, run, skip, tool, wait_for)
from recordings import check_recording, only_recording, recordings_in  # noqa: E402

suite = Suite()


def helper(name):
    path = os.path.join(os.environ["FT_HELPERS"], name)
    check(os.path.exists(path), path + " was not built")
    return path


@suite.case("LD_PRELOAD alone records, and says nothing", 30)
def bare(scratch):
    argv = [helper("test-threads64")]
    untraced = run(argv)
    traced = run(argv, cwd=scratch, env=preload_environment()).check_status(0)
    check_equal((traced.stdout, traced.stderr), (untraced.stdout, b""), "output of the traced program")
    recording = only_recording(scratch)
    check(re.fullmatch(r"test-threads64\.\d+\.frag", os.path.basename(recording)), "named " + recording)
    check_recording(recording, scratch, 64 * 4000)


@suite.case("FRAGTRACE_VERBOSE=1 makes a bare run say where its recording is", 30)
def verbose(scratch):
    traced = run([helper("test-late-free")], cwd=scratch,
                 env=preload_environment(FRAGTRACE_VERBOSE="1")).check_status(0)
    check_equal(traced.stdout, b"", "stdout")
    check(b"fragtrace" in traced.stderr, "stderr says %r" % traced.stderr)


@suite.case("FRAGTRACE_OUTPUT names the recording, and nothing is overwritten", 30)
def naming(scratch):
    name = os.path.join(scratch, "named.frag")
    with open(name, "w") as file:
        file.write("somebody's own file")
    for _ in range(2):
        run([helper("test-late-free")], cwd="/", env=preload_environment(FRAGTRACE_OUTPUT=name)).check_status(0)
    wait_for("two recordings", lambda: len(recordings_in(scratch)) >= 3)
    others = [p for p in recordings_in(scratch) if p != name]
    check_equal(sorted(os.path.basename(p) for p in others), ["named.2.frag", "named.3.frag"], "names")
    with open(name) as file:
        check_equal(file.read(), "somebody's own file", "the file that was there")
    for path in others:
        check_recording(path, scratch, 2)


@suite.case("a SIGCHLD that is ignored stays so for the program, and hides nothing from us", 30)
def ignored_sigchld(scratch):
    recording = os.path.join(scratch, "x.frag")
    ignore = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    program = [need("grep"), "SigIgn", "/proc/self/status"]
    result = run([sys.executable, "-c", ignore] + launcher(recording, program)).check_status(0)
    ignored = int(result.stdout.split()[1], 16)
    check(ignored & 1 << (signal.SIGCHLD - 1), "the program ignores %x" % ignored)
    check(b"recorded" in result.stderr, "stderr says %r" % result.stderr)


@suite.case("a limit of the program's data is left to the program", 30)
def data_limit(scratch):
    recording = os.path.join(scratch, "x.frag")
    limit = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_DATA, (800 << 20,) * 2); os.execv(sys.argv[1], sys.argv[1:])"
    program = [sys.executable, "-c", "print(len(bytearray(600 << 20)))"]
    result = run([sys.executable, "-c", limit] + launcher(recording, program)).check_status(0)
    check_equal(int(result.stdout), 600 << 20, "bytes (stderr: %r)" % result.stderr)
    check(os.path.exists(recording), "nothing was recorded: %r" % result.stderr)


FORKS = """
import ctypes, os, time
libc = ctypes.CDLL(None)
def child(pid):
    if pid == 0:
        block = bytearray(1 << 20)
        os._exit(0)
    os.waitpid(pid, 0)
child(os.fork())
time.sleep(0.5)
child(libc._Fork())
"""


@suite.case("a child that no handler announced has its own time of birth", 30)
def raw_fork(scratch):
    run(launcher(os.path.join(scratch, "%p.frag"), [sys.executable, "-c", FORKS]),
        env=environment(FRAGTRACE_MIN_EVENTS="0")).check_status(0)
    times = sorted(row[0] for path in recordings_in(scratch) for row in
                   sqlite3.connect(path).execute("SELECT fork_ns FROM process WHERE fork_ns IS NOT NULL"))
    check_equal(len(times), 2, "forked images")
    check(times[1] - times[0] >= 500000000, "forks at %r" % times)


@suite.case("fragtrace run ends with three lines that lead on", 30)
def last_words(scratch):
    recording = os.path.join(scratch, "x.frag")
    result = run(launcher(recording, [helper("test-late-free")]), cwd=scratch).check_status(0)
    check_equal(result.stdout, b"", "stdout")
    lines = result.stderr.decode().splitlines()
    check_equal(len(lines), 3, "lines on stderr (%r)" % lines)
    check("x.frag" in lines[0], "the first line does not name the recording: %r" % lines[0])
    check("fraganalyze" in lines[2], "the last line has no next command: %r" % lines[2])


@suite.case("exit status and signals of the program are passed on", 30)
def exit_status(scratch):
    shell = need("sh")
    for script, status in (("exit 7", 7), ("exit 0", 0)):
        result = run(launcher(os.path.join(scratch, "status.frag"), [shell, "-c", script]), cwd=scratch)
        result.check_status(status)
    result = run(launcher(os.path.join(scratch, "signal.frag"), [shell, "-c", "kill -TERM $$"]), cwd=scratch)
    check(result.status in (-signal.SIGTERM, 128 + signal.SIGTERM), "status %d after SIGTERM" % result.status)
    missing = run(launcher(os.path.join(scratch, "none.frag"), ["/nonexistent/program"]), cwd=scratch)
    check_equal(missing.status, 127, "status for a program that does not exist")


def killed_recording(scratch, seconds):
    recording = os.path.join(scratch, "killed.frag")
    process = subprocess.Popen([helper("test-steady")], cwd=scratch, start_new_session=True,
                               env=preload_environment(FRAGTRACE_OUTPUT=recording),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        check_equal(process.stdout.readline(), b"begun\n", "first line of the program")
        time.sleep(seconds)
    finally:
        kill_group(process)
    check_equal(process.returncode, -signal.SIGKILL, "status")
    return recording


@suite.case("a SIGKILL in the middle leaves a recording that says so", 40)
def killed(scratch):
    recording = killed_recording(scratch, 1.5)
    wait_for("the recording", lambda: os.path.exists(recording))
    # Asked at once: the reader waits for the writer that is still finishing.
    summary = analyze_json("summary", recording)
    check(summary["totals"]["allocations"] > 10000, "only %r" % summary["totals"])
    check_equal((summary["program"]["exit_kind"], summary["program"]["exit_code"]), ("signal", 9), "exit")
    check("killed" in [finding["code"] for finding in summary["findings"]], "no finding says killed")
    text = " ".join(analyze("summary", recording).stdout.decode().split())
    check("cut off by SIGKILL" in text, "nothing says that it was cut off: %s" % text)
    for verb in ("leaks", "threads", "frag"):
        analyze_json(verb, recording)


@suite.case("a recording whose collector was killed opens, up to the last commit", 40)
def collector_killed(scratch):
    recording = os.path.join(scratch, "cut.frag")
    process = subprocess.Popen([helper("test-steady"), "6"], cwd=scratch, start_new_session=True,
                               env=preload_environment(FRAGTRACE_OUTPUT=recording),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        process.stdout.readline()
        time.sleep(2.5)
        collector = collector_of(recording)
        check(collector is not None, "no process has %s open" % recording)
        os.kill(collector, signal.SIGKILL)
        stdout, stderr = process.communicate(timeout=15)
    finally:
        kill_group(process)
    check_equal((process.returncode, stderr), (0, b""), "the program after its collector's death")
    summary = analyze_json("summary", recording)
    check_equal(summary["complete"], False, "complete")
    check(summary["totals"]["allocations"] > 5000, "only %r" % summary["totals"])


def collector_of(recording):
    """The process, not us and not a child of ours, that has the recording open."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/comm" % pid) as file:
                if not file.read().startswith("fragtrace-coll"):
                    continue
            for fd in os.listdir("/proc/%s/fd" % pid):
                if os.readlink("/proc/%s/fd/%s" % (pid, fd)) == recording:
                    return int(pid)
        except OSError:
            continue
    return None


@suite.case("a live recording is read up to a consistent prefix", 40)
def live(scratch):
    recording = os.path.join(scratch, "live.frag")
    process = subprocess.Popen([helper("test-steady"), "20"], cwd=scratch, start_new_session=True,
                               env=preload_environment(FRAGTRACE_OUTPUT=recording),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        process.stdout.readline()
        time.sleep(2.5)
        first = analyze_json("summary", recording, "--no-wait")
        check_equal(first["recording"]["state"], "recording", "state")
        check_equal(first["complete"], False, "complete")
        time.sleep(1.5)
        second = analyze_json("summary", recording, "--no-wait")
        check(second["totals"]["events"] > first["totals"]["events"] > 0, "no progress: %r, %r" % (
            first["totals"], second["totals"]))
    finally:
        kill_group(process)


def refused(path, *words):
    result = run([tool("FRAGANALYZE"), "summary", path])
    check_equal(result.status, 3, "status for %s (%r)" % (path, result.stderr))
    check_equal(result.stdout, b"", "stdout")
    message = result.stderr.decode()
    check(message.count("\n") == 1 and os.path.basename(path) in message, "message: %r" % message)
    for word in words:
        check(word in message, "the message lacks %r: %r" % (word, message))


@suite.case("what is no recording, truncated or newer is refused with status 3", 40)
def refusals(scratch):
    recording = os.path.join(scratch, "good.frag")
    run(launcher(recording, [helper("test-threads64")]), cwd=scratch).check_status(0)
    analyze("summary", recording)

    text = os.path.join(scratch, "text.frag")
    with open(text, "w") as file:
        file.write("no recording at all\n" * 1000)
    refused(text)
    empty = os.path.join(scratch, "empty.frag")
    open(empty, "w").close()
    refused(empty)
    other = os.path.join(scratch, "other.frag")
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE t(x)")
    db.close()
    refused(other)
    refused(scratch)
    for share in (0.1, 0.5, 0.95):
        short = os.path.join(scratch, "short%d.frag" % (share * 100))
        shutil.copy(recording, short)
        os.truncate(short, int(os.path.getsize(recording) * share))
        refused(short)
    newer = os.path.join(scratch, "newer.frag")
    shutil.copy(recording, newer)
    with sqlite3.connect(newer) as db:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        db.execute("PRAGMA user_version = %d" % (version + 1))
    db.close()
    refused(newer, "newer")
    refused(os.path.join(scratch, "absent.frag"))


@suite.case("stacks past the end of their tree are recorded as those within it", 40)
def full_tree(scratch):
    # Two runs' addresses differ, the modules and offsets of their frames do not.
    argv = [need("sqlite3"), ":memory:", "create table t(a); insert into t values(1),(2),(3); select * from t"]
    seen, raw = {}, {}
    for nodes in (None, 500, 2):
        recording = os.path.join(scratch, "%s.frag" % nodes)
        extra = {"FRAGTRACE_MAX_NODES": str(nodes)} if nodes else {}
        run([tool("FRAGTRACE"), "run", "--no-symbols", "--free-stacks", "-o", recording, "--"] + argv,
            cwd=scratch, env=environment(**extra)).check_status(0)
        check_recording(recording, scratch, 100)
        meta = dict(query(recording, "SELECT key, value FROM meta")["rows"])
        check_equal((meta["lost_events"], meta["bad_stacks"], meta["stacks_without_node"]), (0, 0, 0),
                    "what was lost")
        raw[nodes] = int(meta["raw_stack_frames"])
        seen[nodes] = query(recording, """SELECT text, kind, count(*), sum(size) FROM event
            JOIN stack ON stack.id = event.stack GROUP BY text, kind ORDER BY text, kind""")["rows"]
    check(len(seen[None]) > 100, "only %d kinds of events with a stack" % len(seen[None]))
    check_equal(seen[500], seen[None], "events by stack, of a tree of 500 nodes")
    check_equal(seen[2], seen[None], "events by stack, of a tree of 1 node")
    check(raw[None] == 0 < raw[500] < raw[2], "frames past the end of the tree: %r" % raw)


@suite.case("frees after all destructors are seen", 20)
def late_free(scratch):
    recording = os.path.join(scratch, "late.frag")
    run(launcher(recording, [helper("test-late-free")]), cwd=scratch).check_status(0)
    leaks = analyze_json("leaks", recording)
    sizes = [leak["bytes"] for leak in leaks["leaks"]]
    check(12345 not in sizes and 23456 not in sizes, "a freed block is called leaked: %r" % sizes)
    check(analyze_json("summary", recording)["totals"]["bytes_allocated"] >= 12345 + 23456, "blocks not seen")


@suite.case("a C program that loads a C++ plugin with RTLD_LOCAL", 20)
def plugin(scratch):
    argv = [helper("test-plugin-host"), helper("test-plugin.so")]
    untraced = run(argv).check_status(0)
    recording = os.path.join(scratch, "plugin.frag")
    traced = run(launcher(recording, argv), cwd=scratch).check_status(0)
    check_equal(traced.stdout, untraced.stdout, "stdout")
    check_recording(recording, scratch, 500)
    rows = query(recording, "SELECT api, count(*) FROM event WHERE api LIKE 'operator new%' GROUP BY api")
    kinds = {row["api"] if isinstance(row, dict) else row[0] for row in
             (rows["rows"] if isinstance(rows, dict) else rows)}
    check({"operator new", "operator new[]"} <= kinds, "kinds of new: %r" % kinds)


@suite.case("a one-second window of a recording is answered from that window's chunks", 60)
def window(scratch):
    recording = os.path.join(scratch, "window.frag")
    run(launcher(recording, [helper("test-steady"), "6"]), cwd=scratch).check_status(0)
    sql = ("SELECT count(*) AS n, min(time_ns) AS first, max(time_ns) AS last FROM event "
           "WHERE time_ns >= 2000000000 AND time_ns < 3000000000")
    rows = query(recording, sql)
    row = (rows["rows"] if isinstance(rows, dict) else rows)[0]
    n, first, last = (row["n"], row["first"], row["last"]) if isinstance(row, dict) else row
    check(n > 1000 and 2e9 <= first <= last < 3e9, "window holds %r" % (row,))
    everything = analyze_json("summary", recording)["totals"]["events"]
    check(n < everything / 2, "%d of %d events in one of six seconds" % (n, everything))


def extension():
    path = os.environ.get("FT_EXTENSION", "")
    if not os.path.exists(path):
        skip("the loadable extension was not built")
    return path


@suite.case("the sqlite3 shell reads events through the loadable extension", 30)
def shell(scratch):
    recording = os.path.join(scratch, "shell.frag")
    run(launcher(recording, [helper("test-threads64")]), cwd=scratch).check_status(0)
    events = analyze_json("summary", recording)["totals"]["events"]
    result = run([need("sqlite3"), "-readonly", "-bail", recording, ".load " + extension(),
                  "SELECT count(*) FROM event; SELECT count(*) FROM allocation;"]).check_status(0)
    counts = [int(line) for line in result.stdout.split()]
    check_equal(counts[0], events, "rows of event")
    check(counts[1] >= 64 * 4000, "rows of allocation: %d" % counts[1])


suite.run()
