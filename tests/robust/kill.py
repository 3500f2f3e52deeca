#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""SIGKILL of the program, of the collector, or of both at random moments (TAP).

test-witness counts its own calls in a file. Afterwards each recording opens; with the collector alive
it has every call that the books say had returned; with the collector dead it has the calls up to a
moment and none after it, says that it was cut off, and the program ended as if nothing had been.
Both are killed in one moment where a control group can be (as the kernel does with a memory.oom.group).

KILL_RUNS runs (10), and a fifth as many of both together, divided evenly among what is killed, how it was started and the phase in which it
is killed; KILL_SEED (1) gives the moments, KILL_JOBS (4) runs are under way at a time. With
KILL_LOSS_MS, a collector's death may cost no more than what was done in so many milliseconds; how
much it did cost is printed in any case.
"""

import collections
import concurrent.futures
import contextlib
import itertools
import json
import mmap
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from fttest import Failed, Suite, analyze_json, check, check_equal, environment, kill_group, launcher, query, tool  # noqa: E402
from recordings import recordings_in  # noqa: E402
from robust import helper, opened, rows_of, warn  # noqa: E402
from witness import BOOKS, ENDING, FIRST_SIZE, FORKING, LANE_SIZES, N_CHILDREN, N_RESIDUES, N_THREADS, OUTPUT, STATUS, STEADY, Lane, processes_of  # noqa: E402

RUNS = int(os.environ.get("KILL_RUNS", "10"))
SEED = int(os.environ.get("KILL_SEED", "1"))
JOBS = int(os.environ.get("KILL_JOBS", "4"))
LOSS_MS = int(os.environ.get("KILL_LOSS_MS", "0"))

PHASES = ("start-up", "steady", "fork", "commit", "shutdown")
TARGETS = ("program", "collector")
STARTS = ("preload", "launcher")
Plan = collections.namedtuple("Plan", "number phase target start steady_ms delay commit")
suite = Suite()


def plans(targets, runs):
    rng = random.Random(SEED)
    for number, (start, phase, target) in zip(range(runs), itertools.cycle(
            (STARTS[(p + t + turn) % 2], PHASES[p], targets[t])
            for turn in range(2) for p in range(len(PHASES)) for t in range(len(targets)))):
        steady_ms = rng.randrange(300, 2500) if phase != "commit" else 2500
        longest = {"start-up": 0.08, "steady": steady_ms / 1000, "fork": 0.3, "commit": 0.01,
                   "shutdown": 0.015 if target == "program" else 0.04}
        yield Plan(number, phase, target, start, steady_ms, rng.uniform(0, longest[phase]), rng.randrange(1, 3))


def kill_group_of(pids, name):
    """All of them at once: those in a control group of their own. False: there can be none."""
    for root in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
        group = os.path.join(root, name)
        if not os.path.exists(os.path.join(root, "cgroup.procs")):
            continue
        try:
            os.mkdir(group)
            for pid in pids:
                with contextlib.suppress(ProcessLookupError), open(os.path.join(group, "cgroup.procs"), "w") as file:
                    file.write(str(pid))
            with open(os.path.join(group, "cgroup.kill"), "w") as file:
                file.write("1")
        except OSError:
            return False
        finally:
            for _ in range(100):
                with contextlib.suppress(OSError):
                    os.rmdir(group)
                if not os.path.exists(group):
                    break
                time.sleep(0.02)
        return True
    return False


class Books:
    """The program's counts, as they are now."""

    def __init__(self, path):
        with open(path, "w+b") as file:
            file.truncate(BOOKS.size)
            self.map = mmap.mmap(file.fileno(), BOOKS.size)
        self.history = []  # (time, calls of malloc that had returned, by lane)

    def phase(self):
        return BOOKS.unpack(self.map[:])[1]

    def pid(self):
        return BOOKS.unpack(self.map[:])[0]

    def lanes(self):
        numbers = BOOKS.unpack(self.map[:])[2:]
        return [Lane(*numbers[i:i + 5]) for i in range(0, len(numbers), 5)]

    def note(self):
        now = time.monotonic()
        if not self.history or now - self.history[-1][0] >= 0.01:
            self.history.append((now, [lane.returned for lane in self.lanes()]))


