# SPDX-License-Identifier: MIT
"""From single runs to the tables of compare.py: medians, ratios within a repeat, targets.

A cell is one workload under one tool. What a tool adds is always taken between two runs of the same
repeat of the same slice of time; a median is over those.
"""

import math
import statistics


class Cell:
    """Runs of one workload under one tool, by (slice, repeat)."""

    def __init__(self):
        self.runs, self.over = {}, None

    def values(self, key):
        return [r[key] for r in self.runs.values() if r.get(key) is not None]

    def median(self, key):
        values = self.values(key)
        return statistics.median(values) if values else None


class Figures:
    def __init__(self, document):
        self.workloads, self.tools, self.cells, self.missing = [], [], {}, {}
        for i, piece in enumerate(document["slices"]):
            self.missing.update(piece["missing"])
            for run in piece["runs"]:
                name = run["workload"]
                if name not in self.workloads:
                    self.workloads.append(name)
                if run["tool"] not in self.tools:
                    self.tools.append(run["tool"])
                cell = self.cells.setdefault((name, run["tool"]), Cell())
                if "over" in run:
                    cell.over = run["over"]
                else:
                    cell.runs[i, run["repeat"]] = run
        self.missing = {k: v for k, v in self.missing.items() if k not in self.tools}
        self.facts = {run["workload"]: run for piece in document["slices"] for run in piece["runs"]}

    def cell(self, workload, tool):
        return self.cells.get((workload, tool)) or Cell()

    def cost(self, workload):
        """`wall`, or `cpu`: the clock that tells what a tool costs this program."""
        return self.facts.get(workload, {}).get("cost", "wall")

    def pairs(self, workload, tool, key):
        """(with the tool, untraced) of each repeat that has both."""
        base = self.cell(workload, "untraced").runs
        runs = self.cell(workload, tool).runs
        return [(runs[at][key], base[at][key]) for at in runs if at in base]

    def ratios(self, workload, tool, key):
        return [a / b for a, b in self.pairs(workload, tool, key) if b > 0]

    def best(self, workload, tool, key):
        """The smallest value over the smallest untraced one: on a shared machine the disturbance
        only ever adds. None without both."""
        ours, base = self.cell(workload, tool).values(key), self.cell(workload, "untraced").values(key)
        return min(ours) / min(base) if ours and base else None

    def added(self, workload, tool, key):
        return [a - b for a, b in self.pairs(workload, tool, key)]

    def against(self, workload, tool, key):
        """Median of what Fragtrace adds over what `tool` adds, within a repeat; None if unknown."""
        base, ours = self.cell(workload, "untraced").runs, self.cell(workload, "fragtrace").runs
        theirs = self.cell(workload, tool).runs
        ratios = [(ours[at][key] - base[at][key]) / (theirs[at][key] - base[at][key])
                  for at in ours if at in base and at in theirs and theirs[at][key] > base[at][key]]
        return statistics.median(ratios) if ratios else None

    def per_allocation(self, workload, tool, key):
        """Nanoseconds that the tool adds to an allocation and its free, as one thread sees them
        (wall), or of CPU. The number of allocations is what Fragtrace has counted."""
        if key == "wall" and self.cost(workload) == "cpu":
            return None
        added = self.added(workload, tool, key)
        allocations = self.cell(workload, "fragtrace").median("allocations")
        if not added or not allocations or tool == "untraced":
            return None
        threads = self.facts[workload]["threads"] if key == "wall" else 1
        return statistics.median(added) * threads / allocations * 1e9

    def events(self, workload):
        return self.cell(workload, "fragtrace").median("events")

    def per_event(self, workload, key):
        """Of the cell of Fragtrace: seconds an event, or bytes an event."""
        values = [r[key] / r["events"] for r in self.cell(workload, "fragtrace").runs.values() if r.get("events")]
        return statistics.median(values) if values else None

    def real(self):
        return [w for w in self.workloads if self.facts[w]["real"]]

    def has_own_cpu(self, workload, tool):
        """Whether the CPU of the program can be told from that of the tool beside it: not where the
        tool was put before each process of a tree."""
        return not (self.facts[workload].get("family") and tool.startswith("heaptrack"))


