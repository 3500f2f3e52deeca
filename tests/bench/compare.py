#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What recording costs, beside other tools, in interleaved runs.

    tests/bench/compare.py --build BUILD [--repeat 5] [--only REGEX] [--tools LIST] [--json FILE [--append]]
    tests/bench/compare.py --from FILE [--markdown]      the table of runs that were made before

Every repeat runs each tool once on the same workload, in an order that rotates from repeat to repeat, so that
a machine whose speed drifts treats all alike; ratios are taken within a repeat, and their medians are printed.
Wall clock, CPU and peak RSS are the program's own, from its start to its end; `beside` is the CPU of what
the tool runs beside it, until that has ended too. The tools:

    untraced     the baseline
    forward      a preloaded library that only forwards
    fragtrace    every event with its full stack, the collector running beside it
    heaptrack-r  the installed heaptrack in its raw mode (`heaptrack -r`): the client's cost alone
    heaptrack    the whole of the heaptrack that the variable HEAPTRACK names (its bin/heaptrack), if any
    gperftools   libtcmalloc with HEAPPROFILE

and, if asked for, fragtrace+fp, +none, +depth8, +free-stacks, +sample, +ring512 (with that option), and heaptrack-file
(the installed heaptrack's library into a plain file, nothing beside it: less than the tool itself does). A tool
that is not installed is left out, and the table says so; one that exceeds --limit is not run again on that
workload.

With --json the single runs are kept; --append adds to the file, so that a table can be made of several slices of
time. docs/PERFORMANCE.md explains the columns.
"""

import argparse
import datetime
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import figures
import tools as all_tools
from workloads import workloads


def machine():
    def line_of(path, start):
        with open(path) as f:
            return next((line.split(":", 1)[1].strip() for line in f if line.startswith(start)), "unknown")

    def version(*argv):
        try:
            return subprocess.run(argv, capture_output=True, text=True).stdout.splitlines()[0]
        except (OSError, IndexError):
            return None

    debian = version("/usr/bin/heaptrack", "--version")
    head = os.environ.get("HEAPTRACK")
    return {"cpu": line_of("/proc/cpuinfo", "model name"), "cpus": os.cpu_count(), "kernel": platform.release().split("-")[0],
            "libc": " ".join(platform.libc_ver()), "compiler": version("gcc", "--version"),
            "python": platform.python_version(), "heaptrack-r": debian,
            "heaptrack": version(head, "--version") if head else None}


class Bench:
    def __init__(self, build, limit):
        self.runner, self.limit = os.path.join(build, "tests/bench/bench-run"), limit

    def measure(self, workload, tool, analyse):
        """Facts of one run; {"over": limit} when it did not end in time."""
        with tempfile.TemporaryDirectory(prefix="fragtrace-bench-") as scratch:
            whole = workload.family and tool.wrapper(scratch)
            env = {} if whole else tool.assignments(scratch)
            argv = list(workload.argv)
            if workload.family:
                argv.append("WRAPPER=" + ("-wrapper " + ",".join(tool.wrapper(scratch)) if whole else ""))
            if whole:
                facts = self.run(workload, argv, env, scratch)
            else:
                begin = time.monotonic()
                with tool.beside(scratch) as beside:
                    facts = self.run(workload, argv, env, scratch)
                if "beside" in beside:
                    facts["beside"] += beside["beside"]
                    facts["finished"] = time.monotonic() - begin
            if facts["timeout"]:
                return {"over": self.limit}
            if facts["status"] != 0:
                with open(os.path.join(scratch, "stderr")) as f:
                    sys.exit("%s under %s: status %d: %s" % (workload.name, tool.name, facts["status"], f.read()[-400:]))
            facts.update(tool.after(scratch, analyse))
            return facts

    def run(self, workload, argv, env, scratch):
        report = os.path.join(scratch, "report")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("FRAGTRACE_") and k != "LD_PRELOAD"}
        assignments = ["%s=%s" % item for item in {**workload.env, **env}.items()]
        with open(os.path.join(scratch, "stdin"), "w+b") as stdin, open(os.path.join(scratch, "stderr"), "wb") as err:
            stdin.write(workload.stdin or b"")
            stdin.seek(0)
            process = subprocess.Popen([self.runner, report, str(self.limit)] + assignments + argv, env=environment,
                                       cwd=scratch, stdin=stdin, stdout=subprocess.DEVNULL, stderr=err)
        facts, failure = {}, None
        try:
            if workload.drive:
                try:
                    facts = workload.drive()
                except subprocess.SubprocessError as error:  # also when the program is ended for its time
                    failure = error
            process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        with open(report) as f:
            facts.update(json.load(f))
        if failure and not facts["timeout"]:
            raise failure
        return facts

    def median_of(self, n, workload, tool, analyse):
        runs = []
        for i in range(n):
            run = self.measure(workload, tool, analyse and i == 0)
            if "over" in run:
                return run
            runs.append(run)
        return {key: statistics.median_low([r[key] for r in runs if key in r]) for key in runs[0]}


def run_slice(options, chosen, runs, keep):
    """Append the runs of one invocation to `runs`, and call keep() after each workload. The order of
    tools rotates: in repeat r the r-th is the first."""
    build = os.path.abspath(options.build)
    bench = Bench(build, options.limit)
    with tempfile.TemporaryDirectory(prefix="fragtrace-bench-") as shared:
        for workload in workloads(build, shared):
            if not re.search(options.only, workload.name):
                continue
            left = list(chosen)
            for repeat in range(options.repeat):
                at = (repeat + options.rotate) % len(left)
                for tool in left[at:] + left[:at]:
                    analyse = options.analyse and repeat == 0
                    facts = bench.median_of(workload.inner, workload, tool, analyse)
                    runs.append({"workload": workload.name, **workload.facts(), "tool": tool.name, "repeat": repeat,
                                 **facts})
                    print("%s, %s: %s" % (workload.name, tool.name,
                                          "over %d s" % facts["over"] if "over" in facts else
                                          "%.3f s" % facts["wall"]), file=sys.stderr)
                    if "over" in facts:
                        left.remove(tool)
            keep()


def write_json(path, document):
    if path:
        with open(path + ".new", "w") as f:
            json.dump(document, f, indent=1)
            f.write("\n")
        os.replace(path + ".new", path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", help="build folder")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--only", default=".", help="workloads whose name this regular expression is found in")
    parser.add_argument("--tools", default=",".join(all_tools.USUAL), help="names, comma-separated")
    parser.add_argument("--limit", type=int, default=60, help="seconds that a run may take")
    parser.add_argument("--no-analysis", dest="analyse", action="store_false",
                        help="do not time the readers (they are timed in the first repeat only)")
    parser.add_argument("--rotate", type=int, default=0, help="how far to rotate the first repeat's order")
    parser.add_argument("--json", metavar="FILE", help="keep the single runs there")
    parser.add_argument("--append", action="store_true", help="add to FILE")
    parser.add_argument("--from", dest="source", metavar="FILE", help="run nothing: print what FILE has")
    parser.add_argument("--markdown", action="store_true", help="tables in Markdown instead of aligned columns")
    options = parser.parse_args()

    if options.source:
        with open(options.source) as f:
            document = json.load(f)
    else:
        if not options.build:
            parser.error("--build or --from is needed")
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
        known = all_tools.tools(os.path.abspath(options.build))
        names = options.tools.split(",")
        for name in names:
            if name not in known:
                parser.error("no tool %s: there are %s" % (name, ", ".join(known)))
        document = {"schema": 1, "slices": []}
        if options.json and options.append and os.path.exists(options.json):
            with open(options.json) as f:
                document = json.load(f)
        now = datetime.datetime.now(datetime.timezone.utc)
        runs = []
        document["slices"].append({
            "date": now.strftime("%Y-%m-%d"), "machine": machine(),
            "missing": {name: known[name].missing for name in names if known[name].missing}, "runs": runs})
        run_slice(options, [known[name] for name in names if not known[name].missing], runs,
                  lambda: write_json(options.json, document))
    figures.show(document, options.markdown)


if __name__ == "__main__":
    main()
