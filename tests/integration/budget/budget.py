# SPDX-License-Identifier: MIT
"""Keyframes and budgets against the whole recording.

The oracle is the recording that kept everything: the same generator with the same seed, once with
a budget and once without. Scenarios play days on a virtual clock.
"""

import contextlib
import json
import os
import random
import re
import sqlite3
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from fttest import Suite, analyze, analyze_json, check, check_equal, kill_group, run, tool, wait_for  # noqa: E402

suite = Suite()

# What a verdict is about. Innocents of one kind are told apart by the shape of their curve, which
# a roll-up has by interval: only between these may a site change.
INNOCENT = {"plateau", "sawtooth", "churn", "freed"}


# scripts/prove drives further, and with larger budgets.
DRIVE_MIB = [int(mib) for mib in os.environ.get("BUDGET_MIB", "1").split(",")]
DRIVE_TIMES = int(os.environ.get("BUDGET_TIMES", "6"))


def value(path, sql):
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchone()[0]


def soak(path, scenario, *options):
    run([os.environ["FT_SOAK"], *options, scenario, path], timeout=3000).check_status(0)
    return path


def make_recording(path, *options):
    run([os.environ["FT_MAKE_RECORDING"], *options, path], timeout=60).check_status(0)
    return path


@suite.case("a window that begins at a keyframe is as if all before had been replayed", 120)
def _(scratch):
    path = make_recording(scratch + "/k.frag", "-n", "300000", "-l", "5000", "-t", "4", "-L", "50",
                          "-K", "20000")
    check(value(path, "SELECT count(DISTINCT seq) FROM keyframe") > 2, "there are keyframes")
    end = analyze_json("summary", path)["to_ns"]
    rng = random.Random(5)
    for _ in range(2):
        window = sorted(rng.sample(range(end), 2))
        options = []
        for name, at in zip(("--from", "--to"), window):
            options += [name, "%d.%09ds" % divmod(at, 10 ** 9)]
        for verb in "leaks", "sites", "threads", "frag":
            fast = analyze(verb, path, "--json", *options).stdout
            check_equal(fast, analyze(verb, path, "--json", "--no-keyframes", *options).stdout,
                        "%s in %s" % (verb, window))


