#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The analyzer's speed: replaying beside decoding, and beside heaptrack_print on the same program.

Usage: analysis.py [--events N] [--live N] [--recording FILE] [--only WHAT] BUILD_ROOT

  replay         events a second with the leak passes, with the passes of the layout, and of decoding alone in the
                 same run, all on one processor; peak memory. Of a synthetic recording, or of --recording.
  instructions   instructions an event (callgrind), counted as the difference of two lengths of the same traffic, so
                 that what does not depend on the length drops out
  summary        how soon `fraganalyze summary` has the first numbers, and how long the answer takes
  heaptrack      processor time of `fraganalyze leaks` and of `fraganalyze report --json` (everything) against
                 heaptrack_print, each on its own recording of the same program
  scale          only when asked for: three days on a virtual clock, --events of them (a billion takes 8 minutes to write and
                 5 GB), with the index that a collector writes: time and memory of answers about all of it, about ten minutes in
                 its middle, and of every analysis of it. Of --recording, if there is one

Ratios within one run hold on a busy machine, absolute figures do not. Judges by no clock.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

LEAKS = ("leaks", "sites", "quality", "summary")
LAYOUT = ("frag", "map", "quality", "summary")
ALL_LAYOUT = ("frag", "map", "buddy", "compact", "quality", "summary")
PYTHON = ("import json\n"
          "data = [{'id': i, 'name': 'x' * (i % 60), 'v': [i * 0.5, i * 0.25]} for i in range(20000)]\n"
          "for _ in range(12):\n"
          "    kept = json.loads(json.dumps(data))\n")
SQL = ("create table t(a, b, c); "
       "with recursive n(x) as (select 1 union all select x + 1 from n where x < 200000) "
       "insert into t select x, hex(randomblob(30)), x * 7 % 1000 from n; "
       "create index i on t(b); delete from t where a % 3 = 0; select count(*) from t;")
PROGRAMS = (("python3 JSON", ["python3", "-c", PYTHON], {"PYTHONMALLOC": "malloc"}),
            ("sqlite3", ["sqlite3", ":memory:", SQL], {}))


def measured(argv, **options):
    """Seconds of the clock, of the processor, and peak memory in KiB."""
    begin = time.monotonic()
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **options)
    error = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError("%s: status %d: %s" % (argv[0], process.returncode, error.decode()[-400:]))
    return time.monotonic() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss


def bench_replay(build, recording, passes):
    argv = [os.path.join(build, "tests/bench/bench_replay"), recording, *passes]
    return subprocess.run(["taskset", "-c", "1", *argv], check=True, stdout=subprocess.PIPE).stdout.decode().strip()


def make(build, scratch, events, live, name):
    path = os.path.join(scratch, name)
    subprocess.run([os.path.join(build, "tests/tools/make_recording"), "-n", str(events), "-l", str(live), path], check=True)
    return path


def replay(build, recording):
    for name, passes in (("leaks", LEAKS), ("frag, map", LAYOUT), ("frag, map, buddy, compact", ALL_LAYOUT)):
        print("  %-26s %s" % (name + ":", bench_replay(build, recording, passes)), flush=True)


def instructions(argv):
    done = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *argv], check=True,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return int(re.search(r"Collected : (\d+)", done.stderr.decode()).group(1))


def count(build, scratch):
    lengths = (300000, 900000)
    files = [make(build, scratch, n, 50000, "%d.frag" % n) for n in lengths]
    program = os.path.join(build, "tests/bench/bench_replay")
    decoding = None
    for name, mode, passes in (("decoding", "-d", ()), ("leaks", "-r", LEAKS), ("frag, map", "-r", LAYOUT)):
        short, long = (instructions([program, mode, path, *passes]) for path in files)
        each = (long - short) / (lengths[1] - lengths[0])
        decoding = decoding or each
        print("  %-26s %6.0f instructions an event, %.2f x decoding" % (name + ":", each, each / decoding), flush=True)


def summary(build, recording):
    analyzer = os.path.join(build, "analyzer/cli/fraganalyze")
    first, _, _ = measured([analyzer, "summary", "--quick", recording])
    whole, cpu, memory = measured([analyzer, "summary", recording])
    print("  first numbers after %.2f s, the answer after %.1f s (processor %.1f s, %d MiB)" %
          (first, whole, cpu, memory / 1024))


