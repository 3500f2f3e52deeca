#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`fragtrace node` and `fraganalyze node` on this machine, and the models against its kernel.

Usage: node.py FRAGMENT (TAP on stdout). What the kernel does not show, or not to us, is skipped with
a word. With NODE_FULL=1 (`scripts/prove kernel`) memory is fragmented, compacted and replayed at the
size that docs/MODELS.md states; without it nothing of the machine is changed.
"""

import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from fttest import (Suite, analyze, analyze_json, check, check_equal, query, run, skip,
                    tool)  # noqa: E402

FULL = os.environ.get("NODE_FULL") == "1"
ROOT = os.geteuid() == 0
suite = Suite()
fragment = os.path.abspath(sys.argv[1])
del sys.argv[1]


def node(scratch, *options, name="node.frag", status=0):
    path = os.path.join(scratch, name)
    return path, run([tool("FRAGTRACE"), "node", "-o", path, *options]).check_status(status)


def need_root():
    if not ROOT:
        skip("needs root")


def source(document, name):
    return next(s["status"] for s in document["sources"] if s["name"] == name)


def need_source(document, name):
    if source(document, name) != "read":
        skip("%s: %s" % (name, source(document, name)))


@suite.case("samples, text and JSON", 60)
def samples(scratch):
    path, result = node(scratch, "--interval", "50ms", "--duration", "300ms")
    check(b"samples" in result.stdout, "says what was recorded: %r" % result.stdout)
    document = analyze_json("node", path)
    check(document["moments"] >= 2, "at least the first and the last sample")
    zones = [z for z in document["zones"] if z["managed_pages"]]
    check(zones, "a machine has zones")
    for zone in zones:
        check_equal(sum(n << o for o, n in enumerate(zone["last"]["free_blocks"])),
                    zone["last"]["free_pages"], "free pages of " + zone["name"])
    text = analyze("node", path).stdout.decode()
    for word in ("ZONE", "WHAT CAN BE DONE", "proactive"):
        check(word in text, "%r in the text" % word)
    series = json.loads(run([tool("FRAGANALYZE"), "node", "--json", "--series", path])
                        .check_status(0).stdout)["columns"]
    check_equal(len(series["node.free_blocks"]),
                len(series["node.time_ns"]) * len(document["zones"]) * 11, "free blocks")


@suite.case("the report of a machine's recording is a page about the machine", 60)
def report(scratch):
    path, _ = node(scratch, "--interval", "50ms", "--duration", "150ms")
    page = os.path.join(scratch, "node.html")
    run([tool("FRAGANALYZE"), "report", path]).check_status(0)
    with open(page, encoding="utf-8") as f:
        html = re.sub(r"<script.*?</script>", "", f.read(), flags=re.S)
    # What reads without JavaScript.
    for words in ("Memory of a machine", "Normal", "vm.min_free_kbytes"):
        check(words in html, "%r on the page" % words)
    check("Every block was freed" not in html, "the page speaks of blocks")
    document = json.loads(run([tool("FRAGANALYZE"), "report", "--json", path]).check_status(0).stdout)
    check_equal(sorted(document), ["node", "schema"], "sections")
    check_equal(document["node"], {k: v for k, v in analyze_json("node", path).items() if k != "schema"}, "the section")
    # An option that is about programs is refused, and nothing is overwritten.
    result = run([tool("FRAGANALYZE"), "report", "--from", "1s", "--force", path]).check_status(2)
    check(b"machine" in result.stderr, "says %r" % result.stderr)
    run([tool("FRAGANALYZE"), "report", path]).check_status(2)


@suite.case("what is missing is said", 60)
def missing(scratch):
    path = os.path.join(scratch, "node.frag")
    argv = [tool("FRAGTRACE"), "node", "-o", path, "--interval", "50ms", "--duration", "60ms",
            "--trace", "--kpageflags"]
    if ROOT:
        # Any user who may read the tools' folder and write to the scratch folder.
        os.chmod(scratch, 0o777)
        argv = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"] + argv
        probe = run(argv[:5] + ["/bin/sh", "-c", "test -x %s" % tool("FRAGTRACE")])
        if probe.status:
            skip("another user can't run the tools here")
    result = run(argv).check_status(0)
    document = analyze_json("node", path)
    check_equal(source(document, "buddyinfo"), "read", "buddyinfo")
    for name in ("kpageflags", "trace", "slabinfo"):
        if source(document, name) != "read":
            check(b"without " + name.encode() in result.stderr, "stderr names %s" % name)
    check(document["slabs"] is None or source(document, "slabinfo") == "read", "no slabs invented")


@suite.case("other verbs refuse, and the name of a file is never taken twice", 60)
def refusals(scratch):
    path, _ = node(scratch, "--duration", "20ms", "--interval", "10ms")
    for verb in ("summary", "leaks", "frag", "buddy"):
        result = run([tool("FRAGANALYZE"), verb, path]).check_status(3)
        check(b"fraganalyze node" in result.stderr, "%s: %r" % (verb, result.stderr))
    # Nor can a machine be compared with itself.
    run([tool("FRAGANALYZE"), "report", path, path]).check_status(3)
    _, result = node(scratch, "--duration", "20ms", "--interval", "10ms")
    check(os.path.exists(os.path.join(scratch, "node.2.frag")), "%r" % result.stdout)
    check(query(path, "SELECT count(*) FROM node_free")["rows"][0][0] > 0, "SQL reads it")
    for options in (["--interval", "x"], ["--duration", "-1"], ["--buffer", "1"], ["more"]):
        node(scratch, *options, name="none.frag", status=125)
        check(not os.path.exists(os.path.join(scratch, "none.frag")), "nothing was written")


@suite.case("indices are those that debugfs prints", 60)
def indices(scratch):
    path, _ = node(scratch, "--interval", "20ms", "--duration", "400ms")
    document = analyze_json("node", path)
    need_source(document, "unusable_index")
    held = document["held"]
    if not held["index_lines"]:
        skip("no zone stood still between two readings")
    check_equal(held["index_lines_equal"], held["index_lines"], "lines as the kernel has them")


@suite.case("free page frames cut into blocks are buddyinfo", 2400 if FULL else 120)
def cut(scratch):
    need_root()
    zones = None
    for attempt in range(50 if FULL else 3):
        path, _ = node(scratch, "--interval", "1s", "--duration", "1ms", "--kpageflags")
        document = analyze_json("node", path)
        need_source(document, "kpageflags")
        os.unlink(path)
        zones = zones or {z["name"] for z in document["zones"] if z["managed_pages"]}
        for row in document["held"]["cuts"]:
            check(row["equals_buddyinfo"] is not False,
                  "zone %s differs from buddyinfo" % row["zone"])
            if row["equals_buddyinfo"]:
                zones.discard(row["zone"])
        if not zones:
            print("# all zones equal after %d tries" % (attempt + 1))
            return
    skip("these zones never stood still: %s" % ", ".join(sorted(zones)))


def load(seconds, mib, rounds):
    return subprocess.Popen([fragment, str(mib), str(rounds), str(seconds)], stdout=subprocess.PIPE)


@suite.case("state and policy replayed from tracepoints", 600 if FULL else 120)
def replay(scratch):
    need_root()
    mib, rounds = (int(os.environ.get("FRAGMENT_MIB", "512")), 6) if FULL else (24, 2)
    path = os.path.join(scratch, "trace.frag")
    recorder = subprocess.Popen([tool("FRAGTRACE"), "node", "-o", path, "--interval", "200ms",
                                 "--kpageflags", "--trace", "--buffer",
                                 "131072" if FULL else "32768", "-q"],
                                stderr=subprocess.PIPE)
    program = load(0, mib, rounds)
    try:
        program.wait(timeout=500 if FULL else 60)
    finally:
        program.kill()
        recorder.terminate()
        recorder.communicate()
    check_equal(recorder.returncode, 0, "status of the recorder")
    document = analyze_json("node", path)
    need_source(document, "trace")
    need_source(document, "kpageflags")
    if document["held"]["replay"] is None or document["events"]["lost"]:
        skip("no replay: %s" % document["held"]["replay_note"])
    print("# %d events, %d allocations, %d fallbacks" % tuple(
        document["events"][k] for k in ("events", "allocations", "fallbacks")))
    judged = impossible = 0
    for zone in document["held"]["replay"]["zones"]:
        if not zone["events"]:
            continue
        judged += zone["events"]
        impossible += zone["impossible_allocations"] + zone["impossible_frees"]
        policy = zone["policy"]
        print("# %s: %d judged, %d impossible, %d bypassed, different %s of managed, unusable by %s; "
              "policy: W1 %.4f, unusable(9) by %.4f, fallbacks %d, the kernel's %d" % (
                  zone["zone"], zone["events"], zone["impossible_allocations"] +
                  zone["impossible_frees"], zone["bypassed"], zone["different_share"],
                  zone["worst_unusable_difference"], policy["worst_w1"],
                  policy["worst_unusable9_difference"], policy["fallbacks"],
                  policy["fallbacks_kernel"]))
        if zone["compared_pages"]:
            check(zone["different_share"] <= 0.001, "pages that differ: %s" % zone)
            check(zone["worst_unusable_difference"] <= 0.005, "unusable differs: %s" % zone)
    # How many come after the free lists are known depends on what else the machine does.
    check(judged > (1000 if FULL else 0), "events that were judged: %d" % judged)
    # Measured: 0 to 165 a million (docs/MODELS.md). A replay that goes wrong has thousands.
    check(impossible <= max(500 * judged / 1e6, 50), "%d of %d impossible" % (impossible, judged))
    if FULL:
        check(document["events"]["events"] >= 1000000, "a million events")


@suite.case("compaction won, and by the model", 900)
def compaction(scratch):
    need_root()
    if not FULL:
        skip("changes the machine: scripts/prove kernel")
    program = load(600, int(os.environ.get("FRAGMENT_MIB", "512")), 2)
    try:
        check(program.stdout.readline() == b"ready\n", "memory is fragmented")
        for attempt in range(5):
            # Large folios that can't be split (dirty ones of files) make the kernel give up.
            run(["/bin/sync"])
            with open("/proc/sys/vm/drop_caches", "w") as file:
                file.write("1")
            path, _ = node(scratch, "--duration", "100ms", "--interval", "50ms", "--kpageflags",
                           "--trace", "--try-compact", name="compact%d.frag" % attempt)
            document = analyze_json("node", path)
            need_source(document, "compact_memory")
            rows = document["held"]["compaction"]
            ends = document["events"]["compaction_ends"]
            won, model = sum(r["won"] for r in rows), sum(r["model_won"] or 0 for r in rows)
            print("# won %d blocks of order 9, by the model %d (%+.1f %%); the kernel's end: %s" % (
                won, model, 100.0 * (model - won) / max(won, 1), ends))
            if set(ends) == {"complete"} and won >= 20:
                check(abs(model - won) <= 0.5 * won, "the model is far off: %s" % rows)
                return
    finally:
        program.kill()
    skip("the kernel gave up, or there was nothing to win, each time")


suite.run()
