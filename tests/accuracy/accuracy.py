#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How often the verdicts on growth are right: scenarios with known truth, and a table of the outcome.

    accuracy.py BUILD [--seeds 101,102,103] [--only NAME,...] [--live SECONDS] [--markdown|--tap] [--verbose]

Each scenario of tests/tools/soak.c is written for each seed and analysed; --live adds the programs of
tests/accuracy/live.c, recorded all at once as a user does it, each for so many seconds. A guilty site counts as found when a
group of that function is called growing; its rate must be within the scenario's tolerance. Any other
group that is called growing is a false leak. The exit status is 1 when a leak is missed, an innocent
site is accused, or a rate is off.

Thresholds were set on seeds 1 to 20; the table in docs/ACCURACY.md is made on 101 to 103.
"""
import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile

VERDICTS = ("growing", "suspect", "unsure", "other")


def verdict_of(document, function):
    """The strongest verdict that names the function, with its rate and rate by operation."""
    best, growth = "other", {}
    for entry in document["groups"] + document["leaks"]:
        if entry["name"] != function:
            continue
        verdict = entry["verdict"] if entry["verdict"] in VERDICTS else "other"
        if VERDICTS.index(verdict) < VERDICTS.index(best):
            best, growth = verdict, entry
    return best, growth


def judge(truth, document):
    """One outcome a site: (function, leak, verdict, relative error of the rate or None, tolerance)."""
    outcomes = []
    for site in truth["sites"]:
        verdict, growth = verdict_of(document, site["function"])
        error = None
        if site["leak"] and verdict == "growing":
            error = growth["rate_bytes_per_s"] / site["rate"] - 1
            if "per_operation" in site:
                if growth["bytes_per_operation"] is None:
                    error = float("inf")
                else:
                    each = growth["bytes_per_operation"] / site["per_operation"] - 1
                    error = max(error, each, key=abs)
        outcomes.append((site["function"], site["leak"], verdict, error, site.get("tolerance")))
    known = {site["function"] for site in truth["sites"]}
    for group in document["groups"]:
        if group["name"] not in known:
            outcomes.append((group["name"], False, group["verdict"], None, None))
    return outcomes


def analyse(fraganalyze, path):
    text = subprocess.run([fraganalyze, "leaks", "--json", "--quiet", "--top", "100000", path], check=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    return json.loads(text)


def soak_runs(build, only, seeds, scratch):
    soak = os.path.join(build, "tests/tools/soak")
    names = subprocess.run([soak, "-l"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    for name in names:
        if only and name not in only:
            continue
        for seed in seeds:
            path = os.path.join(scratch, "soak.frag")
            out = subprocess.run([soak, "-s", str(seed), name, path], check=True, stdout=subprocess.PIPE)
            yield json.loads(out.stdout), path
            os.unlink(path)


LIVE = ("list", "noise", "late", "thread-exit", "freed-at-exit", "wrapper", "consumer", "buffer", "saw",
        "plateau", "child")


def live_runs(build, seconds, only, scratch):
    fragtrace = os.environ.get("FT_FRAGTRACE") or os.path.join(build, "libtrace/launcher/fragtrace")
    live = os.path.join(build, "tests/accuracy/live")
    running = []
    for mode in LIVE:
        if only and "live-" + mode not in only:
            continue
        folder = os.path.join(scratch, mode)
        os.mkdir(folder)
        truth, path = os.path.join(folder, "truth.json"), os.path.join(folder, "live.frag")
        running.append((mode, truth, path, subprocess.Popen(
            [fragtrace, "run", "-o", path, "--", live, mode, str(seconds), truth], cwd=folder,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)))
    for mode, truth, path, process in running:
        process.wait()
        if mode == "child":  # what the child did is in a recording of its own
            folder = os.path.dirname(path)
            others = [os.path.join(folder, name) for name in os.listdir(folder)
                      if name.endswith(".frag") and os.path.join(folder, name) != path]
            path = others[0] if others else path
        with open(truth) as file:
            yield json.load(file), path


class Table:
    def __init__(self):
        self.cells = {(leak, verdict): 0 for leak in (True, False) for verdict in VERDICTS}
        self.scenarios = {}  # name -> [what, found, leaks, worst error, tolerance, accused, innocents]
        self.problems = []

    def add(self, truth, outcomes):
        row = self.scenarios.setdefault(truth["scenario"], [truth["what"], 0, 0, 0.0, 0.0, 0, 0, 0])
        for function, leak, verdict, error, tolerance in outcomes:
            self.cells[leak, verdict if verdict in VERDICTS else "other"] += 1
            place = "%s seed %s: %s" % (truth["scenario"], truth["seed"], function)
            if leak:
                row[2] += 1
                row[1] += verdict == "growing"
                if error is not None:
                    row[3] = max(row[3], error, key=abs)
                    row[4] = max(row[4], tolerance)
                if verdict != "growing":
                    self.problems.append("%s leaks and is called %s" % (place, verdict))
                elif abs(error) > tolerance:
                    self.problems.append("%s: rate off by %+.1f %%" % (place, 100 * error))
            else:
                row[6] += 1
                row[5] += verdict == "growing"
                row[7] += verdict == "suspect"
                if verdict == "growing":
                    self.problems.append("%s is innocent and called growing" % place)

    def print_tap(self):
        print("1..%d" % len(self.scenarios))
        for number, (name, row) in enumerate(self.scenarios.items(), 1):
            mine = [p for p in self.problems if p.startswith(name + " ")]
            print("%sok %d - %s: %s" % ("not " if mine else "", number, name, row[0]))
            for problem in mine:
                print("# " + problem)

    def print(self, markdown):
        line = "| %s | %s | %s | %s | %s |" if markdown else "%-16s %8s %8s %8s %8s"
        print(line % (("truth",) + VERDICTS))
        if markdown:
            print("|---|--:|--:|--:|--:|")
        for leak in (True, False):
            print(line % (("leak" if leak else "no leak",) + tuple(self.cells[leak, v] for v in VERDICTS)))
        print()
        line = "| %s | %s | %s | %s | %s | %s |" if markdown else "%-18s %-6s %-8s %-8s %-9s %s"
        print(line % ("scenario", "found", "rate", "accused", "suspects", "what"))
        if markdown:
            print("|---|--:|--:|--:|--:|---|")
        for name, (what, found, leaks, error, _, accused, innocents, suspects) in self.scenarios.items():
            print(line % (name, "%d/%d" % (found, leaks) if leaks else "-",
                          "%+.1f %%" % (100 * error) if leaks else "-", "%d/%d" % (accused, innocents),
                          suspects or "-", what))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("build")
    parser.add_argument("--seeds", default="101,102,103")
    parser.add_argument("--only", default="")
    parser.add_argument("--live", type=float, default=0)
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--tap", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    options.build = os.path.abspath(options.build)
    fraganalyze = os.path.join(options.build, "analyzer/cli/fraganalyze")
    seeds = [int(seed) for seed in options.seeds.split(",") if seed]
    only = [name for name in options.only.split(",") if name]
    table = Table()
    with tempfile.TemporaryDirectory() as scratch:
        runs = [soak_runs(options.build, only, seeds, scratch)]
        if options.live:
            runs.append(live_runs(options.build, options.live, only, scratch))
        for truth, path in itertools.chain(*runs):
            document = analyse(fraganalyze, path)
            outcomes = judge(truth, document)
            table.add(truth, outcomes)
            if options.verbose:
                for function, leak, verdict, error, _ in outcomes:
                    row = next((r for r in document["leaks"] if r["name"] == function), {})
                    print("%s/%s %s %s %s %s %s" % (
                        truth["scenario"], truth["seed"], function, "LEAK" if leak else "-", verdict,
                        row.get("reason"), "" if error is None else "%+.1f %%" % (100 * error)))
    if options.tap:
        table.print_tap()
        return 1 if table.problems else 0
    table.print(options.markdown)
    for problem in table.problems:
        print("# " + problem, file=sys.stderr)
    return 1 if table.problems else 0


if __name__ == "__main__":
    sys.exit(main())