DAYS_NS = 3 * 86400 * 10 ** 9


def scale(build, scratch, recording, events, live):
    analyzer = os.path.join(build, "analyzer/cli/fraganalyze")
    if not recording:
        recording = os.path.join(scratch, "days.frag")
        # The gap is the mean; a timeline's row each ten seconds.
        subprocess.run([os.path.join(build, "tests/tools/make_recording"), "-n", str(events), "-l", str(live), "-I", "4194304",
                        "-g", str(DAYS_NS // events), "-T", str(10 ** 10), recording], check=True)
    print("  %.2f GB" % (os.path.getsize(recording) / 1e9))
    window = ["--from", "36h", "--to", "36h10m"]
    for what in (["summary"], ["leaks", "--fast"], ["leaks", *window], ["frag", *window], ["leaks", "--jobs=1"], ["leaks"],
                 ["threads"], ["sites"], ["frag"], ["report"]):
        more = ["-o", os.path.join(scratch, "days.html")] if what == ["report"] else []
        clock, cpu, memory = measured([analyzer, *what, *more, recording])
        print("  %-34s %7.1f s, %7.1f s of processor, %5d MiB" % (" ".join(what), clock, cpu, memory / 1024), flush=True)


def against_heaptrack(build, scratch):
    preload = "/usr/lib/heaptrack/libheaptrack_preload.so"
    interpret = "/usr/lib/heaptrack/libexec/heaptrack_interpret"
    if not (os.path.exists(preload) and shutil.which("heaptrack_print") and shutil.which("zstd")):
        print("  heaptrack is not installed")
        return
    analyzer = os.path.join(build, "analyzer/cli/fraganalyze")
    for name, argv, changes in PROGRAMS:
        path, raw, folded = (os.path.join(scratch, "p" + end) for end in (".frag", ".raw", ".zst"))
        for old in (path, raw, folded):
            if os.path.exists(old):
                os.unlink(old)
        argv = [os.path.realpath(shutil.which(argv[0])), *argv[1:]]  # not a wrapper's
        env = {**os.environ, **changes}
        subprocess.run([os.path.join(build, "libtrace/launcher/fragtrace"), "run", "-o", path, "--", *argv], check=True,
                       env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL,
                       env={**env, "LD_PRELOAD": preload, "DUMP_HEAPTRACK_OUTPUT": raw})
        with open(raw, "rb") as source, open(folded, "wb") as target:
            pipe = subprocess.Popen([interpret], stdin=source, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            subprocess.run(["zstd", "-q", "-c"], check=True, stdin=pipe.stdout, stdout=target)
            pipe.wait()
        measured([analyzer, "summary", "--quick", path])  # the file is in memory
        leaks, whole = measured([analyzer, "leaks", path]), measured([analyzer, "report", "--json", path])
        printed = measured(["heaptrack_print", folded])
        print("  %-13s leaks %.2f s, report --json %.2f s, heaptrack_print %.2f s of processor: ratios %.2f and %.2f" %
              (name, leaks[1], whole[1], printed[1], leaks[1] / printed[1], whole[1] / printed[1]), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20000000)
    parser.add_argument("--live", type=int, default=1000000)
    parser.add_argument("--recording")
    parser.add_argument("--only", choices=("replay", "instructions", "summary", "heaptrack", "scale"), action="append")
    parser.add_argument("build")
    arguments = parser.parse_args()
    build, only = os.path.abspath(arguments.build), arguments.only or ("replay", "instructions", "summary", "heaptrack")
    with tempfile.TemporaryDirectory(prefix="fragtrace-bench-") as scratch:
        recording = arguments.recording
        if not recording and {"replay", "summary"} & set(only):
            recording = make(build, scratch, arguments.events, arguments.live, "long.frag")
            print("%d events, up to %d live blocks" % (arguments.events, arguments.live))
        for name, run in (("replay", lambda: replay(build, recording)), ("instructions", lambda: count(build, scratch)),
                          ("summary", lambda: summary(build, recording)),
                          ("heaptrack", lambda: against_heaptrack(build, scratch)),
                          ("scale", lambda: scale(build, scratch, arguments.recording, arguments.events, arguments.live))):
            if name in only:
                print(name, flush=True)
                run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
