#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""fraganalyze diff and check: two builds of a service, thresholds, formats, and docs/CI.md as it stands.

Usage: run.py MAKE_RECORDING SERVICE_0 SERVICE_1 SERVICE_2 (TAP on stdout)
"""

import atexit
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import xml.etree.ElementTree as ElementTree

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from fttest import (Suite, check, check_equal, environment, launcher, need, run, skip,  # noqa: E402
                    tool)

suite = Suite()
make_recording, *services = map(os.path.abspath, sys.argv[1:5])
del sys.argv[1:5]


def fraganalyze(*arguments, **keywords):
    return run([tool("FRAGANALYZE"), *arguments], **keywords)


def as_json(*arguments, status=0):
    return json.loads(fraganalyze(*arguments).check_status(status).stdout)


recorded = tempfile.mkdtemp(prefix="fragtrace-gate-")
atexit.register(shutil.rmtree, recorded, True)


def record_all():
    """Recordings of the three services, made at the same time: each runs for 3 s."""
    def one(version):
        path = os.path.join(recorded, "v%d.frag" % version)
        subprocess.run(launcher(path, [services[version], "600", "5"]), env=environment(), check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    threads = [threading.Thread(target=one, args=[version]) for version in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def record(scratch, *versions):
    """Copies of the recordings, to be changed at will."""
    if not os.listdir(recorded):
        record_all()
    paths = []
    for version in versions:
        paths.append(os.path.join(scratch, "v%d.frag" % version))
        shutil.copy(os.path.join(recorded, os.path.basename(paths[-1])), paths[-1])
    return paths


def site(document, name):
    found = [s for s in document["sites"] if s["name"] == name]
    check_equal(len(found), 1, "sites named %s" % name)
    return found[0]


# ---- diff ------------------------------------------------------------------------------------------

@suite.case("diff knows sites again in another build", 90)
def _(scratch):
    one, two = record(scratch, 1, 2)
    document = as_json("diff", "--json", "--per", "request", one, two)
    check_equal(document["same_program"], False, "service-1 and service-2")
    check_equal(document["operation"], "request", "operation")
    check_equal([document[s]["operations"] for s in "ab"], [600, 600], "operations")

    opened = site(document, "session_open")
    check_equal(opened["status"], "changed", "session_open")
    for side, size in (("a", 100), ("b", 200)):
        check(opened[side]["growing"], "session_open does not grow in " + side)
        check(0.9 * size <= opened[side]["bytes_per_operation"] <= 1.1 * size,
              "bytes an operation in %s: %r" % (side, opened[side]))
        check_equal(opened[side]["allocated_bytes"], 600 * (300 + size), "allocated in " + side)
        check_equal(opened[side]["sites"], 2, "stacks of session_open in " + side)
    check(opened["delta_rate_bytes_per_s"] > 0, "delta of the rate")
    check_equal(opened["delta_live_bytes"], 60000, "delta of live bytes")
    new, old = site(document, "feature_new"), site(document, "feature_old")
    check_equal((new["status"], new["a"], new["b"]["live_bytes"]), ("new", None, 600 * 77), "feature_new")
    check_equal((old["status"], old["a"]["live_bytes"], old["b"]), ("gone", 5000, None), "feature_old")
    weights = [max(abs(s["delta_live_bytes"]), abs(s["delta_rate_bytes_per_s"] or 0) * 3)
               for s in document["sites"][:2]]
    check(weights[0] >= weights[1], "order: %s" % weights)

    text = fraganalyze("diff", one, two).check_status(0).stdout.decode()
    check(re.search(r"\d.*/s +[\d.]+ .*changed +session_open", text), text)
    check(re.search(r"EACH OP", fraganalyze("diff", "--per", "request", one, two).stdout.decode()), "per op")
    back = as_json("diff", "--json", two, one)
    check_equal(site(back, "feature_new")["status"], "gone", "the other way round")
    check_equal(site(back, "session_open")["delta_live_bytes"], -60000, "the other way round")


@suite.case("a recording is as itself, with names and without", 60)
def _(scratch):
    path = os.path.join(scratch, "a.frag")
    run([make_recording, "-n", "60000", "-L", "50", "-g", "100000", path]).check_status(0)
    other = os.path.join(scratch, "b.frag")
    shutil.copy(path, other)
    document = as_json("diff", "--json", path, other)
    check_equal([document[k] for k in ("new", "gone", "changed", "rebuilt_modules")], [0, 0, 0, 0], "differences")
    check(document["same"] > 100, "sites: %r" % document["same"])
    check_equal(document["same"], len(document["sites"]) + document["other"]["sites"], "sites")
    check_equal({s["delta_live_bytes"] for s in document["sites"]}, {0}, "deltas")

    # Another build, no names: only modules are left to compare by, and that is said.
    with sqlite3.connect(other) as db:
        db.execute("UPDATE module SET build_id = 'ffff'")
    document = as_json("diff", "--json", path, other)
    check_equal((document["rebuilt_modules"], document["new"], document["gone"]), (1, 0, 0), "another build")
    check_equal(document["same"], 1, "sites, all in one")
    check("not the same build" in fraganalyze("diff", path, other).stdout.decode(), "not said")


@suite.case("diff says what is missing", 30)
def _(scratch):
    path = os.path.join(scratch, "a.frag")
    run([make_recording, "-n", "3000", path]).check_status(0)
    check(b"two recordings" in fraganalyze("diff", path).check_status(2).stderr, "one operand")
    check(b"too many" in fraganalyze("diff", path, path, path).check_status(2).stderr, "three operands")
    check(b"none.frag" in fraganalyze("diff", path, scratch + "/none.frag").check_status(3).stderr, "missing")
    check(b"nothing" in fraganalyze("diff", "--per", "nothing", path, path).check_status(2).stderr, "no marks")


# ---- check -----------------------------------------------------------------------------------------

def gate(status, *arguments):
    """check's lines, once the status is as expected. Synthetic recordings grow and have mismatched frees."""
    if os.path.basename(arguments[-1]) in ("short.frag", "cut.frag", "lost.frag"):
        arguments = ("--max-errors", "1000000", *arguments)
    if os.path.basename(arguments[-1]) in ("cut.frag", "lost.frag"):
        arguments = ("--max-growth", "1TiB/s", *arguments)
    return fraganalyze("check", *arguments).check_status(status).stdout.decode().splitlines()