def median(values):
    return statistics.median(values) if values else None


def geometric_mean(values):
    """Of those that are known. What is not above 0 (a cost that is lost in the noise) counts as 0.01."""
    known = [max(v, 0.01) for v in values if v is not None]
    return math.exp(sum(map(math.log, known)) / len(known)) if known else None


def text(value, form="%.2f"):
    return "-" if value is None else form % value


def spread(values, form="%.2f"):
    if not values:
        return "-"
    low, high = form % min(values), form % max(values)
    middle = form % statistics.median(values)
    return middle if len(values) == 1 else "%s (%s-%s)" % (middle, low, high)


def print_table(head, rows, markdown):
    rows = [[str(c) for c in row] for row in rows]
    if markdown:
        print("| " + " | ".join(head) + " |")
        print("|" + "|".join("---" if i < 2 else "--:" for i in range(len(head))) + "|")
        for row in rows:
            print("| " + " | ".join(row) + " |")
    else:
        widths = [max(len(r[i]) for r in [head] + rows) for i in range(len(head))]
        for row in [head] + rows:
            print("  ".join(c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))).rstrip())
    print()


COLUMNS = ["workload", "tool", "runs", "wall s", "x wall", "x best", "finished s", "CPU s", "x CPU", "ns/alloc wall", "ns/alloc CPU", "beside s",
           "beside ns/event", "collector ns/event", "RSS + MiB", "disk MiB", "B/event", "waits", "analysis s"]


def row_of(figures, workload, tool):
    cell = figures.cell(workload, tool)
    if cell.over and not cell.runs:
        return [workload, tool, "0", "over %d" % cell.over] + ["-"] * (len(COLUMNS) - 4)
    events, disk = figures.events(workload), cell.median("disk")
    beside = cell.median("beside")
    if tool in ("untraced", "forward", "gperftools") or not figures.has_own_cpu(workload, tool):
        beside = None
    collector = cell.median("collector")
    analysis = text(cell.median("printer"))
    if cell.median("summary") is not None:
        analysis = "%.2f + %.2f" % (cell.median("summary"), cell.median("leaks"))

    def an_event(value, scale, form):
        return text(value * scale / events if value is not None and events else None, form)

    def ratio(key):
        return "1" if tool == "untraced" else spread(figures.ratios(workload, tool, key))

    rss = median([a - b for a, b in figures.pairs(workload, tool, "rss")])
    best = figures.best(workload, tool, "wall")
    return [workload, tool, "%d" % len(cell.runs),
            text(cell.median("wall"), "%.3f"), ratio("wall"), "1" if tool == "untraced" else text(best),
            text(cell.median("finished"), "%.3f"), text(cell.median("cpu"), "%.3f"), ratio("cpu"),
            text(figures.per_allocation(workload, tool, "wall"), "%.0f"),
            text(figures.per_allocation(workload, tool, "cpu"), "%.0f"),
            text(beside), an_event(beside, 1e9, "%.0f"), an_event(collector, 1e9, "%.0f"),
            text(rss / 2**20 if rss is not None and tool != "untraced" else None, "%.1f"),
            text(disk / 2**20 if disk is not None else None, "%.1f"), an_event(disk, 1, "%.2f"),
            text(cell.median("ring_waits"), "%.0f"), analysis]


