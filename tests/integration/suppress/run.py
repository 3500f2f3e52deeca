#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Suppression files mean to fraganalyze what they mean to Memcheck and to LeakSanitizer.

Usage: run.py LEAKY LIBRARY_USE [LEAKY_LSAN] (TAP on stdout). The oracle of each case is the tool itself, run
over the same program with the same file.
"""

import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from fttest import (Suite, analyze, analyze_json, check, check_equal, environment, launcher,  # noqa: E402
                    need, run, skip, tool)

suite = Suite()
leaky, library_use = sys.argv[1:3]
leaky_lsan = sys.argv[3] if len(sys.argv) > 3 and os.path.exists(sys.argv[3]) else None
del sys.argv[1:3 + bool(leaky_lsan)]

SIZES = {1, 31, 101, 102, 103, 104, 105, 106, 107, 108, 109}


def record(scratch):
    path = os.path.join(scratch, "a.frag")
    run(launcher(path, [leaky])).check_status(0)
    return path


def write(scratch, text):
    path = os.path.join(scratch, "a.supp")
    with open(path, "w") as file:
        file.write(text)
    return path


def left(recording, supp):
    """The sizes of our leaks that are not suppressed."""
    document = analyze_json("leaks", recording, "--suppressions", supp)
    sizes = {leak["bytes"] for leak in document["leaks"]}
    told = document["suppressed"]
    listed = sum(leak["blocks"] for leak in document["leaks"]) + document["other"]["blocks"]
    whole = analyze_json("summary", recording)["totals"]["live_blocks"]
    check_equal(listed + told["blocks"], whole, "blocks listed and suppressed")
    check_equal(sum(rule["blocks"] for rule in told["rules"]), told["blocks"], "blocks by rule")
    return sizes & SIZES


def line_of(text):
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "leaky.cc")) as file:
        return [text in line for line in file].index(True) + 1


def entry(*lines):
    return "{\n   name\n   Memcheck:Leak\n%s}\n" % "".join("   %s\n" % line for line in lines)


VALGRIND = (
    entry("fun:malloc", "fun:leak_plain"),
    entry("fun:malloc", "...", "fun:deep"),
    entry("...", "fun:recurse", "fun:recurse", "fun:recurse"),
    entry("fun:?alloc"),
    entry("fun:malloc", "obj:*/leaky"),
    entry("fun:malloc", "fun:strdup"),
    entry("fun:_Znam", "fun:_ZN4shop5ShelfIcE4takeEm"),
    entry("fun:_Znam", "fun:_ZN4shop5Shelf*4take*"),
    entry("fun:_Znwm", "fun:_ZN4shop*"),
    entry("fun:_Zn?m", "src:leaky.cc:%d" % line_of("return new T[n];")),
    entry("fun:calloc", "src:leaky.cc") + entry("match-leak-kinds: all", "fun:_Znwm", "..."),
    entry("fun:leak_plain"),
    "{\n n\n Memcheck:Cond\n fun:malloc\n}\n{\n n\n Helgrind:Race\n fun:malloc\n}\n" + entry("fun:calloc"),
)


@suite.case("Memcheck leaves out the same blocks", 250)
def _(scratch):
    valgrind = need("valgrind")
    recording = record(scratch)
    before = None
    for text in ("",) + VALGRIND:
        supp = write(scratch, text)
        result = run([valgrind, "-q", "--leak-check=full", "--show-leak-kinds=all",
                      "--suppressions=" + supp, leaky]).check_status(0)
        # 1 bytes in 1 blocks are ...; 106 (53 direct, 53 indirect) bytes in ...
        sizes = {int(n.replace(",", "")) for n in
                 re.findall(rb"([0-9,]+) (?:\([^)]*\) )?bytes in \d+ blocks are".decode(),
                            result.stderr.decode())} & SIZES
        check_equal(left(recording, supp), sizes, "left after\n%s" % text)
        if before is None:
            check_equal(sizes, SIZES, "what Memcheck sees without suppressions")
            before = sizes
        elif "fun:leak_plain" not in text or "fun:malloc" in text:
            check(sizes < before, "without effect:\n%s" % text)


LSAN = ("leak_plain", "^leak_plain$", "eak_pl", "le*_pl*n", "^le*n$", "^le*plain$", "deep", "^deep$", "deep$",
        "bin/nowhere", "leaky.cc", "malloc", "calloc", "*", "", "l*k_p*n", "leak?plain", "Leak_plain",
        "shop::", "^shop::Shelf<char>::take", "Shelf<*>::take(unsigned long)", "take$", "recurse",
        "unknown", "strdup", "^main$", "shop::hidden(char const")


@suite.case("LeakSanitizer leaves out the same blocks", 120)
def _(scratch):
    if not leaky_lsan:
        skip("the compiler has no LeakSanitizer")
    recording = record(scratch)
    effective = 0
    for pattern in LSAN:
        supp = write(scratch, "# a comment\n\n  leak:%s  \n" % pattern)
        # Its own unwinder needs no frame pointers this way: strdup has none.
        result = run([leaky_lsan], env=environment(
            LSAN_OPTIONS="suppressions=%s:print_suppressions=0:fast_unwind_on_malloc=0" % supp))
        text = result.stderr.decode()
        if "LeakSanitizer has encountered a fatal error" in text:
            skip("LeakSanitizer may not trace here")
        sizes = {int(n) for n in re.findall(r"leak of (\d+) byte", text)} & SIZES
        check_equal(left(recording, supp), sizes, "left after leak:%s" % pattern)
        effective += sizes != SIZES
    check(effective >= 15, "only %d patterns had an effect" % effective)


@suite.case("what is printed suppresses it, here and in Memcheck", 120)
def _(scratch):
    recording = record(scratch)
    for format in ("lsan", "valgrind"):
        printed = analyze("leaks", recording, "--top", "1000", "--print-suppressions", format).stdout
        supp = write(scratch, printed.decode())
        check_equal(left(recording, supp), set(), "left after %s" % printed.decode())
        text = analyze("leaks", recording, "--suppressions", supp).stdout.decode()
        check("Suppressed: " in text, "not told: " + text)
        check("suppressed " in analyze("summary", recording, "--suppressions", supp).stdout.decode(), "summary")
        findings = analyze_json("report", recording, "--suppressions", supp)["summary"]["findings"]
        check_equal([f["params"]["sites"] for f in findings if f["code"] == "suppressed"], [11], "in the report")
    valgrind = need("valgrind")
    result = run([valgrind, "-q", "--leak-check=full", "--show-leak-kinds=all", "--suppressions=" + supp,
                  leaky]).check_status(0)
    check(b"bytes in" not in result.stderr, "Memcheck still sees %s with %s" % (
        result.stderr.decode(), printed.decode()))


@suite.case("what the C and C++ libraries keep for themselves is system", 60)
def _(scratch):
    path = os.path.join(scratch, "a.frag")
    run(launcher(path, [library_use]), env=environment(LC_ALL="C.UTF-8", TZ="Europe/Berlin")).check_status(0)
    leaks = analyze_json("leaks", path, "--top", "1000")["leaks"]
    kept = [leak for leak in leaks if leak["system"]]
    check(len(kept) >= 5, "only %d sites are system" % len(kept))
    rest = [(leak["bytes"], [f["function"] for f in leak["stack"][:8]]) for leak in leaks if not leak["system"]]
    check_equal([size for size, _ in rest], [777], "what is not (%s)" % rest)
    last = [leak["system"] for leak in leaks]
    check_equal(last, sorted(last), "system sites come last")


@suite.case("a bad file is status 3 and names the line", 30)
def _(scratch):
    recording = record(scratch)
    good = write(scratch, "leak:leak_plain\n")
    bad = os.path.join(scratch, "bad.supp")
    with open(bad, "w") as file:
        file.write("leak:x\n\nrace:y\n")
    for verb in ("leaks", "summary", "errors", "report", "check"):
        result = run([tool("FRAGANALYZE"), verb, "--suppressions", good, "--suppressions", bad,
                      recording]).check_status(3)
        check("bad.supp:3: " in result.stderr.decode(), "stderr: %r" % result.stderr)
        check_equal(result.stdout, b"", "stdout")
    missing = run([tool("FRAGANALYZE"), "leaks", "--suppressions", bad + "x", recording]).check_status(3)
    check(b"bad.suppx: No such file" in missing.stderr, "stderr: %r" % missing.stderr)


if __name__ == "__main__":
    suite.run()