@suite.case("check fails when something grows, and only then", 90)
def _(scratch):
    none, one, two = record(scratch, 0, 1, 2)
    lines = gate(0, none)
    check_equal(len(lines), 1, "lines of a clean run (%s)" % lines)
    lines = gate(1, two)
    check_equal(len([x for x in lines if ": error: " in x]), 2, "errors (%s)" % lines)
    check(re.search(r"error: session_open grows by .*\[.*service\.c:\d+\]$", lines[0]), lines[0])
    check(re.search(r"failed: 2 errors, 0 warnings, 3 of 3", lines[-1]), lines[-1])

    # 600 operations of 5 ms and more: at most 20 kB/s and 35 kB/s.
    gate(0, "--max-growth", "10MiB/s", two)
    gate(1, "--max-growth", "1KiB/min", two)
    lines = gate(1, "--max-growth", "1B/d", one)
    check("the limit is 1B/d" in lines[0], lines[0])

    lines = gate(0, "--baseline", two, two)
    check_equal(len([x for x in lines if "as in the baseline" in x]), 2, "notes (%s)" % lines)
    lines = gate(1, "--baseline", one, two)
    check("in the baseline" in "".join(lines) and "feature_new" in "".join(lines), "%s" % lines)
    gate(0, "--baseline", two, none)

    supp = os.path.join(scratch, "a.supp")
    with open(supp, "w") as file:
        file.write("leak:feature_new\nleak:session_open\n")
    lines = gate(0, "--suppressions", supp, two)
    check("suppressed: " in lines[0] and "2 sites" in lines[0], "%s" % lines)

    gate(1, "--max-live", "4k", one)
    gate(0, "--max-live", "100MiB", none)
    gate(1, "--max-rss", "100kB", none)
    gate(0, "--max-rss", "1GiB", none)
    check_equal(as_json("check", "--json", two, status=1)["outcome"], "failed", "--json")


