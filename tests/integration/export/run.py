#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What leaves fraganalyze as a file: reports of two recordings, exports and who reads them.

Usage: run.py MAKE_RECORDING WORK (TAP on stdout). The recordings are synthetic, with names put in. WORK
is where npm packages go. Each format is read by a program it is meant for, and has the totals of --json.
"""

import gzip
import json
import os
import re
import shutil
import sqlite3
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from fttest import Suite, analyze_json, check, check_equal, environment, need, run, tool  # noqa: E402
from reports import BLOCK, read_report  # noqa: E402
from readers import one, pprof_format, protoc, speedscope  # noqa: E402

suite = Suite()
make_recording, work = map(os.path.abspath, sys.argv[1:3])
del sys.argv[1:3]  # what is left chooses cases

METRICS = ("leaked", "peak", "allocated", "count", "temporary")


def record(scratch, *arguments, name="a.frag"):
    path = os.path.join(scratch, name)
    run([make_recording, "-n", "60000", "-L", "50", "-g", "100000", *arguments, path]).check_status(0)
    return path


def fraganalyze(*arguments, **keywords):
    return run([tool("FRAGANALYZE"), *arguments], **keywords)


def name_frames(path, functions=None):
    """Give every second frame of a recording a function, a file and a line, as if it had debug information,
    and a tenth an inlined function besides."""
    functions = functions or ["work_%d" % i for i in range(40)] + ["void operator<<(\"a; b\", T&) [with #1]"]
    frames = json.loads(fraganalyze("query", "--json", path,
                                    "SELECT DISTINCT offset FROM frame ORDER BY offset").stdout)["rows"]
    with sqlite3.connect(path) as db:
        module = db.execute("SELECT id FROM module").fetchone()[0]
        first = db.execute("SELECT coalesce(max(id), 0) + 1 FROM string").fetchone()[0]
        texts = functions + ["/src/lib/work.c", "inlined_here"]
        db.executemany("INSERT INTO string VALUES(?, ?)", [(first + i, t) for i, t in enumerate(texts)])
        file, inlined = first + len(functions), first + len(functions) + 1
        for n, frame in enumerate(frames):
            rows = [(first + n % len(functions), file, n + 1)] if n % 2 == 0 else []
            if n % 10 == 0:
                rows.insert(0, (inlined, file, 7))
            for depth, row in enumerate(rows):
                db.execute("INSERT OR REPLACE INTO symbol_frame(module, offset, depth, function, file, line) "
                           "VALUES(?, ?, ?, ?, ?, ?)", (module, frame[0], depth, *row))
    return path


def export(path, *arguments):
    """What is written to a file, which is also what goes to standard output."""
    out = os.path.join(os.path.dirname(path), "export")
    fraganalyze("export", *arguments, "-f", "-o", out, path).check_status(0)
    with open(out, "rb") as file:
        data = file.read()
    check(data == fraganalyze("export", *arguments, path).check_status(0).stdout, "stdout and -o differ")
    return data


def totals_of(path):
    """{metric: total} as the document has them."""
    totals, sites = analyze_json("summary", path)["totals"], analyze_json("sites", path)["sites"]
    temporary = sum(site["temporary"] for site in sites["sites"]) + sites["other"]["temporary"]
    return {"leaked": totals["live_bytes"], "peak": totals["peak_bytes"], "allocated": totals["bytes_allocated"],
            "count": totals["allocations"], "temporary": temporary, "blocks": totals["live_blocks"],
            "peak_ns": totals["peak_ns"]}


# ---- two recordings --------------------------------------------------------------------------------

@suite.case("a report of two recordings holds the newer one, what changed, and the older one's series", 120)
def _(scratch):
    a = record(scratch)
    b = record(scratch, "-n", "90000", "-L", "20", name="b.frag")
    result = fraganalyze("report", a, b).check_status(0)
    path = os.path.join(scratch, "b.diff.html")
    check_equal(result.stdout.decode().strip(), path, "name of the report")
    boot, columns, _html = read_report(path)
    check_equal(boot["summary"]["recording"]["path"], b, "the recording that the page is of")

    diff = boot["diff"]
    for side, recording in (("a", a), ("b", b)):
        totals = analyze_json("summary", recording)["totals"]
        check_equal(diff[side]["path"], recording, "path of " + side)
        for key in ("live_bytes", "peak_bytes", "allocations"):
            check_equal(diff[side][key], totals[key], "%s of %s" % (key, side))
    check_equal(max(columns["diff.a_peak_bytes"]), diff["a"]["peak_bytes"], "peak in the older one's series")
    check_equal(max(columns["timeline.peak_bytes"]), diff["b"]["peak_bytes"], "peak in the newer one's series")
    check_equal(columns["diff.a_allocations"][-1], diff["a"]["allocations"], "allocations in the series")
    check_equal(len(columns["diff.a_time_ns"]), len(columns["diff.a_live_bytes"]), "length of the series")

    scale = diff["scale"]
    check_equal(scale["events"], diff["b"]["allocations"] / diff["a"]["allocations"], "scale by events")
    time = diff["b"]["duration_ns"] / diff["a"]["duration_ns"]
    check(abs(scale["time"] / time - 1) < 1e-9, "scale by time: %r, not %r" % (scale["time"], time))
    check_equal(sum(row["delta_live_bytes"] for row in diff["sites"]) + diff["other"]["delta_live_bytes"],
                diff["b"]["live_bytes"] - diff["a"]["live_bytes"], "differences of all sites")
    for row in diff["sites"]:
        was = row["a"]["live_bytes"] if row["a"] else 0
        now = row["b"]["live_bytes"] if row["b"] else 0
        for name in ("time", "events"):
            check(abs(row["delta_live_bytes_by_" + name] - (now - was * scale[name])) <= 0.5,
                  "%r by %s" % (row, name))


@suite.case("a report of a recording and itself has no difference; another build is named", 60)
def _(scratch):
    a = record(scratch)
    rebuilt = record(scratch, name="rebuilt.frag")
    with sqlite3.connect(rebuilt) as db:
        before = db.execute("SELECT path, build_id FROM module WHERE build_id IS NOT NULL").fetchone()
        db.execute("UPDATE module SET build_id = 'feedface' WHERE path = ?", before[:1])
    page = os.path.join(scratch, "out.html")
    fraganalyze("report", a, a, "-o", page).check_status(0)
    diff = read_report(page)[0]["diff"]
    check_equal((diff["new"], diff["gone"], diff["changed"], diff["rebuilt"]), (0, 0, 0, []), "differences")
    fraganalyze("report", a, rebuilt, "-f", "-o", page).check_status(0)
    diff = read_report(page)[0]["diff"]
    check_equal(diff["rebuilt"], [{"module": os.path.basename(before[0]), "a": before[1], "b": "feedface"}],
                "modules that are not the same build")
    check_equal((diff["new"], diff["gone"], diff["changed"]), (0, 0, 0), "differences of another build")


@suite.case("a report of two recordings says which of them can't be read", 60)
def _(scratch):
    a = record(scratch)
    for pair in ((a, "none.frag"), ("none.frag", a)):
        result = fraganalyze("report", *pair, "-o", os.path.join(scratch, "out.html")).check_status(3)
        check(b"none.frag" in result.stderr, "no name in %r" % result.stderr)
    check(not os.path.exists(os.path.join(scratch, "out.html")), "a report was left")
    check(b"too many" in fraganalyze("report", a, a, a).check_status(2).stderr, "three recordings")


# ---- size ------------------------------------------------------------------------------------------

@suite.case("--max-html-size makes the page coarser, says so, and keeps the sums", 120)
def _(scratch):
    path = name_frames(record(scratch, "-s", "600"), ["deep::name_%d<%s>" % (i, "T%d, " % i * 80) for i in range(50)])
    page = os.path.join(scratch, "page.html")

    def report(*options):
        result = fraganalyze("report", "-f", "-o", page, *options, path).check_status(0)
        return read_report(page)[:2] + (os.path.getsize(page), result.stderr.decode())

    full, columns, size, said = report()
    check_equal((said, full["quality"].get("coarsened")), ("", None), "a page that fits")
    less, less_columns, less_size, said = report("--max-html-size", str(size - 60000))
    check(less_size <= size - 60000, "the page has %d bytes of %d" % (less_size, size - 60000))
    check("to be no larger than" in said, "not said: %r" % said)
    limits = {c["what"]: c["limit"] for c in less["quality"]["coarsened"]}
    check(limits, "no word in the page")
    least, _columns, least_size, said = report("--max-html-size", "1KiB")
    check("nothing more to leave out" in said, "not said: %r" % said)
    check(least_size < less_size, "sizes %d and %d" % (least_size, less_size))
    limits = {c["what"]: c["limit"] for c in least["quality"]["coarsened"]}
    for document in (less, least):
        for key in ("totals", "findings"):
            if key == "totals":
                check_equal(document["summary"][key], full["summary"][key], key)
        for section, rows, sums in (("leaks", "leaks", ("bytes", "blocks")),
                                    ("sites", "sites", ("live_bytes", "allocated_bytes", "allocations", "peak_bytes")),
                                    ("reallocs", "sites", ("calls", "copied_bytes"))):
            for key in sums:
                check_equal(*(sum(row[key] for row in d[section][rows]) + d[section]["other"][key] for d in (document, full)),
                            "%s of %s" % (key, section))
            check_equal(*(len(d[section][rows]) + d[section]["other"]["sites"] for d in (document, full)), "sites of " + section)
    check_equal(max(len(least[s][r]) for s, r in (("leaks", "leaks"), ("sites", "sites"))), limits["rows"], "rows")
    check_equal(max(len(leak["stack"]) for leak in least["leaks"]["leaks"]), limits["frames"] + 1, "frames, and how many more")
    check(re.fullmatch(r"\(\d+ more\)", least["leaks"]["leaks"][0]["stack"][-1]["function"]), "the rest of a stack")
    check_equal(_columns["leaks.series"], columns["leaks.series"][:64 * limits["rows"]], "series of the rows that stay")
    check_equal(_columns["timeline.peak_bytes"], columns["timeline.peak_bytes"], "the timeline")


# ---- exports ---------------------------------------------------------------------------------------

@suite.case("folded stacks add up, metric by metric, and a line is a stack", 120)
def _(scratch):
    path = name_frames(record(scratch))
    totals = totals_of(path)
    for metric in METRICS:
        lines = export(path, "--format", "folded", "--metric", metric).decode().splitlines()
        rows = [re.fullmatch(r"(.+) (\d+)", line) for line in lines]
        check(all(rows), "a line that is no stack and number: %s" % next(
            (l for l, r in zip(lines, rows) if not r), None))
        check_equal(sum(int(row[2]) for row in rows), totals[metric], metric)
    depth = max(row[1].count(";") for row in rows)
    check(depth < 40, "a name was taken for two: %d frames" % depth)
    check(any("operator<<(\"a: b\"" in row[1] for row in rows), "the name with a semicolon")
    check_equal(export(path, "--format", "folded"), export(path, "--format", "folded", "--metric", "live"), "live")


@suite.case("sqlite3 imports the rows of sites and of the timeline", 120)
def _(scratch):
    path = name_frames(record(scratch))
    totals = totals_of(path)

    def ask(rows, sql):
        file = os.path.join(scratch, rows + ".csv")
        with open(file, "wb") as out:
            out.write(export(path, "--format", "csv", "--rows", rows))
        text = run([need("sqlite3"), ":memory:", ".mode csv", ".import %s t" % file, ".mode json", sql])
        check_equal(text.stderr, b"", "what sqlite3 says")
        return json.loads(text.check_status(0).stdout)

    row = ask("sites", "SELECT sum(live_bytes) leaked, sum(peak_bytes) peak, sum(allocated_bytes) allocated, "
              "sum(allocations) count, sum(temporary) temporary, sum(live_blocks) blocks FROM t")[0]
    check_equal(row, {key: totals[key] for key in row}, "sums")
    named = ask("sites", "SELECT count(*) n, count(DISTINCT site) sites, sum(stack LIKE '%operator<<(\"a; b\"%') odd, "
                "sum(place LIKE '/src/lib/work.c:%') placed FROM t")[0]
    check_equal(named["n"], named["sites"], "a row a site")
    check(named["odd"] > 0 and named["placed"] > 0, "names: %r" % named)
    row = ask("timeline", "SELECT max(peak_bytes + 0) peak, max(allocations + 0) count, count(*) n FROM t")[0]
    check_equal((row["peak"], row["count"], row["n"]), (totals["peak"], totals["count"], 1024), "timeline")


@suite.case("json is the document of --json, with the columns of the report", 120)
def _(scratch):
    path = record(scratch)
    document = json.loads(export(path, "--format", "json"))
    page = os.path.join(scratch, "page.html")
    fraganalyze("report", path, "-o", page).check_status(0)
    columns = document.pop("columns")
    expected = read_report(page)[1]
    check_equal(sorted(columns), sorted(expected), "names of columns")
    for name, values in columns.items():
        # JSON has no NaN.
        check(values == [None if v != v else v for v in expected[name]], "column %s: %s" % (name, values[:9]))
    check_equal(document, json.loads(fraganalyze("report", "--json", path).stdout), "sections")


@suite.case("ms_print reads massif's format: the peak, its tree, the end", 120)
def _(scratch):
    path = name_frames(record(scratch))
    totals = totals_of(path)
    file = os.path.join(scratch, "massif.out")
    with open(file, "wb") as out:
        out.write(export(path, "--format", "massif"))
    text = run([need("ms_print"), "--threshold=0", file]).check_status(0).stdout.decode()
    peak = int(re.search(r"Detailed snapshots: \[.*?(\d+) \(peak\)", text)[1])
    rows = {int(m[1]): [int(x.replace(",", "")) for x in m[0].split()[1:]]
            for m in re.finditer(r"^ *(\d+)(?: +[\d,]+){5}$", text, re.M)}
    check_equal(len(rows), 1025, "snapshots: those of the timeline, and the peak")
    check_equal(rows[peak][1:3], [totals["peak"]] * 2, "total and useful heap at the peak")
    check_equal(rows[peak][0], totals["peak_ns"] // 1000000, "time of the peak, ms")
    check_equal(max(row[1] for row in rows.values()), totals["peak"], "highest")
    check_equal(rows[1024][1], totals["leaked"], "at the end")
    trees = re.findall(r"^100\.00% \(([\d,]+)B\) \(heap allocation functions\)", text, re.M)
    check_equal([int(t.replace(",", "")) for t in trees], [totals["peak"], totals["leaked"]], "roots of the trees")
    check(re.search(r"^->\d\d\.\d\d% \([\d,]+B\) 0x[0-9A-F]+: \w+ \(/src/lib/work.c:\d+\)$", text, re.M), "a named caller")

    # What a node's children have is what it has itself, the sum of small ones included.
    def children(lines, depth):
        n, size, _label = re.match(r"%sn(\d+): (\d+) (.*)" % (" " * depth), next(lines)).groups()
        sizes = [children(lines, depth + 1) for _ in range(int(n))]
        check(not sizes or sum(sizes) == int(size), "a node of %s bytes has children of %r" % (size, sizes))
        return int(size)

    for kind in ("peak", "detailed"):
        with open(file, encoding="utf-8") as source:
            children(iter(source.read().split("heap_tree=%s\n" % kind)[1].splitlines()), 0)


@suite.case("pprof's profile: totals, names, inlined functions, by protoc", 120)
def _(scratch):
    path = name_frames(record(scratch))
    totals = totals_of(path)
    data = export(path, "--format", "pprof", "--metric", "peak")
    profile = protoc("profile.proto", "Profile", gzip.decompress(data))
    strings = [s.decode() for s in profile["strings"]]
    types = [strings[one(t, "type")] for t in profile["value_types"]]
    sums = dict(zip(types, map(sum, zip(*(sample["values"] for sample in profile["samples"])))))
    check_equal(sums, {"alloc_objects": totals["count"], "alloc_space": totals["allocated"],
                       "inuse_objects": totals["blocks"], "inuse_space": totals["leaked"],
                       "peak_objects": sums["peak_objects"], "peak_space": totals["peak"],
                       "temporary_objects": totals["temporary"]}, "sums")
    check_equal(strings[0], "", "the first string")
    check_equal(strings[one(profile, "default_type")], "peak_space", "--metric is what pprof shows first")
    functions = {one(f, "id"): f for f in profile["functions"]}
    mappings = {one(m, "id"): m for m in profile["mappings"]}
    locations = {one(l, "id"): l for l in profile["locations"]}
    check(all(i in locations for s in profile["samples"] for i in s["locations"]), "an unknown location")
    inlined = 0
    for location in locations.values():
        names = [strings[one(functions[one(line, "function")], "name")] for line in location["lines"]]
        mapping = mappings[one(location, "mapping")]
        check(one(mapping, "start") <= one(location, "address") < one(mapping, "limit"), "address outside of its file")
        if len(names) > 1:
            inlined += 1
            check_equal((names[0], len(names)), ("inlined_here", 2), "inlined function first")
    check(inlined > 0, "no inlined function")


@suite.case("pprof's profile, by npm's pprof-format, and by go's pprof where it is installed", 120)
def _(scratch):
    path = name_frames(record(scratch))
    totals = totals_of(path)
    file = os.path.join(scratch, "heap.pb.gz")
    with open(file, "wb") as out:
        out.write(export(path, "--format", "pprof"))
    sums = pprof_format(work, file)
    for key, metric in (("alloc_space", "allocated"), ("inuse_space", "leaked"), ("peak_space", "peak"),
                        ("alloc_objects", "count"), ("inuse_objects", "blocks")):
        check_equal(sums[key], totals[metric], key)
    if shutil.which("go"):
        text = run(["go", "tool", "pprof", "-top", "-unit=B", "-sample_index=alloc_space", file],
                   env=environment(HOME=scratch)).check_status(0).stdout.decode()
        check("Total samples = %dB" % totals["allocated"] in text, text[:500])


@suite.case("google-pprof reads gperftools' format", 120)
def _(scratch):
    path = name_frames(record(scratch))
    totals = totals_of(path)
    file = os.path.join(scratch, "heap.prof")
    with open(file, "wb") as out:
        out.write(export(path, "--format", "gperftools"))
    for option, metric in (("--inuse_space", "leaked"), ("--alloc_space", "allocated"),
                           ("--inuse_objects", "blocks"), ("--alloc_objects", "count")):
        result = run([need("google-pprof"), "--text", "--show_bytes", option, file],
                     env=environment(HOME=scratch)).check_status(0)
        text = result.stdout.decode()
        check_equal(int(re.match(r"Total: (\d+)", text)[1]), totals[metric], option)
        check(re.search(r"% work_\d+$", text, re.M), "no names: %s" % text[:500])


@suite.case("Perfetto's trace: a heap profile and counters, by protoc", 120)
def _(scratch):
    path = name_frames(record(scratch))
    totals = totals_of(path)
    packets = protoc("trace.proto", "Trace", export(path, "--format", "perfetto"))["packets"]
    check_equal([one(p, "flags") for p in packets], [1] + [2] * (len(packets) - 1), "sequence flags")
    tables = {name: {} for name in ("functions", "frames", "stacks", "paths", "mappings", "build_ids")}
    for packet in packets:
        for name, table in tables.items():
            table.update((one(item, "id"), item) for item in one(packet, "interned", {}).get(name, []))
    for frame in tables["frames"].values():
        check(one(frame, "function") in tables["functions"], "a frame without function")
        check(one(frame, "mapping") in tables["mappings"] and "pc" in frame, "a frame without its place")
    check(all(f in tables["frames"] for s in tables["stacks"].values() for f in s["frames"]), "an unknown frame")
    check_equal(0 in tables["stacks"] or 0 in tables["frames"], False, "0 is no id")

    profiles = [one(p, "profile") for p in packets if "profile" in p]
    check_equal([one(p, "index") for p in profiles], list(range(len(profiles))), "indices")
    check_equal([bool(one(p, "continued")) for p in profiles], [True] * (len(profiles) - 1) + [False], "continued")
    samples = [s for p in profiles for d in p["dumps"] for s in d.get("samples", [])]
    check(all(one(s, "stack") in tables["stacks"] for s in samples), "an unknown stack")
    check_equal(sum(one(s, "allocated") for s in samples), totals["allocated"], "allocated")
    check_equal(sum(one(s, "allocated") - one(s, "freed") for s in samples), totals["leaked"], "live")
    check_equal(sum(one(s, "allocations") - one(s, "frees") for s in samples), totals["blocks"], "live blocks")

    tracks = {one(t, "name"): one(t, "id") for p in packets for t in p.get("track", []) if "counter" in t}
    high = [one(e, "value") for p in packets for e in p.get("event", []) if one(e, "track") == tracks[b"highest live bytes"]]
    check_equal(max(high), totals["peak"], "peak in the counter")


@suite.case("speedscope's page imports its own format, pprof's and folded stacks", 240)
def _(scratch):
    path = name_frames(record(scratch, "-s", "12"))  # few rows: the page draws those in view
    files = []
    for name, *arguments in (("a.speedscope.json", "speedscope", "--metric", "allocated"),
                             ("a.pb.gz", "pprof", "--metric", "allocated"),
                             ("a.folded", "folded", "--metric", "allocated")):
        files.append(os.path.join(scratch, name))
        with open(files[-1], "wb") as out:
            out.write(export(path, "--format", *arguments))
    with open(files[0], encoding="utf-8") as file:
        document = json.load(file)
    totals = totals_of(path)
    for profile in document["profiles"]:
        check_equal((sum(profile["weights"]), profile["endValue"], len(profile["samples"])),
                    (totals[profile["name"]],) * 2 + (len(profile["weights"]),), profile["name"])
    native, pprof, folded = speedscope(work, *files)
    for shown in (native, pprof, folded):
        check_equal(shown["trouble"], [], "what the page complains of")
    check_equal(native["profiles"], list(METRICS), "profiles")
    check_equal(native["title"], "synthetic - speedscope", "title")

    def by_name(shown):
        # Its reader of pprof's format takes of each location the function that is not inlined.
        return sorted((row[-1].replace("; ", ": "), re.search(r"\((.*)\)", row[0])[1]) for row in shown["rows"]
                      if row[-1] != "inlined_here")
    check(len(native["rows"]) > 20, "rows: %r" % native["rows"][:3])
    for name, other in (("pprof's format", pprof), ("folded stacks", folded)):
        check_equal(set(by_name(native)) ^ set(by_name(other)), set(), "shares of functions that differ in " + name)


@suite.case("an export of a window has the totals of that window", 60)
def _(scratch):
    path = record(scratch)
    window = ("--from", "2s", "--to", "4s")
    totals = analyze_json("summary", path, *window)["totals"]
    for metric, key in (("leaked", "live_bytes"), ("allocated", "bytes_allocated"), ("peak", "peak_bytes")):
        text = export(path, "--format", "folded", "--metric", metric, *window).decode()
        check_equal(sum(int(line.rsplit(" ", 1)[1]) for line in text.splitlines()), totals[key], metric)


@suite.case("export refuses what it can't do, and leaves files alone", 60)
def _(scratch):
    path = record(scratch)
    check(b"--format" in fraganalyze("export", path).check_status(2).stderr, "no format")
    check(b"folded, speedscope" in fraganalyze("export", "--format", "svg", path).check_status(2).stderr, "unknown format")
    out = os.path.join(scratch, "there")
    with open(out, "w", encoding="ascii") as file:
        file.write("mine")
    check(b"exists" in fraganalyze("export", "--format", "csv", "-o", out, path).check_status(2).stderr, "overwrites")
    with open(out, encoding="ascii") as file:
        check_equal(file.read(), "mine", "the file that was there")
    result = fraganalyze("export", "--format", "csv", "-f", "-o", "/dev/full", path).check_status(1)
    check(b"No space" in result.stderr, "a full disk: %r" % result.stderr)
    empty = record(scratch, "-n", "0", name="empty.frag")
    for name in ("folded", "speedscope", "pprof", "gperftools", "massif", "csv", "json", "perfetto"):
        fraganalyze("export", "--format", name, empty).check_status(0)


# ---- redaction -------------------------------------------------------------------------------------

PRIVATE = ("annabel", "smith", "vaultdir", "customer", "hunter2", "31337", "conn-acme", "checkout-acme")
TEXT_FORMATS = ("folded", "speedscope", "gperftools", "massif", "csv", "json")


def private_recording(scratch):
    """A recording with something in each place that can name people and machines."""
    folder = os.path.join(scratch, "home", "annabel smith", "vaultdir")
    os.makedirs(folder)
    path = name_frames(record(scratch, "-t", "3", name=os.path.relpath(os.path.join(folder, "a.frag"), scratch)),
                       ["plain", "main::{lambda at /home/annabel/vaultdir/x.cc:12}", "app::{lambda at customer/src/y.cc:7}::run"])
    with sqlite3.connect(path) as db:
        db.execute("UPDATE string SET text = '/home/annabel smith/customer/src/work.c' WHERE text LIKE '%work.c'")
        db.execute("UPDATE module SET path = '/home/annabel/vaultdir/bin/' || replace(path, rtrim(path, replace(path, '/', '')), '')")
        db.execute("UPDATE process SET pid = 31337, exe = '/home/annabel/vaultdir/bin/server', "
                   "argv = '[\"/home/annabel/vaultdir/bin/server\",\"--password=hunter2\",\"/data/customer/x\"]', "
                   "parent_recording = '/home/annabel/vaultdir/parent.frag'")
        db.execute("UPDATE thread SET name = 'conn-acme', tid = 31337")
        db.executemany("INSERT INTO mark(time_ns, seq, kind, label) VALUES(?, ?, 'user', 'checkout-acme')",
                       [(i * 50_000_000, 0) for i in range(1, 100)])
    return path


def check_hidden(data, what, private=PRIVATE):
    text = data.decode("utf-8", "replace").lower()
    for word in private:
        found = re.search(r"(?<!\d)%s(?!\d)" % word if word.isdigit() else word, text)
        check(not found, "%s has '%s': ...%s..." % (what, word, found and text[max(0, found.start() - 60):found.end() + 60]))


@suite.case("--redact leaves nothing of paths, arguments and the machine in a report", 120)
def _(scratch):
    path = private_recording(scratch)
    page = os.path.join(scratch, "page.html")
    fraganalyze("report", "--per", "checkout-acme", "-o", page, path).check_status(0)
    plain = json.dumps(read_report(page)[0])
    for word in PRIVATE:
        check(word in plain.lower(), "the report without --redact has no '%s': this test shows nothing" % word)
    fraganalyze("report", "--redact", "--per", "checkout-acme", "-f", "-o", page, path).check_status(0)
    boot, columns, html = read_report(page)
    check_hidden(BLOCK.sub(b"", html), "the page")
    check_hidden(json.dumps(boot).encode(), "the boot block")
    check_hidden(json.dumps(columns).encode(), "the columns")
    program = boot["summary"]["program"]
    check_equal((program["name"], program["pid"], program["argv"][1:]), ("server", None, ["arg1", "arg2"]), "program")
    check(re.fullmatch(r"dir\d+/server", program["exe"]), program["exe"])
    files = {frame["file"] for leak in boot["leaks"]["leaks"] for frame in leak["stack"] if frame["file"]}
    check_equal(len(files), 1, "one file is one name: %r" % files)
    check(re.fullmatch(r"dir\d+/work.c", files.pop()), "base names stay")
    check_equal(boot["leaks"]["process"]["operation"]["label"], "label1", "label")
    check(all(c in html for c in (b"Content-Security-Policy", b"id=\"floor\"")), "the page is whole")

    # What was not asked for stays; the same text has the same name each time.
    only = json.loads(fraganalyze("report", "--redact=args", "--json", path).check_status(0).stdout)
    check_equal(only["summary"]["program"]["exe"], "/home/annabel/vaultdir/bin/server", "paths")
    check_equal(only["summary"]["program"]["argv"][1:], ["arg1", "arg2"], "args")
    only = json.loads(fraganalyze("report", "--redact=env,paths", "--json", path).check_status(0).stdout)
    check_equal((only["summary"]["program"]["pid"], only["summary"]["program"]["argv"][1]), (None, "--password=hunter2"), "env")
    check(b"paths, args, env" in fraganalyze("report", "--redact=names", path).check_status(2).stderr, "an unknown word")


@suite.case("--redact leaves nothing in exports, and the figures as they are", 120)
def _(scratch):
    path = private_recording(scratch)
    for name in TEXT_FORMATS:
        data = export(path, "--format", name, "--redact", "--per", "checkout-acme")
        check_hidden(data, name)
        check(data.count(b"work.c") > 0 or name in ("folded", "gperftools"), "%s has no base names" % name)
    plain, redacted = (export(path, "--format", "folded", *more).decode().splitlines() for more in ((), ("--redact",)))
    check_equal([l.rsplit(" ", 1)[1] for l in plain], [l.rsplit(" ", 1)[1] for l in redacted], "figures")
    profile = protoc("profile.proto", "Profile", gzip.decompress(export(path, "--format", "pprof", "--redact")))
    check_hidden(b"\n".join(profile["strings"]), "pprof's strings")
    trace = export(path, "--format", "perfetto", "--redact")
    check_hidden(trace, "perfetto", [w for w in PRIVATE if not w.isdigit()])
    packets = protoc("trace.proto", "Trace", trace)["packets"]
    check_equal({one(d, "pid") for p in packets for f in p.get("profile", []) for d in f["dumps"]}, {1}, "pid")


suite.run()
