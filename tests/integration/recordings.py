# SPDX-License-Identifier: MIT
"""What has to hold for a recording, whatever program it is of."""

import glob
import json
import os
import sqlite3

from fttest import analyze, analyze_json, check, check_equal, wait_for


def recordings_in(folder):
    """All recordings of a folder, by name."""
    return sorted(p for p in glob.glob(os.path.join(folder, "*.frag*"))
                  if not p.endswith(("-wal", "-shm", "-journal")))


def only_recording(folder):
    """The one recording that a bare run leaves in its folder: its collector makes it a moment later
    than the shortest program ends."""
    wait_for("a recording in " + folder, lambda: recordings_in(folder))
    found = recordings_in(folder)
    check_equal(len(found), 1, "recordings in the folder (%s)" % found)
    return found[0]


def check_ledger(recording):
    """What was written is what is there: every event has a row's worth in a chunk, sequence numbers
    have no gap, and SQLite itself finds nothing wrong with the file."""
    with sqlite3.connect("file:%s?mode=ro" % recording, uri=True) as db:
        check_equal(db.execute("PRAGMA integrity_check").fetchall(), [("ok",)], "integrity_check")
        rows = db.execute("SELECT first_seq, n_events FROM event_chunk ORDER BY first_seq").fetchall()
    expected = 0
    for first_seq, n_events in rows:
        check_equal(first_seq, expected, "first sequence number of a chunk")
        expected += n_events
    return expected


def check_recording(recording, scratch, allocations, complete=True):
    """Analyse a recording with each verb and write its report. Returns the summary."""
    check(os.path.exists(recording), "no recording %s; there are %s" % (
        recording, os.listdir(os.path.dirname(recording))))
    summary = analyze_json("summary", recording)
    totals = summary["totals"]
    if complete:
        check_equal(summary["recording"]["state"], "complete", "state of the recording")
        check_equal(summary["complete"], True, "complete")
    check_equal(totals["lost_events"], 0, "lost events")
    check(totals["allocations"] >= allocations, "only %d allocations, expected at least %d" % (
        totals["allocations"], allocations))
    # A forked child frees blocks that its parent allocated.
    inherited = analyze_json("report", recording)["quality"]["inherited_blocks"] or 0
    check(inherited + totals["allocations"] >= totals["frees"] >= 0,
          "more frees than blocks: %r and %d inherited" % (totals, inherited))
    check(totals["peak_bytes"] >= totals["live_bytes"] >= 0, "peak below live: %r" % totals)
    check_equal(inherited + totals["allocations"] - totals["frees"], totals["live_blocks"],
                "live blocks")
    check_equal(check_ledger(recording), totals["events"], "events in the chunks and events read")
    check(not os.path.exists(recording + "-wal"), "a WAL was left beside the finished recording")

    leaks = analyze_json("leaks", recording)
    listed = sum(l["bytes"] for l in leaks["leaks"]) + leaks["other"]["bytes"]
    check(listed <= totals["live_bytes"], "leaks lists %d bytes of %d live" % (listed, totals["live_bytes"]))
    threads = analyze_json("threads", recording)
    check_equal(sum(t["allocated_bytes"] for t in threads["threads"]), totals["bytes_allocated"],
                "bytes allocated by all threads")
    check_equal(sum(t["live_bytes"] for t in threads["threads"]), totals["live_bytes"],
                "live bytes of all threads")
    frag = analyze_json("frag", recording)
    check(frag["metrics"]["live_bytes"] <= totals["peak_bytes"], "frag: more live bytes than the peak")
    for verb in ("summary", "leaks", "threads", "frag"):
        check(len(analyze(verb, recording).stdout) > 20, "%s printed no text" % verb)

    report = os.path.join(scratch, "report.html")
    analyze("report", recording, "-o", report)
    with open(report, "rb") as file:
        html = file.read()
    check(html.rstrip().endswith(b"</html>"), "the report has no end")
    check(len(html) > 20000, "the report has only %d bytes" % len(html))
    os.unlink(report)
    return summary


def stack_functions(entry):
    return [frame["function"] or "" for frame in entry["stack"]]


def dump(document):
    return json.dumps(document, indent=1)[:2000]