@suite.case("what can not be judged is status 4, unless that is allowed", 60)
def _(scratch):
    short = os.path.join(scratch, "short.frag")
    run([make_recording, "-n", "3000", "-g", "1000", short]).check_status(0)
    check("too short" in "".join(gate(0, short)), "not said")
    check("too short" in "".join(gate(4, "--max-growth", "1MiB/h", short)), "not said")
    gate(0, "--allow-partial", "--max-growth", "1MiB/h", short)

    cut = os.path.join(scratch, "cut.frag")
    run([make_recording, "-n", "60000", "-g", "100000", "-c", cut]).check_status(0)
    check("cut off" in "".join(gate(4, cut)), "not said")
    gate(0, "--allow-partial", cut)
    gate(1, "--max-live", "1", cut)  # what is wrong stays wrong

    lost = os.path.join(scratch, "lost.frag")
    run([make_recording, "-n", "60000", "-g", "100000", lost]).check_status(0)
    with sqlite3.connect(lost) as db:
        db.execute("UPDATE timeline SET rss = NULL")
    check("RSS was not sampled" in "".join(gate(4, "--max-rss", "1GiB", lost)), "not said")
    with sqlite3.connect(lost) as db:
        db.execute("INSERT INTO loss(first_ns, last_ns, thread, n_events, reason) VALUES(1, 2, 0, 5, 'ring_full')")
    check("lost" in "".join(gate(4, lost)), "not said")

    for arguments in (["--max-growth", "1MiB"], ["--max-growth", "fast"], ["--max-live", "-1"],
                      ["--max-rss", "1XiB"], ["--max-errors", "few"], ["--format", "html"]):
        check_equal(fraganalyze("check", *arguments, short).check_status(2).stdout, b"", "stdout")
    gate_missing = fraganalyze("check", "--baseline", scratch + "/none.frag", short).check_status(3)
    check(b"none.frag" in gate_missing.stderr, "stderr: %r" % gate_missing.stderr)


def check_junit(text):
    """The structure that Jenkins' schema (junit-10.xsd) asks for; returns the root."""
    root = ElementTree.fromstring(text)
    check_equal(root.tag, "testsuites", "root")
    for suite_ in root:
        check_equal(suite_.tag, "testsuite", "child of testsuites")
        cases = suite_.findall("testcase")
        for name in ("tests", "failures", "errors", "skipped"):
            check(suite_.get(name, "").isdigit(), "%s is no number: %r" % (name, suite_.attrib))
        check_equal(int(suite_.get("tests")), len(cases), "tests")
        check_equal(int(suite_.get("failures")), len(suite_.findall("testcase/failure")), "failures")
        check_equal(int(suite_.get("skipped")), len(suite_.findall("testcase/skipped")), "skipped")
        check(float(suite_.get("time")) >= 0, "time")
        order = [e.tag for e in suite_]
        check_equal(order, ["testcase"] * len(cases) + ["system-out"], "elements of a suite")
        for case in cases:
            check(case.get("name") and case.get("classname"), "a case without a name: %r" % case.attrib)
            check(len(case) <= 1, "more than one outcome")
            for outcome in case:
                check(outcome.get("message"), "%s without a message" % outcome.tag)
    return root


def check_sarif(document):
    """What SARIF 2.1.0 requires, as far as we write it. With the standard's schema in FT_SARIF_SCHEMA
    and Python's jsonschema that is used, too."""
    check_equal(document["version"], "2.1.0", "version")
    check_equal(len(document["runs"]), 1, "runs")
    driver = document["runs"][0]["tool"]["driver"]
    ids = [rule["id"] for rule in driver["rules"]]
    check_equal(len(ids), len(set(ids)), "rules, each once")
    for result in document["runs"][0]["results"]:
        check_equal(ids[result["ruleIndex"]], result["ruleId"], "rule")
        check(result["level"] in ("error", "warning", "note"), result["level"])
        check(result["message"]["text"], "no message")
        check(result["locations"], "no location")
        for location in result["locations"]:
            uri = location["physicalLocation"]["artifactLocation"]["uri"]
            check(re.fullmatch(r"(file:///)?[A-Za-z0-9._~/+,@%-]+", uri), "uri %r" % uri)
            check(location["physicalLocation"].get("region", {"startLine": 1})["startLine"] >= 1, "line")
    if os.environ.get("FT_SARIF_SCHEMA"):
        import jsonschema  # not needed otherwise
        with open(os.environ["FT_SARIF_SCHEMA"]) as file:
            jsonschema.validate(document, json.load(file))
    return document


