#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""fraganalyze as a user types it: exit statuses, messages, JSON, windows, SQL.

Usage: run.py MAKE_RECORDING (TAP on stdout). The recordings are synthetic.
"""

import csv
import fcntl
import io
import json
import os
import pty
import re
import shlex
import resource
import shutil
import signal
import sqlite3
import stat
import struct
import subprocess
import sys
import termios

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from fttest import (Suite, analyze, analyze_json, check, check_equal, environment, run,  # noqa: E402
                    shorten, tool)

suite = Suite()
make_recording = os.path.abspath(sys.argv[1])
del sys.argv[1]  # what is left chooses cases

VERBS = ("summary", "leaks", "sites", "threads", "frag", "errors")
KEYS = {
    "summary": {"program", "recording", "from_ns", "to_ns", "duration_ns", "complete", "totals", "rss",
                "threads", "verdict", "findings"},
    "leaks": {"leaks", "groups", "other", "process"},
    "sites": {"sites", "largest", "lifetimes", "mapped", "pools", "reallocs", "usage"},
    "threads": {"threads", "free_matrix"},
    "frag": {"at_ns", "metrics", "residency", "waterfall", "regions", "sites", "sets", "examples",
             "remedies", "verdict"},
    "errors": {"errors", "more"},
}
LEAK_KEYS = {"site", "name", "verdict", "class", "system", "bytes", "blocks", "rate_bytes_per_s",
             "rate_low", "rate_high", "rate_blocks_per_s", "bytes_per_operation",
             "blocks_per_operation", "resolvable_bytes_per_s", "reason", "group", "score", "first_ns", "last_ns", "threads", "allocated_bytes",
             "allocations", "frees", "peak_bytes", "temporary", "stack"}
FRAME_KEYS = {"function", "file", "line", "module", "offset", "inlined"}


def record(scratch, *arguments, name="a.frag"):
    path = os.path.join(scratch, name)
    run([make_recording, "-n", "60000", "-L", "50", "-g", "100000", *arguments, path]).check_status(0)
    return path


def tool_run(*arguments, **keywords):
    return run([tool("FRAGANALYZE"), *arguments], **keywords)


def check_refused(path, status, *words):
    """Every verb says why in one line, and prints nothing else."""
    for verb in VERBS + ("query", "resolve", "report"):
        extra = ["SELECT 1"] if verb == "query" else []
        if verb == "report":
            extra = ["-o", path + ".html"]
        result = tool_run(verb, path, *extra).check_status(status)
        check_equal(result.stdout, b"", "stdout of %s" % verb)
        text = result.stderr.decode()
        check_equal(text.count("\n"), 1, "lines on stderr of %s (%s)" % (verb, text))
        for word in ("fraganalyze: ",) + words:
            check(word in text, "%s does not say '%s': %s" % (verb, word, text))


# ---- what is no recording --------------------------------------------------------------------------

@suite.case("a missing file is status 3", 60)
def _(scratch):
    check_refused(os.path.join(scratch, "none.frag"), 3, "none.frag", "No such file")


@suite.case("what is no recording is status 3", 60)
def _(scratch):
    texts = {"empty": b"", "text": b"hello\n" * 1000, "elf": open("/proc/self/exe", "rb").read(4096)}
    for name, content in texts.items():
        path = os.path.join(scratch, name + ".frag")
        with open(path, "wb") as file:
            file.write(content)
        check_refused(path, 3, name + ".frag")
        with open(path, "rb") as file:
            check_equal(file.read(), content, "the file after being refused")
    other = os.path.join(scratch, "other.frag")
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE event_chunk(a)")
    check_refused(other, 3, "other.frag")
    check_refused(scratch, 3)


@suite.case("a newer format is status 3 and says so", 60)
def _(scratch):
    path = record(scratch)
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    check_refused(path, 3, "format 99")


@suite.case("a truncated file is status 3", 60)
def _(scratch):
    path = record(scratch)
    size = os.path.getsize(path)
    for share in (0.05, 0.5, 0.9):
        cut = os.path.join(scratch, "cut.frag")
        with open(path, "rb") as source, open(cut, "wb") as target:
            target.write(source.read(int(size * share)))
        for verb in VERBS:
            result = tool_run(verb, cut).check_status(3)
            check(b"cut.frag" in result.stderr, "no name in: %r" % result.stderr)


@suite.case("a recording that was cut off is read, with a warning", 60)
def _(scratch):
    path = record(scratch, "-c")
    for verb in VERBS:
        status = 1 if verb == "errors" else 0  # the program had some
        result = analyze(verb, path, status=status)
        check(b"cut off" in result.stderr, "%s does not warn: %r" % (verb, result.stderr))
        check(b"cut off" not in analyze(verb, path, "--json", status=status).stdout or verb == "summary",
              "%s warns on stdout" % verb)
    summary = analyze_json("summary", path)
    check_equal(summary["complete"], False, "complete")
    check_equal(summary["recording"]["state"], "cut_off", "state")
    check(summary["totals"]["events"] > 0, "nothing of it was read")


# ---- the command line ------------------------------------------------------------------------------

@suite.case("usage errors are status 2 and say what is wrong", 60)
def _(scratch):
    path = record(scratch)
    for arguments, word in (
            ([], "no recording"),
            (["nonsense"], "neither a verb nor a file"),
            (["leaks"], "needs a recording"),
            (["leaks", path, "more"], "too many"),
            (["leaks", "--by=size", path], "--by"),
            (["leaks", "--top", "0", path], "--top"),
            (["leaks", "--top", "9x", path], "--top"),
            (["summary", "--from", "soon", path], "--from"),
            (["summary", "--from", "5s", "--to", "2s", path], "ends before"),
            (["summary", "--from", "9h", path], "ends before"),
            (["summary", "--by=peak", path], "--by"),
            (["query", path], "needs a query"),
            (["query", "--json", "--csv", path, "SELECT 1"], "exclude"),
            (["leaks", "--color=maybe", path], "--color")):
        result = tool_run(*arguments).check_status(2)
        check(word in result.stderr.decode(), "%r: %r" % (arguments, result.stderr))
        check_equal(result.stdout, b"", "stdout of %r" % arguments)


@suite.case("completions know every verb, every option, and words that are one of a few", 60)
def _(scratch):
    general = tool_run("--help").check_status(0).stdout.decode()
    verbs = re.findall(r"^  ([a-z]+) ", general, re.M)
    options = {verb: re.findall(r"--([a-z-]+)", tool_run(verb, "--help").check_status(0).stdout.decode().split("Example:")[0])
               for verb in verbs}
    scripts = {}
    for shell in ("bash", "zsh", "fish"):
        scripts[shell] = os.path.join(scratch, shell)
        with open(scripts[shell], "wb") as file:
            file.write(tool_run("completion", shell).check_status(0).stdout)
        # Shells that are not there are not missed: bash is what is asked below.
        if shutil.which(shell):
            check_equal(run([shell, "-n", scripts[shell]]).check_status(0).stderr, b"", "syntax for " + shell)
        with open(scripts[shell], encoding="utf-8") as file:
            text = file.read()
        for name in {name for names in options.values() for name in names}:
            check(re.search(r"(--|-l )%s\b" % name, text), "%s does not know --%s" % (shell, name))

    def complete(*words):
        code = "source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _fraganalyze; printf '%s\\n' \"${COMPREPLY[@]}\""
        return run(["bash", "-c", code, "-", scripts["bash"], "fraganalyze", *words],
                   cwd=scratch).check_status(0).stdout.decode().split()

    check_equal(sorted(complete("")), sorted(verbs + ["--help", "--version", "bash", "fish", "zsh"]), "verbs, and files")
    for verb in verbs:
        check_equal(set(complete(verb, "--")) - {"--version", "bash", "zsh", "fish"},
                    {"--" + name for name in options[verb]} | set(w for w in complete(verb, "--redact=") if w),
                    "options of " + verb)
    check_equal(complete("leaks", "--by", "p"), ["peak"], "an argument")
    check_equal(complete("leaks", "--by", "=", "a"), ["allocated"], "an argument behind =")
    check_equal(complete("export", "--format", "sp"), ["speedscope"], "a format")
    check_equal(complete("check", "--format", "j"), ["junit"], "the same option of another verb")
    check_equal(complete("leaks", "--from", ""), [], "nothing is known of times")
    check_equal(complete("completion", "z"), ["zsh"], "shells")
    check_equal(complete("leaks", "ba"), ["bash"], "files")
    check(b"bash, zsh, fish" in tool_run("completion", "csh").check_status(2).stderr, "an unknown shell")


@suite.case("help fits a terminal and has an example", 60)
def _(scratch):
    for arguments in ([], *[[v] for v in VERBS + ("report", "query", "resolve")]):
        text = tool_run(*arguments, "--help").check_status(0).stdout.decode()
        lines = text.splitlines()
        check(len(lines) <= 24, "%r: %d lines" % (arguments, len(lines)))
        check(max(map(len, lines)) <= 100, "%r: a line of %d" % (arguments, max(map(len, lines))))
        check("Example" in text, "%r: no example" % arguments)
    check(tool_run("--version").check_status(0).stdout.startswith(b"fraganalyze "), "--version")


@suite.case("a file alone is its summary, in 25 lines", 60)
def _(scratch):
    path = record(scratch)
    bare, named = tool_run(path).check_status(0), analyze("summary", path)
    check_equal(bare.stdout, named.stdout, "summary without the verb")
    check_equal(named.stderr, b"", "stderr")
    check(len(named.stdout.splitlines()) <= 25, "more than 25 lines:\n%s" % named.stdout.decode())
    check(b"next: fraganalyze " in named.stdout, "no next command")
    lines = named.stdout.decode().splitlines() + analyze("frag", path).stdout.decode().splitlines()
    for line in lines:
        check(len(line) <= 80 or path in line, "%d columns: %s" % (len(line), line))
        check_equal(line, line.rstrip(), "blanks at the end of a line")


def on_terminal(columns, *arguments, **changes):
    """What the tool prints on a terminal of so many columns, and its status."""
    primary, secondary = pty.openpty()
    fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    env = environment(**{"TERM": "xterm", "LC_ALL": "C.UTF-8", **changes})
    process = subprocess.Popen([tool("FRAGANALYZE"), *arguments], env=env, stdout=secondary,
                               stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    os.close(secondary)
    output = b""
    try:
        while block := os.read(primary, 65536):
            output += block
    except OSError:  # the other end is closed
        pass
    os.close(primary)
    return output.decode().replace("\r\n", "\n"), process.wait()


def last_screen(text):
    """What is left on the terminal where lines were taken back."""
    return re.sub(r"(?s)^.*\x1b\[[0-9]+A\r\x1b\[J", "", text)


def without_colour(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@suite.case("a summary fits the terminal, whatever it has to say", 60)
def _(scratch):
    os.chdir(scratch)  # a short path: that of the file is never cut
    plain = os.path.basename(record(scratch))
    long = os.path.basename(record(scratch, "-t", "32", name="b.frag"))
    with sqlite3.connect(long) as db:
        db.execute("UPDATE process SET exe = ?, argv = ?", ("/opt/" + "x" * 200, json.dumps(["/opt/" + "y" * 200])))
        db.execute("INSERT INTO loss(first_ns, last_ns, thread, n_events, reason) VALUES(1, 2, 0, 5, 'ring_full')")
        for kind in ("double_free", "interior_free", "invalid_free", "bad_size"):
            db.execute("INSERT INTO error(time_ns, kind, address, thread, stack, alloc_stack, free_stack)"
                       " VALUES(1000000, ?, 64, 1, 1, 0, 0)", (kind,))
    supp = os.path.join(scratch, "a.supp")
    with open(supp, "w") as file:
        file.write("leak:nothing\n")
    for columns in (72, 80, 132, 250):
        for path in (plain, long):
            for options in ([], ["--suppressions", supp]):
                text, status = on_terminal(columns, *options, path)
                check_equal(status, 0, "status")
                lines = without_colour(last_screen(text)).splitlines()
                check(len(lines) <= 25, "%d lines at %d columns:\n%s" % (len(lines), columns, text))
                for line in lines:
                    check(len(line) <= columns, "%d columns of %d: %s" % (len(line), columns, line))
    text, _ = on_terminal(80, "--suppressions", supp, plain)
    check("suppressed" in text, "nothing about suppressions: " + text)


@suite.case("a summary begins with what the recorder counted, and says no more without a replay", 60)
def _(scratch):
    path = record(scratch, "-t", "3")
    full, quick = analyze_json("summary", path), analyze_json("summary", path, "--quick")
    check_equal(set(quick), set(full), "keys")
    for key in full["totals"]:
        if key != "peak_ns":
            check_equal(quick["totals"][key], full["totals"][key], key)
    with sqlite3.connect(path) as db:
        before = db.execute("SELECT coalesce(max(time_ns), 0) FROM timeline WHERE time_ns < ?",
                            (quick["totals"]["peak_ns"],)).fetchone()[0]
    check(before <= full["totals"]["peak_ns"] <= quick["totals"]["peak_ns"],
          "the peak is not in its interval: %r, %r" % (full["totals"], quick["totals"]))
    for key in set(full) - {"totals", "verdict", "findings"}:
        check_equal(quick[key], full[key], key)
    check_equal(quick["verdict"]["code"], "not_replayed", "verdict")

    # Events that can't be read are no matter: only the tables are looked at.
    broken = record(scratch, "-t", "3", name="broken.frag")
    with sqlite3.connect(broken) as db:
        db.execute("UPDATE event_chunk SET data = zeroblob(100)")
    check_equal(analyze_json("summary", broken, "--quick")["totals"], quick["totals"], "without events")
    analyze("summary", broken, status=3)
    for window in (("--from", "1ms"), ("--to", "1ms")):
        analyze("summary", path, "--quick", *window, status=2)

    # On a terminal the numbers come first and are then taken back; what is left is the answer.
    text, status = on_terminal(80, path)
    check_equal(status, 0, "status")
    check("as the recorder counted" in text, "no glance: " + text)
    left = without_colour(last_screen(text))
    check("as the recorder counted" not in left, "the glance is still there: " + left)
    without, _ = on_terminal(80, "summary", "--quiet", path)
    check("\x1b[J" not in without, "a glance although --quiet")
    check_equal(left, without_colour(without), "with and without a glance")
    taken = re.search(r"\x1b\[([0-9]+)A\r\x1b\[J", text)
    check_equal(int(taken.group(1)), text[:taken.start()].count("\n"), "lines taken back")
    # A broken recording keeps what was shown, and says what is wrong.
    text, status = on_terminal(80, broken)
    check_equal((status, "\x1b[J" in text, "as the recorder counted" in text), (3, False, True), "broken")


@suite.case("what a summary suggests can be typed", 60)
def _(scratch):
    os.chdir(scratch)
    names = ["a.frag", "it's $HOME.frag"]
    for name in names:
        record(scratch, name=name)
        for text in (on_terminal(80, name)[0], tool_run(name).stdout.decode()):
            found = re.findall(r"^(?:next:|     ) (fraganalyze [a-z]+ .*?)(?:   (?:\x1b\[2m)?# .*)?$",
                               text, re.M)
            check_equal(len(found), 3, "commands in:\n" + text)
            check_equal(len(set(found)), 3, "commands, each once")
            for line in found:
                words = shlex.split(line)
                check_equal(words[-1], name, "the file in " + line)
                extra = ["-o", "-"] if words[1] == "report" else []
                tool_run(*words[1:], *extra).check_status(1 if words[1] == "errors" else 0)


@suite.case("a terminal gets colour unless somebody minds", 60)
def _(scratch):
    path = record(scratch)
    check("\x1b[" in on_terminal(80, "leaks", path)[0], "no colour on a terminal")
    check("\x1b[" in on_terminal(80, "leaks", path, NO_COLOR="")[0], "an empty NO_COLOR is none")
    check("\x1b[" in on_terminal(80, "leaks", "--color=always", path, NO_COLOR="1")[0], "--color wins")
    for changes in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        check("\x1b[" not in on_terminal(80, "leaks", path, **changes)[0], "colour with %r" % changes)
    check("\x1b[" not in on_terminal(80, "leaks", "--color=never", path, CLICOLOR_FORCE="1")[0], "--color wins")


@suite.case("colour and characters beyond ASCII are for those who want them", 60)
def _(scratch):
    path = record(scratch)
    utf8 = environment(LC_ALL="C.UTF-8")
    plain = tool_run("summary", path, env=utf8).check_status(0).stdout
    check(b"\033" not in plain, "colour in a pipe")
    check("\u2588" in plain.decode(), "no bars in UTF-8")
    ascii_only = tool_run("summary", "--ascii", path, env=utf8).check_status(0).stdout
    check(all(byte < 128 for byte in ascii_only), "--ascii")
    check(all(byte < 128 for byte in tool_run("summary", path, env=environment(LC_ALL="C")).stdout),
          "LC_ALL=C")
    check(b"\033[" in tool_run("leaks", "--color=always", path).stdout, "--color=always")
    check(b"\033[" in tool_run("leaks", path, env=environment(CLICOLOR_FORCE="1")).stdout,
          "CLICOLOR_FORCE")
    check(b"\033[" not in tool_run("leaks", path, env=environment(CLICOLOR_FORCE="1", NO_COLOR="1")).stdout,
          "NO_COLOR")
    check(re.search(rb"\n *\d{5,} ", tool_run("leaks", "--units=bytes", path).stdout), "--units=bytes")


@suite.case("a reader that goes away ends it quietly", 60)
def _(scratch):
    path = record(scratch)
    process = subprocess.Popen([tool("FRAGANALYZE"), "leaks", "--json", path], env=environment(),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    check_equal(process.stderr.read(), b"", "stderr")
    process.stderr.close()
    check_equal(process.wait(), -signal.SIGPIPE, "status")


@suite.case("a full disk is an error, not a short file", 60)
def _(scratch):
    path = record(scratch)
    with open("/dev/full", "wb") as full:
        process = subprocess.run([tool("FRAGANALYZE"), "leaks", "--json", path], env=environment(),
                                 stdout=full, stderr=subprocess.PIPE)
    check_equal(process.returncode, 1, "status")
    check(b"No space left" in process.stderr, "stderr: %r" % process.stderr)


@suite.case("SIGINT is status 130", 60)
def _(scratch):
    path = record(scratch, "-n", "1500000", name="long.frag")
    process = subprocess.Popen([tool("FRAGANALYZE"), "frag", path], env=environment(),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    # Once it maps the recording it has its handler; from then on it has a second's work.
    while process.poll() is None:
        try:
            if any("long.frag" in os.readlink("/proc/%d/fd/%s" % (process.pid, fd))
                   for fd in os.listdir("/proc/%d/fd" % process.pid)):
                break
        except OSError:
            pass
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate()
    check_equal((process.returncode, stdout), (130, b""), "status and stdout (%r)" % stderr)


# ---- JSON ------------------------------------------------------------------------------------------

@suite.case("--json holds the documented keys and agrees with itself", 120)
def _(scratch):
    path = record(scratch, "-t", "4")
    documents = {verb: json.loads(analyze(verb, path, "--json", status=verb == "errors").stdout)
                 for verb in VERBS}
    for verb, keys in KEYS.items():
        missing = keys - set(documents[verb])
        check(not missing, "%s lacks %s" % (verb, missing))
    totals = documents["summary"]["totals"]
    leaks = documents["leaks"]["leaks"]
    check_equal(sum(l["bytes"] for l in leaks) + documents["leaks"]["other"]["bytes"],
                totals["live_bytes"], "bytes of all sites")
    check_equal(sum(l["blocks"] for l in leaks) + documents["leaks"]["other"]["blocks"],
                totals["live_blocks"], "blocks of all sites")
    for leak in leaks:
        check_equal(set(leak), LEAK_KEYS, "keys of a leak")
        check_equal(leak["class"], "unknown", "class")
        check(0 <= leak["score"] <= 100, "score %r" % leak["score"])
        for frame in leak["stack"]:
            check_equal(set(frame), FRAME_KEYS, "keys of a frame")
    matrix = documents["threads"]["free_matrix"]
    check_equal(sum(map(sum, matrix["bytes"])),
                totals["bytes_allocated"] - totals["live_bytes"], "bytes of the free matrix")
    again = analyze("leaks", path, "--json").stdout
    check_equal(analyze("leaks", path, "--json").stdout, again, "the same question again")


@suite.case("the same bytes on one processor and on several, run for run", 120)
def _(scratch):
    path = record(scratch, "-n", "800000", "-l", "20000", "-g", "20000", "-L", "3")
    first = tool_run("leaks", "--json", path).check_status(0).stdout
    check(json.loads(first)["groups"], "something grows: groups are in the comparison")
    check_equal(tool_run("leaks", "--json", path).check_status(0).stdout == first, True, "the second run")
    one = subprocess.run(["taskset", "-c", str(min(os.sched_getaffinity(0))), tool("FRAGANALYZE"), "leaks", "--json",
                          path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
    check_equal((one.decode() if isinstance(first, str) else one) == first, True, "on one processor")


@suite.case("the same table by another figure", 60)
def _(scratch):
    path = record(scratch)
    totals = analyze_json("summary", path)["totals"]
    for by, key, total in (("peak", "peak_bytes", "peak_bytes"),
                           ("allocated", "allocated_bytes", "bytes_allocated"),
                           ("temporary", "temporary", None)):
        document = analyze_json("leaks", path, "--by=" + by, "--top", "100000")
        values = [site[key] for site in document["sites"]]
        check_equal(document["by"], by, "by")
        check_equal(values, sorted(values, reverse=True), "order of " + by)
        if total:
            check_equal(sum(values), totals[total], "sum of " + by)
        check_equal(len(analyze_json("leaks", path, "--by=" + by, "--top", "3")["sites"]), 3, "--top 3")
        check(by[:4].upper() in analyze("leaks", path, "--by=" + by).stdout.decode().upper(), by)


@suite.case("sites are sorted by what was asked for", 60)
def _(scratch):
    path = record(scratch)
    totals = analyze_json("summary", path)["totals"]
    document = analyze_json("sites", path, "--top", "100000")
    check_equal(sum(s["peak_bytes"] for s in document["sites"]["sites"]), totals["peak_bytes"], "the peak")
    check_equal(sum(b["blocks"] for b in document["lifetimes"]["freed"]) + document["reallocs"]["total"]["calls"],
                totals["frees"], "frees: ends of lives, and reallocs")
    check_equal(sum(b["blocks"] for b in document["lifetimes"]["live"]), totals["live_blocks"], "live blocks")
    check_equal(sum(b["blocks"] for b in document["usage"]["sizes"]), totals["allocations"], "allocations")
    check_equal(sum(s["usable_bytes"] for s in document["usage"]["sites"]),
                sum(b["usable_bytes"] for b in document["usage"]["sizes"]), "usable bytes")
    for sort in ("peak", "allocated", "temporary", "live", "count", "realloc", "largest"):
        lines = tool_run("sites", "--sort", sort, "--units=bytes", "--top", "5", path).check_status(0).stdout.decode()
        figures = [float(re.sub(r"[ a-zA-Z]", "", line[:10])) * (1000 if "k" in line[:10] else 1)
                   for line in lines.splitlines() if re.match(r" *[0-9.]+( [kM])? ", line) and line[9] != " " and "more" not in line]
        check_equal(len(figures), 5, "rows by %s:\n%s" % (sort, lines))
        check_equal(figures, sorted(figures, reverse=True), "order by " + sort)


@suite.case("a window sees its own events only", 60)
def _(scratch):
    path = record(scratch)
    whole = analyze_json("summary", path)
    parts = [analyze_json("summary", path, "--to", "2s"),
             analyze_json("summary", path, "--from", "2000000001ns", "--to", "4s"),
             analyze_json("summary", path, "--from", "4000000001ns")]
    for key in ("events", "allocations", "frees", "bytes_allocated"):
        check_equal(sum(p["totals"][key] for p in parts), whole["totals"][key], key + " of three windows")
    check_equal(parts[2]["totals"]["live_bytes"], whole["totals"]["live_bytes"], "live at the end")
    check_equal(max(p["totals"]["peak_bytes"] for p in parts), whole["totals"]["peak_bytes"], "peak")
    with sqlite3.connect(path) as db:
        db.executemany("INSERT INTO mark(time_ns, seq, kind, label) VALUES(?, 0, 'user', ?)",
                       [(1000000000, "warm"), (1500000000, "warm"), (3000000000, "done")])
    db.close()
    marked = analyze_json("summary", path, "--from", "warm", "--to", "done")
    check_equal((marked["from_ns"], marked["to_ns"]), (1000000000, 3000000000), "a window between marks")
    back = analyze_json("summary", path, "--from", "-1s")
    check_equal(back["from_ns"], whole["to_ns"] - 1000000000, "--from -1s")
    check_equal(analyze_json("summary", path, "--from", "0.5s")["from_ns"],
                500000000, "--from 0.5s")


# ---- SQL -------------------------------------------------------------------------------------------

@suite.case("query answers in text, CSV and JSON", 60)
def _(scratch):
    path = record(scratch)
    events = analyze_json("summary", path)["totals"]["events"]
    count = "SELECT count(*) AS n FROM event"
    check_equal(json.loads(tool_run("query", "--json", path, count).check_status(0).stdout),
                {"schema": 1, "columns": ["n"], "rows": [[events]]}, "JSON")
    odd = "SELECT 'a,\"b\"' AS \"x,y\", NULL AS n, 1.5 AS f, x'00ff' AS b;"
    rows = list(csv.reader(io.StringIO(tool_run("query", "--csv", path, odd).stdout.decode(), newline="")))
    check_equal(rows, [["x,y", "n", "f", "b"], ['a,"b"', "", "1.5", "X'00ff'"]], "CSV")
    check_equal(json.loads(tool_run("query", "--json", path, odd).stdout)["rows"],
                [['a,"b"', None, 1.5, "X'00ff'"]], "JSON of odd values")
    text = tool_run("query", path, "SELECT 'x\x1b[31m' AS a, 12 AS number UNION SELECT 'y', 345").stdout
    check(b"\033" not in text, "an escape sequence reached the terminal")
    check_equal([len(line) for line in text.splitlines()][1:], [len(text.splitlines()[0])] * 2, "alignment")
    many = tool_run("query", path, "SELECT seq FROM event LIMIT 5000").stdout
    check_equal(len(many.splitlines()), 5001, "lines of a long result")


@suite.case("query only reads, one statement at a time", 60)
def _(scratch):
    path = record(scratch)
    before = open(path, "rb").read()
    for sql, status, word in (
            ("DELETE FROM meta", 2, ""),
            ("DROP TABLE meta", 2, ""),
            ("SELECT 1; SELECT 2", 2, "one statement"),
            ("", 2, "no statement"),
            ("/* nothing */", 2, "no statement"),
            ("SELEKT 1", 2, "syntax error"),
            ("SELECT * FROM nowhere", 2, "nowhere"),
            ("ATTACH '%s/evil' AS e" % scratch, 2, "authorized"),
            ("SELECT load_extension('x')", 2, "")):
        result = tool_run("query", path, sql).check_status(status)
        check(word in result.stderr.decode(), "%s: %r" % (sql, result.stderr))
    check_equal(open(path, "rb").read() == before, True, "the recording is as it was")
    check_equal(os.listdir(scratch), ["a.frag"], "files")


# ---- report ----------------------------------------------------------------------------------------

@suite.case("report writes one file and overwrites nothing", 120)
def _(scratch):
    path = record(scratch)
    out = os.path.join(scratch, "out.html")
    result = analyze("report", path, "-o", out)
    check_equal(result.stdout.decode().strip(), out, "stdout")
    first = open(out, "rb").read()
    check(first.startswith(b"<!") and b"</html>" in first, "no HTML: %s" % shorten(first))
    result = analyze("report", path, "-o", out, status=2)
    check(b"-f overwrites" in result.stderr, "stderr: %r" % result.stderr)
    with open(out, "w") as file:
        file.write("mine")
    analyze("report", path, "-f", "-o", out)
    # Only a regular file is replaced: a link stays one, a device is written to.
    link, pipe = os.path.join(scratch, "link.html"), os.path.join(scratch, "pipe.html")
    os.symlink(os.path.basename(out), link)
    analyze("report", path, "-f", "-o", link)
    check(os.path.islink(link), "the link was replaced")
    os.mkfifo(pipe)
    through = os.path.join(scratch, "through.html")
    with open(through, "wb") as file:
        reader = subprocess.Popen(["cat", pipe], stdout=file)
    analyze("report", path, "-f", "-o", pipe)
    check_equal(reader.wait(), 0, "cat")
    check(b"</html>" in open(through, "rb").read(), "nothing came through the pipe")
    check(stat.S_ISFIFO(os.stat(pipe).st_mode), "the pipe was replaced")
    check_equal(open(out, "rb").read() == first, True, "the same recording, the same bytes")
    check_equal(tool_run("report", path, "-o", "-").check_status(0).stdout == first, True, "-o -")
    analyze("report", path)
    files = ["a.frag", "a.html", "link.html", "out.html", "pipe.html", "through.html"]
    check_equal(sorted(os.listdir(scratch)), files, "files")
    analyze("report", path, "-o", os.path.join(scratch, "no/such/folder.html"), status=1)

    whole = analyze_json("report", path)
    for section in KEYS["sites"]:
        check(section in whole, "no section %s in report --json" % section)
    for verb, keys in KEYS.items():
        check(verb == "sites" or keys <= set(whole[verb]), "%s of report --json has %s" % (verb, sorted(whole[verb])))
    tool_run("report", path, "--json", "-o", out).check_status(2)


@suite.case("memory stays bounded", 60)
def _(scratch):
    path = record(scratch, "-n", "1000000", name="long.frag")

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (256 << 20, 256 << 20))
    process = subprocess.run([tool("FRAGANALYZE"), "leaks", path], env=environment(), preexec_fn=limit,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    check_equal((process.returncode, process.stderr), (0, b""), "within 256 MiB")


@suite.case("frag and map: views of one moment", 60)
def views(scratch):
    recording = record(scratch)
    frag = analyze_json("frag", recording)
    series = analyze_json("frag", recording, "--series")["columns"]
    check_equal(len(series["frag.uf_index"]), 11 * len(series["frag.time_ns"]), "uf_index")
    check_equal(len(series["frag.pin_shapley"]),
                len(frag["sites"]) * len(series["frag.pin_time_ns"]), "pin_shapley")
    columns = analyze_json("map", recording)["columns"]
    check_equal(len(columns["frag.bin_live"]), len(columns["frag.bin_resident"]), "bins")
    for options in (("--sites",), ("--pages",), ("--at", "peak")):
        check(analyze("frag", recording, *options).stdout, "frag %s prints nothing" % options[0])
    svg = os.path.join(scratch, "map.svg")
    analyze("map", recording, "--svg", svg)
    with open(svg) as file:
        check(file.read().rstrip().endswith("</svg>"), "the SVG has no end")
    analyze("map", recording, "--svg", svg, status=1)
    analyze("map", recording, "--svg", svg, "--force")


suite.run()