@suite.case("a damaged keyframe costs time and not the answer", 60)
def _(scratch):
    path = make_recording(scratch + "/k.frag", "-n", "200000", "-l", "2000", "-K", "20000")
    window = ["--from", "%dns" % (analyze_json("summary", path)["to_ns"] // 2)]
    good = analyze("leaks", path, "--json", *window)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE keyframe SET data = zeroblob(length(data))")
        db.commit()
    found = analyze("leaks", path, "--json", *window)
    check_equal(found.stdout, good.stdout, "the answer")
    check(re.search(rb"damaged: keyframe.*trying without keyframes", found.stderr), found.stderr)
    # Damage of the events themselves is said as before.
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE event_chunk SET data = zeroblob(length(data)) WHERE id = (SELECT max(id) - 1 FROM event_chunk)")
        db.commit()
    lost = run([tool("FRAGANALYZE"), "leaks", path, *window]).check_status(3)
    check(b"damaged" in lost.stderr.splitlines()[-1] and b"keyframe" not in lost.stderr.splitlines()[-1], lost.stderr)


@suite.case("a long recording is judged by its roll-ups as by each event", 240)
def _(scratch):
    options = ["-x", "3", "-y", "3000000"]
    full = soak(scratch + "/full.frag", "plain", *options)
    path = soak(scratch + "/index.frag", "plain", *options, "-I", "1000000")
    check(value(path, "SELECT count(DISTINCT seq) FROM keyframe") >= 1, "it has a keyframe")
    check(value(path, "SELECT min(first_seq) FROM event_chunk") == 0, "and all events")
    fast, exact = analyze_json("summary", path, "--fast"), analyze_json("summary", full)
    check_equal(fast["totals"], exact["totals"], "totals")
    check(not fast["rolled_up"] and fast["replayed_ns"] > fast["from_ns"] and fast["rollups"] > 10, fast["rollups"])
    check(any(finding["code"] == "from_rollups" for finding in fast["findings"]), "it says so")
    compare_leaks(analyze_json("leaks", full), analyze_json("leaks", path, "--fast"), "plain")
    compare_threads(analyze_json("threads", full), analyze_json("threads", path, "--fast"), "plain")
    compare_ends(analyze_json("frag", full)["metrics"], analyze_json("report", path, "--fast")["frag"]["metrics"], "plain")
    # Without it every event is replayed, and where there is no index, with it, too.
    for what in [path], [full, "--fast"]:
        same = analyze_json("leaks", *what)
        check_equal(same["leaks"], analyze_json("leaks", full)["leaks"], "leaks")


@suite.case("how many threads replay makes no difference", 240)
def _(scratch):
    path = make_recording(scratch + "/j.frag", "-n", "700000", "-l", "20000", "-t", "4", "-L", "50",
                          "-K", "100000")
    end = analyze_json("summary", path)["to_ns"]
    middle = ["--from", "%d.%09ds" % divmod(end // 3, 10 ** 9)]
    for verb, window in (("report", []), ("leaks", middle), ("frag", middle + ["--no-keyframes"])):
        alone = analyze(verb, path, "--json", "--jobs", "1", *window).stdout
        for jobs in "2", "4":
            check_equal(analyze(verb, path, "--json", "--jobs", jobs, *window).stdout, alone,
                        "%s %s of %s threads" % (verb, " ".join(window), jobs))


def compare_leaks(full, rolled, what, innocent=INNOCENT):
    a, b = ({row["site"]: row for row in document["leaks"]} for document in (full, rolled))
    check_equal(sorted(b), sorted(a), "%s: sites" % what)
    for site, row in a.items():
        other = b[site]
        for key in "class", "bytes", "blocks", "first_ns", "last_ns", "threads", "stack":
            check_equal(other[key], row[key], "%s: %s of site %d" % (what, key, site))
        verdicts = {row["verdict"], other["verdict"]}
        check(len(verdicts) == 1 or verdicts <= innocent,
              "%s: site %d is %s" % (what, site, verdicts))
        if row["bytes_per_operation"]:
            check(abs(other["bytes_per_operation"] / row["bytes_per_operation"] - 1) < 0.01,
                  "%s: site %d: %s per operation, not %s" % (
                      what, site, other["bytes_per_operation"], row["bytes_per_operation"]))
        if row["verdict"] == "growing":
            check(row["rate_low"] <= other["rate_bytes_per_s"] <= row["rate_high"],
                  "%s: rate of site %d: %s, not within %s to %s" % (
                      what, site, other["rate_bytes_per_s"], row["rate_low"], row["rate_high"]))
    check_equal(rolled["process"]["verdict"], full["process"]["verdict"], what)


def compare_threads(full, rolled, what):
    exact = ("tid", "allocated_bytes", "live_bytes", "freed_by_others_bytes")
    for a, b in zip(full["threads"], rolled["threads"]):
        for key in exact:
            check_equal(b[key], a[key], "%s: %s of a thread" % (what, key))
        check((a["verdict"] == "growing") == (b["verdict"] == "growing") or
              {a["verdict"], b["verdict"]} == {"growing", "suspect"},
              "%s: a thread is %s and %s" % (what, a["verdict"], b["verdict"]))
    check_equal(len(rolled["threads"]), len(full["threads"]), what)
    check_equal(rolled["free_matrix"], full["free_matrix"], "%s: matrix" % what)


def compare_ends(full, rolled, what):
    """The layout at the end: blocks and the pages that they are on. Where the heap ever was is known from the detailed stretch on,
    so that there may be less between them."""
    for key in "live_bytes", "pinned_free_bytes":
        check_equal(rolled[key], full[key], "%s: %s at the end" % (what, key))
    check_equal(rolled["page_occupancy_hist"][1:], full["page_occupancy_hist"][1:], "%s: pages at the end" % what)
    for key in "holes", "hole_bytes", "largest_hole":
        check(rolled[key] <= full[key], "%s: %s at the end: %d of %d" % (what, key, rolled[key], full[key]))


def whole_of(path, scenario, factor, times):
    """The scenario without a budget, and so much that lives shortly beside it that it is as long as is asked for."""
    traffic = TRAFFIC
    while True:
        options = ["-x", "%g" % factor] + (["-y", "%d" % traffic] if traffic else [])
        if os.path.exists(path):
            os.unlink(path)
        summary = analyze_json("summary", soak(path, scenario, *options))
        # Its keyframes are small: half of what the manual asks for is enough.
        budget = max(1 << 20, 50 * summary["totals"]["live_blocks"])
        if not traffic:
            return summary, max(budget, int(os.path.getsize(path) / times)), options
        if os.path.getsize(path) >= times * budget:
            print("# %s: %.1f M events, %.1f MiB, budget %.1f MiB" % (
                scenario, summary["totals"]["events"] / 1e6, os.path.getsize(path) / 2 ** 20, budget / 2 ** 20), flush=True)
            return summary, budget, options
        traffic = int(traffic * 1.05 * times * budget / os.path.getsize(path))


def compare(scratch, scenario, factor, times):
    full = scratch + "/full.frag"
    a, budget, options = whole_of(full, scenario, factor, times)
    rolled = soak(scratch + "/rolled.frag", scenario, *options, "-B", str(budget))
    check(os.path.getsize(rolled) <= budget + budget // 32, "it is within its budget")
    b = analyze_json("summary", rolled)
    check(b["rolled_up"] and not a["rolled_up"], "one of them is rolled up")
    check(b["detail_ns"] > 0, "the detailed stretch begins later")
    for key in a["totals"]:
        check_equal(b["totals"][key], a["totals"][key], "%s: %s" % (scenario, key))
    x, y = analyze_json("sites", full), analyze_json("sites", rolled)
    check_equal(y["sites"], x["sites"], "%s: sites" % scenario)
    check_equal(y["largest"], x["largest"], "%s: the largest allocations" % scenario)
    check(y["largest"]["allocations"][0]["time_ns"] < b["detail_ns"], "some of them are rolled up")
    compare_leaks(analyze_json("leaks", full), analyze_json("leaks", rolled), scenario)
    compare_threads(analyze_json("threads", full), analyze_json("threads", rolled), scenario)
    # Layout: as it is at the end, and all of it from the detailed stretch on.
    compare_ends(analyze_json("frag", full)["metrics"], analyze_json("frag", rolled)["metrics"], scenario)
    begin = "%d.%09ds" % divmod(b["detail_ns"], 10 ** 9)
    x, y = (analyze_json("frag", path, "--from", begin) for path in (full, rolled))
    check_equal(y["metrics"], x["metrics"], "%s: layout" % scenario)
    check_equal(y["sites"], x["sites"], "%s: who pins" % scenario)


# Lengths of the scenarios; scripts/prove adds blocks, so that the recordings are 100 times the budget.
FACTORS = {"plain": 4, "bursty": 2, "threads": 6, "guilty-caller": 4, "operations": 2}
SCENARIOS = os.environ.get("BUDGET_SCENARIOS", " ".join(FACTORS)).split()
TRAFFIC = int(os.environ.get("BUDGET_TRAFFIC", "0"))
for name in SCENARIOS:
    suite.add("%s is judged within a budget as without one" % name, 3000,
              lambda scratch, name=name: compare(scratch, name, FACTORS.get(name, 1), DRIVE_TIMES if TRAFFIC else 4))


# Live blocks, stacks, threads, ns between events. A keyframe takes about 8 bytes a block.
DRIVES = {
    "usual traffic": ("5000", "200", "4", "20000"),
    "many stacks": ("5000", "1500", "16", "20000"),
    "events that are far apart": ("1000", "100", "1", "100000"),
    "a busy program": ("5000", "200", "4", "400"),
}


def drive(scratch, what, mib):
    live, sites, threads, gap = DRIVES[what]
    path = scratch + "/d.frag"
    budget = mib << 20
    out = run([os.environ["FT_MAKE_RECORDING"], "-B", str(budget), "-X", str(DRIVE_TIMES), "-l", live, "-s", sites, "-t", threads,
               "-g", gap, "-L", "50", path], timeout=7200)
    out.check_status(0)
    told = json.loads(out.stdout)
    if DRIVE_TIMES > 10:
        print("# %s: %d MiB, %d times: %.1f M events, at most %+.1f %% of the budget" % (
            what, mib, DRIVE_TIMES, told["events"] / 1e6, 100 * (told["most_bytes"] / budget - 1)), flush=True)
    check(told["most_bytes"] <= budget + budget // 32, "the file and its log take %d" % told["most_bytes"])
    check(os.path.getsize(path) >= budget // 2, "it uses its budget: %d" % os.path.getsize(path))
    summary = analyze_json("summary", path)
    check(summary["rolled_up"], "its beginning is rolled up")
    check_equal(summary["totals"]["events"], told["events"], "events")


for mib in DRIVE_MIB:
    for what in DRIVES:
        suite.add("%s for %d times its budget of %d MiB: never over it by more than a group" % (what, DRIVE_TIMES, mib), 7200,
                  lambda scratch, what=what, mib=mib: drive(scratch, what, mib))


def page_rollups(path):
    names = "time_ns, seq, n_blocks, live_bytes, usable_bytes, n_pages, n_free_pages, pinned_bytes, n_holes, hole_bytes, largest_hole"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute("SELECT %s FROM page_rollup ORDER BY id" % names)]


@suite.case("pages of what is rolled up are those of the whole recording at that moment", 100)
def _(scratch):
    options = ("-n", "1500000", "-l", "3000", "-t", "4", "-L", "50", "-g", "20000")
    full = make_recording(scratch + "/full.frag", *options)
    rolled = make_recording(scratch + "/rolled.frag", *options, "-B", str(1 << 20))
    rows = page_rollups(rolled)
    check(len(rows) > 10, "there are some: %d" % len(rows))
    detail_ns = analyze_json("summary", rolled)["detail_ns"]
    old = [row for row in rows if row["time_ns"] < detail_ns]
    check(old, "of what is rolled up, too")
    for row in old[::max(1, len(old) // 3)] + rows[-1:]:
        # An event later is 20 us later: one tick of a chunk's clock is enough.
        at = "%d.%09ds" % divmod(row["time_ns"], 10 ** 9)
        document = analyze_json("frag", full, "--to", at)
        metrics = document["metrics"]
        for key, mine in (("live_bytes", row["live_bytes"]), ("pages", row["n_pages"] + row["n_free_pages"]),
                          ("pinned_free_bytes", row["pinned_bytes"]), ("holes", row["n_holes"]), ("hole_bytes", row["hole_bytes"]),
                          ("largest_hole", row["largest_hole"])):
            check_equal(mine, metrics[key], "%s at %s" % (key, at))
    # The series of `frag` begins with them.
    document = analyze_json("frag", rolled, "--series")
    columns, n = document["columns"], document["rolled_moments"]
    by_time = {row["time_ns"]: row for row in rows}
    check(n > 5 and n < len(columns["frag.time_ns"]), "moments of what is rolled up, and others: %d" % n)
    check_equal(columns["frag.time_ns"], sorted(columns["frag.time_ns"]), "moments")
    for k in range(n):
        row = by_time[columns["frag.time_ns"][k]]
        check_equal((columns["frag.pinned_free_bytes"][k], columns["frag.pages"][k], columns["frag.largest_hole"][k]),
                    (row["pinned_bytes"], row["n_pages"] + row["n_free_pages"], row["largest_hole"]), "moment %d" % k)
    check(columns["frag.pin_time_ns"][0] < detail_ns, "who pins is known of then, too")


def part_names(path, n):
    return [path] + ["%s.%d" % (path, number) for number in range(2, n + 1)]


# The files differ, the last sample of a part is its own, and a part does not know how the program ended.
SAMPLED = {"recording", "rss", "program"}


def same(a, b, what, leave_out=frozenset()):
    for key in a:
        if key not in leave_out:
            check_equal(b[key], a[key], "%s: %s" % (what, key))


@suite.case("a recording that goes on from another is judged as that stretch of the whole", 120)
def _(scratch):
    options = ("-n", "300000", "-l", "5000", "-t", "4", "-L", "50", "-g", "20000")
    whole = make_recording(scratch + "/whole.frag", *options)
    for kind in (), ("-B", str(1 << 30)):
        path = make_recording(scratch + "/part%d.frag" % len(kind), *options, *kind, "-R", "80000")
        for part in part_names(path, 4):
            summary = analyze_json("summary", part)
            window = []
            for name, key in ("--from", "from_ns"), ("--to", "to_ns"):
                window += [name, "%d.%09ds" % divmod(summary[key], 10 ** 9)]
            same(analyze_json("summary", whole, *window), summary, "summary of " + part, SAMPLED)
            for verb in "leaks", "sites", "threads", "frag":
                a, b = analyze_json(verb, whole, *window), analyze_json(verb, part)
                for thread in (a.get("threads", []) if verb == "threads" else []) + b.get("threads", []):
                    thread.pop("end_ns", None)  # in a part they live on
                same(a, b, "%s of %s" % (verb, part))


@suite.case("one that goes on from another and is rolled up knows what was carried into it", 120)
def _(scratch):
    options = ("-n", "2000000", "-l", "5000", "-t", "4", "-L", "50", "-g", "20000", "-R", "1000000")
    full = make_recording(scratch + "/full.frag", *options)
    rolled = make_recording(scratch + "/rolled.frag", *options, "-B", str(1 << 20))
    for a, b in list(zip(part_names(full, 2), part_names(rolled, 2)))[1:]:
        check(os.path.getsize(b) <= (1 << 20) + (1 << 15), "it is within its budget: %d" % os.path.getsize(b))
        x, y = analyze_json("summary", a), analyze_json("summary", b)
        check(y["rolled_up"] and not x["rolled_up"], "one of them is rolled up")
        same(x["totals"], y["totals"], b)
        check_equal((y["from_ns"], y["to_ns"]), (x["from_ns"], x["to_ns"]), b)
        for section in "sites", "largest":
            check_equal(analyze_json("sites", b)[section], analyze_json("sites", a)[section], section + " of " + b)
        # Its sites walk at random: some are at the edge of one of the tests of growth.
        compare_leaks(analyze_json("leaks", a), analyze_json("leaks", b), b, INNOCENT | {"suspect", "unsure"})
        compare_threads(analyze_json("threads", a), analyze_json("threads", b), b)


@suite.case("of what an earlier writer rolled up the largest allocations are not known, and that is said", 60)
def _(scratch):
    path = soak(scratch + "/r.frag", "plain", "-x", "4", "-B", str(1 << 20))
    before = analyze_json("sites", path)
    check_equal(before["largest"]["since_ns"], None, "since")
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("ALTER TABLE site_rollup DROP COLUMN largest")
        db.execute("ALTER TABLE site_rollup DROP COLUMN n_largest")
    after, detail_ns = analyze_json("sites", path), analyze_json("summary", path)["detail_ns"]
    check_equal(after["sites"], before["sites"], "sites")
    check_equal(after["largest"]["since_ns"], detail_ns, "since")
    check(all(row["time_ns"] >= detail_ns for row in after["largest"]["allocations"]), "one is older")
    check(b"are not in the recording" in analyze("sites", path, "--sort=largest").stdout, "words")


@suite.case("a window without its events is refused, with words", 60)
def _(scratch):
    path = soak(scratch + "/r.frag", "plain", "-x", "4", "-B", str(1 << 20))
    result = analyze("leaks", path, "--to", "10s", status=2)
    check(b"--to must be later" in result.stderr, result.stderr)
    path = make_recording(scratch + "/p.frag", "-n", "20000", "-g", "20000", "-R", "15000")
    result = analyze("leaks", path + ".2", "--to", "0.1s", status=2)
    check(b"it goes on from another one" in result.stderr, result.stderr)


@suite.case("a program is recorded within a budget", 100)
def _(scratch):
    path = scratch + "/p.frag"
    program = ("kept = []\n"
               "for i in range(60):\n"
               "    words = {str(j) * 9: [j] * 70 for j in range(i, i + 4000)}\n"
               "    kept.append(bytearray(5000))\n")
    run([tool("FRAGTRACE"), "run", "--max-size=1M", "--no-symbols", "-o", path, "--", sys.executable, "-c", program],
        timeout=90, env=dict(os.environ, PYTHONMALLOC="malloc")).check_status(0)
    check(os.path.getsize(path) <= (1 << 20) + (1 << 15), os.path.getsize(path))
    summary = analyze_json("summary", path)
    check(summary["rolled_up"], "its beginning is rolled up")
    written = int(value(path, "SELECT value FROM meta WHERE key = 'events_written'"))
    check_equal(summary["totals"]["events"], written, "events")
    text = analyze("summary", path).stdout
    check(b"Full detail begins" in text, text)


@suite.case("a program that runs long is recorded with an index", 200)
def _(scratch):
    path = scratch + "/p.frag"
    program = ("import json, time\n"
               "kept = []\n"
               "for i in range(180):\n"
               "    json.loads(json.dumps({str(j): [j, str(j * 7)] for j in range(1500)}))\n"
               "    kept.append(str(i) * 50)\n"
               # The index falls behind where the collector is busy.
               "time.sleep(5)\n")
    run([tool("FRAGTRACE"), "run", "--no-symbols", "-o", path, "--", sys.executable, "-c", program],
        timeout=180, env=dict(os.environ, PYTHONMALLOC="malloc")).check_status(0)
    check(value(path, "SELECT count(DISTINCT seq) FROM keyframe") >= 1, "it has a keyframe")
    check_equal(value(path, "SELECT min(first_seq) FROM event_chunk"), 0, "all events are there")
    fast, exact = (analyze_json("summary", path, option) for option in ("--fast", "--no-keyframes"))
    check(fast["rollups"] > 0 and exact["rollups"] == 0, "one of them took roll-ups")
    check_equal(fast["totals"], exact["totals"], "totals")
    check_equal(fast["verdict"]["code"], exact["verdict"]["code"], "verdict")


@suite.case("a recording that is being folded can be read, again and again", 200)
def _(scratch):
    path = scratch + "/p.frag"
    # Each turn makes some thousand events and some KiB of the file: groups go many times a second.
    program = ("import os, sys\n"
               "n = 0\n"
               "while not os.path.exists(sys.argv[1]):\n"
               "    n += 1\n"
               "    words = {str(j) * (j % 50): [j] * (n * j % 70) for j in range(3000)}\n")
    process = subprocess.Popen([tool("FRAGTRACE"), "run", "--max-size=1M", "--no-symbols", "-o", path, "--", sys.executable, "-c",
                                program, scratch + "/stop"], env=dict(os.environ, PYTHONMALLOC="malloc"),
                               stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_for("the first folding", lambda: os.path.exists(path) and analyze_json("summary", path)["rolled_up"])
        begins = set()
        for _ in range(2):
            summary = analyze_json("summary", path)
            begins.add(summary["detail_ns"])
            check(summary["totals"]["events"] > 0 and not summary["complete"], summary["totals"])
            for verb in "leaks", "frag":
                analyze_json(verb, path)
            analyze("report", path, "--force", "-o", scratch + "/report.html")
            run([tool("FRAGANALYZE"), "query", path, "SELECT count(*), sum(died_seq) FROM allocation"]).check_status(0)
        check(len(begins) > 1, "nothing was folded meanwhile")
        open(scratch + "/stop", "w").close()
        check_equal(process.wait(), 0, "status of the program")
    finally:
        kill_group(process)


@suite.case("budgets that are none are refused", 30)
def _(scratch):
    for option in "--max-size=10", "--max-size=2X", "--max-age=yesterday", "--max-age=0":
        result = run([tool("FRAGTRACE"), "run", option, "--", "true"])
        result.check_status(125)
        check(b"such as" in result.stderr, result.stderr)


suite.run()