@suite.case("each format says the same, and is what it claims to be", 90)
def _(scratch):
    none, two = record(scratch, 0, 2)
    out = os.path.join(scratch, "out")
    for path, errors in ((none, 0), (two, 2)):
        status = 1 if errors else 0
        check_equal(gate(status, "--format", "junit", "-o", out, path), [], "stdout with -o")
        with open(out, "rb") as file:
            root = check_junit(file.read())
        failure = root.find("testsuite/testcase/failure")
        check_equal(failure is not None, bool(errors), "a failure")
        if errors:
            check_equal(len(re.findall("grows by", failure.text)), 2, "sites in the failure")
            check("#0 session_open at " in failure.text, failure.text)
        sarif = check_sarif(json.loads(fraganalyze("check", "--format", "sarif", path).check_status(status).stdout))
        results = sarif["runs"][0]["results"]
        check_equal([r["level"] for r in results], ["error"] * errors, "levels")
        for result in results:
            check(result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].endswith("service.c"),
                  "place: %r" % result["locations"])
        markdown = "\n".join(gate(status, "--format", "markdown", path))
        check_equal(len(re.findall(r"^\| error \| ", markdown, re.M)), errors, "rows of markdown")
        check(markdown.startswith("### Fragtrace: service"), markdown)
    check_equal(os.listdir(scratch).count("out"), 1, "out")
    check(not [n for n in os.listdir(scratch) if n.endswith(".tmp")], "temporary files left")
    fraganalyze("check", "-o", scratch + "/no/such/out", none).check_status(1)


@suite.case("names are text in every format", 60)
def _(scratch):
    (two,) = record(scratch, 2)
    hostile = "<b>&\"']]>`|*_\x1b[31m\u202e\x01end"
    with sqlite3.connect(two) as db:
        db.execute("UPDATE string SET text = ? WHERE text = 'session_open'", (hostile,))
        db.execute("UPDATE string SET text = CAST(x'ff3c62c328' AS TEXT) WHERE text = 'feature_new'")
    text = fraganalyze("check", two).check_status(1).stdout
    check(b"\x1b" not in text, "an escape sequence reached the terminal: %r" % text)
    root = check_junit(fraganalyze("check", "--format", "junit", two).check_status(1).stdout)
    check("<b>&" in root.find("testsuite/testcase/failure").get("message"), "junit")
    check_sarif(json.loads(fraganalyze("check", "--format", "sarif", two).check_status(1).stdout))
    markdown = fraganalyze("check", "--format", "markdown", two).check_status(1).stdout.decode(errors="replace")
    check("<b>" not in markdown and "\\|" in markdown, markdown)
    for line in markdown.splitlines():
        if line.startswith("| error"):
            check_equal(len(re.findall(r"(?<!\\)\|", line)), 4, "cells of %r" % line)


@suite.case("bad frees count against --max-errors", 60)
def _(scratch):
    (path,) = record(scratch, 0)
    with sqlite3.connect(path) as db:
        for i in range(3):
            db.execute("INSERT INTO error(time_ns, kind, address, thread, stack, alloc_stack, free_stack) "
                       "VALUES(?, 'invalid_free', ?, 1, 1, 0, 0)",
                       (1000000 * i + 1, 4096 * i + 64))
    lines = gate(1, path)
    check_equal([x.split(", ")[-1] for x in lines if "error: invalid_free" in x], ["times 3"], "errors (%s)" % lines)
    gate(1, "--max-errors", "2", path)
    check_equal(len([x for x in gate(0, "--max-errors", "3", path) if "note: invalid_free" in x]), 1, "notes")
    gate(0, "--baseline", path, path)