class Run:
    def __init__(self, plan, folder):
        self.plan, self.folder = plan, folder
        self.books = Books(os.path.join(folder, "books"))
        self.end = time.monotonic() + 60
        self.together = False
        self.in_time = False  # the target lived when it was killed
        self.loss_ms = None
        self.n_recordings = 0

    def wait(self, what, condition, pause=0.002):
        while not condition():
            check(time.monotonic() < self.end, "waited in vain for " + what)
            self.books.note()
            time.sleep(pause)

    def wal(self):
        found = []
        for path in recordings_in(self.folder):
            with contextlib.suppress(OSError):
                status = os.stat(path + "-wal")
                found.append((path, status.st_size, status.st_mtime_ns))
        return found

    def moment(self, process):
        """Wait until it is time to kill."""
        def over():
            return process.poll() is not None

        at = {"start-up": 0, "steady": STEADY, "fork": FORKING, "commit": STEADY, "shutdown": ENDING}[self.plan.phase]
        self.wait("phase %d" % at, lambda: self.books.phase() >= at or over(), 0.001)
        if self.plan.phase == "commit":
            for _ in range(self.plan.commit + 1):  # the file's first page is the first change
                before = self.wal()
                self.wait("a commit", lambda: self.wal() != before or over(), 0.0005)
        end = time.monotonic() + self.plan.delay
        self.wait("the moment", lambda: time.monotonic() >= end, 0.0005)

    def kill(self, process):
        comm = "fragtrace-colle" if self.plan.target == "collector" else "test-witness"
        if self.plan.target == "program" and self.plan.start == "preload":
            pids = [process.pid] if process.poll() is None else []
        else:
            found = []
            if self.plan.phase == "start-up":
                self.wait(comm, lambda: found.extend(processes_of(self.folder, comm)) or found
                          or process.poll() is not None)
                if self.plan.delay > 0.04:  # not all at its very first instructions
                    time.sleep(self.plan.delay - 0.04)
            pids = found or list(processes_of(self.folder, comm))
            if self.plan.target == "program":
                pids = [pid for pid in pids if pid == self.books.pid() or not self.books.pid()]
        self.killed_at = time.monotonic()
        if self.plan.target == "both":
            pids = pids + list(processes_of(self.folder, "fragtrace-colle"))
            self.in_time = bool(pids)
            self.together = kill_group_of(pids, "ft-kill-%d-%d" % (os.getpid(), self.plan.number))
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.in_time = True

    def go(self):
        argv = [helper("test-witness"), os.path.join(self.folder, "books"), str(self.plan.steady_ms)]
        env = environment(FRAGTRACE_OUTPUT=os.path.join(self.folder, "%p.frag"), FRAGTRACE_SYMBOLIZE="0",
                          FRAGTRACE_MIN_EVENTS="0")
        if self.plan.start == "preload":
            env["LD_PRELOAD"] = tool("PRELOAD")
        else:
            argv = launcher(env["FRAGTRACE_OUTPUT"], argv)
        process = subprocess.Popen(argv, cwd=self.folder, env=env, stdin=subprocess.DEVNULL, start_new_session=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            self.moment(process)
            self.kill(process)
            self.wait("the end of the program", lambda: process.poll() is not None)
            self.stdout, self.stderr = process.communicate(timeout=20)
            self.status = process.returncode
            self.wait("the end of the collector",
                      lambda: not list(processes_of(self.folder, "fragtrace-colle")), 0.02)
        finally:
            kill_group(process)
            for pid in processes_of(self.folder, "fragtrace-colle"):
                os.kill(pid, signal.SIGKILL)
        self.check_program()
        self.check_recordings()

    def check_program(self):
        killed = (-signal.SIGKILL, 128 + signal.SIGKILL)
        if self.plan.target != "collector" and self.status in killed:
            return
        check_equal(self.status, STATUS, "status of the program (%r)" % self.stderr)
        check_equal(self.stdout, OUTPUT, "output of the program")
        if self.plan.start == "preload":
            check_equal(self.stderr, b"", "what the program wrote to stderr")

    def check_recordings(self):
        collector_dead = self.plan.target != "program" and self.in_time
        recorded = [(0, 0)] * (N_THREADS + N_CHILDREN)
        lanes = self.books.lanes()
        whole = set()  # pids whose recordings say that they are complete
        for path in recordings_in(self.folder):
            self.n_recordings += 1
            summary = analyze_json("summary", path)
            with opened(path) as db:
                pid, = db.execute("SELECT pid FROM process").fetchone() or (None,)
            if summary["complete"]:
                whole.add(pid)
            else:
                check(collector_dead, "%s is not complete: %s" % (path, summary["recording"]))
            found = self.found(path)
            for number, lane in enumerate(lanes):
                if lane.pid and lane.pid == pid and number in found:
                    recorded[number] = found[number]
        for number, (lane, (births, deaths)) in enumerate(zip(lanes, recorded)):
            what = "lane %d: %r, recorded %d births and %d deaths" % (number, lane, births, deaths)
            check(births <= lane.begun and deaths <= lane.dying, "more than there was, " + what)
            if not collector_dead or lane.pid in whole:
                check(births >= lane.returned and deaths >= lane.freed, "lost, " + what)
        if collector_dead:
            self.loss_ms = self.loss([births for births, _ in recorded])
            check(not LOSS_MS or self.loss_ms <= LOSS_MS, "%d ms were lost" % self.loss_ms)

    def loss(self, births):
        """What was done in how many milliseconds before the collector's death is missing."""
        pairs = [(at, returned) for at, returned in self.books.history if at <= self.killed_at]
        for at, returned in reversed(pairs):
            if all(n <= b for n, b in zip(returned[:N_THREADS], births)):
                return (self.killed_at - at) * 1000
        return (self.killed_at - pairs[0][0]) * 1000 if pairs else 0

    @staticmethod
    def found(path):
        """Births and deaths by lane; the births must be the lane's first ones, without a gap."""
        rows = rows_of(query(path, "SELECT requested, count(*) AS n, count(died_seq) AS died FROM allocation"
                                   " WHERE requested >= %d AND requested < %d GROUP BY requested" % (
                                       FIRST_SIZE, FIRST_SIZE + (N_THREADS + N_CHILDREN) * LANE_SIZES)))
        by_lane = collections.defaultdict(dict)
        for row in rows:
            lane, residue = divmod(int(row["requested"]) - FIRST_SIZE, LANE_SIZES)
            by_lane[lane][residue] = (int(row["n"]), int(row["died"]))
        totals = {}
        for lane, counts in by_lane.items():
            births = sum(n for n, _ in counts.values())
            for residue in range(N_RESIDUES):
                expected = births // N_RESIDUES + (residue < births % N_RESIDUES)
                check_equal(counts.get(residue, (0, 0))[0], expected,
                            "%s, lane %d of %d births, residue %d" % (path, lane, births, residue))
            totals[lane] = (births, sum(died for _, died in counts.values()))
        return totals


def go_all(scratch, targets, runs):
    def one(plan):
        folder = os.path.join(scratch, "run-%d" % plan.number)
        os.mkdir(folder)
        run, failure = Run(plan, folder), None
        try:
            run.go()
            if not os.environ.get("FT_KEEP"):
                shutil.rmtree(folder, ignore_errors=True)
        except Failed as error:
            failure = str(error)
        except Exception:
            failure = traceback.format_exc()
        return plan, run, failure

    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        results = list(pool.map(one, plans(targets, runs)))
    for phase, target in itertools.product(PHASES, targets):
        mine = [(run, failure) for plan, run, failure in results if (plan.phase, plan.target) == (phase, target)]
        if not mine:
            continue
        losses = sorted(run.loss_ms for run, _ in mine if run.loss_ms is not None)
        warn("%-9s %-9s: %3d runs, %3d killed alive, %3d recordings, %d failed%s" % (
            phase, target, len(mine), sum(run.in_time for run, _ in mine), sum(run.n_recordings for run, _ in mine),
            sum(failure is not None for _, failure in mine),
            "; missing ms: median %d, most %d" % (losses[len(losses) // 2], losses[-1]) if losses else ""))
    failed = ["%s\n%s" % (json.dumps(plan._asdict()), failure) for plan, _, failure in results if failure]
    check(not failed, "%d of %d runs failed\n%s" % (len(failed), runs, "\n".join(failed)))
    return [run for _, run, _ in results]


@suite.case("%d times SIGKILL of the program or the collector (seed %d)" % (RUNS, SEED), max(120, RUNS * 4))
def kill(scratch):
    go_all(scratch, TARGETS, RUNS)


@suite.case("program and collector killed together, as a memory.oom.group is", max(120, RUNS))
def together(scratch):
    runs = go_all(scratch, ("both",), max(2, RUNS // 5))
    warn("in a control group: %d of %d" % (sum(run.together for run in runs), len(runs)))


suite.run()