def targets(figures):
    """(what must hold, target, aim, measured) for each claim that the runs allow."""
    real, rows = figures.real(), []

    def claim(what, target, aim, measured, form="%.2f"):
        if measured is not None:
            rows.append([what, target, aim, form % measured])

    for tool, what in (("heaptrack-r", "heaptrack -r"), ("heaptrack", "heaptrack in full")):
        for name, clock in (("added time", figures.cost), ("added CPU of the program", lambda w: "cpu")):
            ratios = {w: figures.against(w, tool, clock(w)) for w in figures.workloads
                      if clock(w) == figures.cost(w) or figures.has_own_cpu(w, tool)}
            for w, ratio in ratios.items():
                limit = "-" if tool == "heaptrack" or w == "start-up" else "0.40" if w == "cc1plus" else "0.33"
                claim("%s / that of %s: %s" % (name, what, w), limit, "0.20", ratio)
            claim("%s / that of %s: mean of the real programs" % (name, what), "0.25",
                  "0.20" if tool == "heaptrack-r" else "0.12",
                  geometric_mean([ratio for w, ratio in ratios.items() if w in real]))

    def best_added(workload, tool):
        clock = figures.cost(workload)
        best = figures.best(workload, tool, clock)
        return best - 1 if best is not None else None

    for tool, what in (("heaptrack-r", "heaptrack -r"), ("heaptrack", "heaptrack in full")):
        pairs = [(best_added(w, "fragtrace"), best_added(w, tool)) for w in real]
        claim("added time / that of %s, by each one's fastest runs: mean of the real programs" % what, "0.25",
              "0.20" if tool == "heaptrack-r" else "0.12",
              geometric_mean([a / b for a, b in pairs if a is not None and b]))
    for w, target, aim in (("python3 JSON", "1.80", "1.50"), ("python3 indented", "1.80", "1.50"),
                           ("cc1plus", "1.20", "1.08"), ("sqlite3", "1.12", "1.05"), ("sqlite3 index", "1.12", "1.05")):
        claim("wall / untraced: %s" % w, target, aim, median(figures.ratios(w, "fragtrace", "wall")))
    claim("CPU / untraced: redis-server", "1.20", "-", median(figures.ratios("redis-server", "fragtrace", "cpu")))
    claim("ns added a pair: micro depth 16, wall", "230", "150",
          figures.per_allocation("micro depth 16", "fragtrace", "wall"), "%.0f")
    claim("ns added a pair: micro depth 16, CPU", "230", "150",
          figures.per_allocation("micro depth 16", "fragtrace", "cpu"), "%.0f")
    two = figures.per_allocation("micro 2 threads", "fragtrace", "wall")
    claim("ns added a pair: two threads, for each, wall (no worse than one, with cores to spare)",
          text(figures.per_allocation("micro depth 16", "fragtrace", "wall"), "%.0f"), "-", two, "%.0f")
    claim("ns added a pair: two threads, CPU (that of one beside it)",
          text(figures.per_allocation("micro depth 16", "fragtrace", "cpu"), "%.0f"), "-",
          figures.per_allocation("micro 2 threads", "fragtrace", "cpu"), "%.0f")
    for key, what, target, aim in (("collector", "collector", "100", "60"),
                                   ("beside", "all beside the program, symbols included", "-", "-")):
        nanoseconds = [figures.per_event(w, key) * 1e9 for w in real if figures.events(w)]
        claim(what + ", ns of CPU an event, mean of the real programs", target, aim, geometric_mean(nanoseconds), "%.0f")
    large = [w for w in real if (figures.events(w) or 0) > 1e6]
    claim("bytes an event, mean of the real programs of more than 1 M events", "2.5", "1.8",
          geometric_mean([figures.per_event(w, "disk") for w in large]))
    theirs = [figures.cell(w, "heaptrack").median("disk") for w in large]
    if large and all(theirs):
        claim("the same of heaptrack in full (no addresses, no times)", "-", "-",
              geometric_mean([t / figures.events(w) for t, w in zip(theirs, large)]))
    return rows


def show(document, markdown):
    figures = Figures(document)
    rows = [row_of(figures, w, t) for w in figures.workloads for t in figures.tools if (w, t) in figures.cells]
    print_table(COLUMNS, rows, markdown)
    lost = {w: sum(figures.cell(w, t).values("lost")) for w in figures.workloads for t in figures.tools
            if any(figures.cell(w, t).values("lost"))}
    for name, reason in figures.missing.items():
        print("left out: %s (%s)" % (name, reason))
    for w, n in lost.items():
        print("%d events were lost: %s" % (n, w))
    rows = targets(figures)
    if rows:
        print_table(["figure", "target", "aim", "measured"], rows, markdown)