# ---- docs/CI.md ------------------------------------------------------------------------------------

def code_blocks(language):
    with open(os.path.join(os.environ["FT_SOURCE_ROOT"], "docs", "CI.md")) as file:
        blocks = re.findall(r"^```(\w+)\n(.*?)^```$", file.read(), re.M | re.S)
    found = [text for name, text in blocks if name == language]
    check(found, "docs/CI.md has no block of " + language)
    return found


def tools_in_path(scratch, **changes):
    """An environment in which the tools are called as they are when installed."""
    folder = os.path.join(scratch, "bin")
    os.makedirs(folder, exist_ok=True)
    for name, variable in (("fragtrace", "FRAGTRACE"), ("fraganalyze", "FRAGANALYZE")):
        with open(os.path.join(folder, name), "w") as file:
            file.write('#!/bin/sh\nexec "%s" "$@"\n' % tool(variable))
        os.chmod(os.path.join(folder, name), 0o755)
    return environment(PATH=folder + ":" + os.environ["PATH"], **changes)


@suite.case("the ctest example of docs/CI.md runs", 120)
def _(scratch):
    cmake = need("cmake")
    need("ctest")
    source = os.path.join(scratch, "project")
    os.makedirs(source)
    shutil.copy(os.path.join(os.path.dirname(os.path.abspath(__file__)), "service.c"), source)
    with open(os.path.join(source, "CMakeLists.txt"), "w") as file:
        file.write("cmake_minimum_required(VERSION 3.18)\nproject(example C)\n"
                   "include_directories(%s/libtrace/include)\n"
                   "set(CMAKE_C_FLAGS \"-g -O1 -DVERSION=${VERSION}\")\n"
                   "add_executable(service service.c)\n" % os.environ["FT_SOURCE_ROOT"])
        file.write(code_blocks("cmake")[0])
    env = tools_in_path(scratch)
    for version, status in ((0, 0), (2, 8)):
        build = os.path.join(scratch, "build-%d" % version)
        for argv in ([cmake, "-S", source, "-B", build, "-DVERSION=%d" % version],
                     [cmake, "--build", build]):
            run(argv, env=env).check_status(0)
        result = run(["ctest", "--output-on-failure"], env=env, cwd=build).check_status(status)
        check_equal(b"session_open grows by" in result.stdout, version == 2, "output: %r" % result.stdout)


@suite.case("the workflow of docs/CI.md runs, step by step", 120)
def _(scratch):
    workflow = code_blocks("yaml")[0]
    steps = re.findall(r"^( *)- name: ([^\n]*)\n(.*?)(?=^\1- name: |\Z)", workflow, re.M | re.S)
    check(len(steps) >= 4, "steps: %s" % [s[1] for s in steps])
    summary = os.path.join(scratch, "summary.md")
    env = tools_in_path(scratch, GITHUB_STEP_SUMMARY=summary)
    for version, expected in ((0, 0), (2, 1)):
        work = os.path.join(scratch, "work-%d" % version)
        os.makedirs(os.path.join(work, "build"))
        shutil.copy(services[version], os.path.join(work, "build", "service"))
        statuses = {}
        for _, name, body in steps:
            script = re.search(r"^( *)run: \|\n((?:\1  [^\n]*\n|\n)+)", body, re.M)
            if not script or "install" in name.lower() or "build" in name.lower():
                continue
            lines = "".join(line[len(script.group(1)) + 2:] + "\n" for line in script.group(2).splitlines())
            # As GitHub runs it.
            statuses[name] = run(["bash", "-e", "-o", "pipefail", "-c", lines], env=env, cwd=work).status
            if statuses[name] and "always()" not in body:
                break
        check_equal(max(statuses.values()), expected, "statuses of version %d: %s" % (version, statuses))
        with open(os.path.join(work, "fragtrace.sarif")) as file:
            check_sarif(json.load(file))
    with open(summary) as file:
        text = file.read()
    check("passed" in text and "failed" in text, "the job's summary: " + text)


suite.run()
