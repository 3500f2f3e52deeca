#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Going on in another file while the program runs (TAP).

test-witness counts its own calls in a file (see witness.c); a block's size says whose it is. What all
files of a run hold together is what the books say, each file knows the blocks that it frees, and the
last one has what lives at the end. KILL_SEED (1) gives the moments at which collectors are killed.
"""

import collections
import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from fttest import Suite, analyze_json, check, check_equal, environment, kill_group, query, run, tool, wait_for  # noqa: E402
from recordings import recordings_in  # noqa: E402
from robust import Image, complete, helper, rows_of  # noqa: E402
from witness import FIRST_SIZE, LANE_SIZES, N_CHILDREN, N_RESIDUES, N_THREADS, STATUS, Books, processes_of  # noqa: E402

N_LIVE = 64  # of a thread, as in witness.c
SEED = int(os.environ.get("KILL_SEED", "1"))
suite = Suite()


class Witness:
    def __init__(self, scratch, **settings):
        self.folder = scratch
        self.books = Books(scratch + "/books")
        settings.setdefault("FRAGTRACE_SYMBOLIZE", "0")
        settings.setdefault("FRAGTRACE_OUTPUT", scratch + "/%p.frag")
        self.process = subprocess.Popen(
            [helper("test-witness"), self.books.path, "0"], cwd=scratch, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment(LD_PRELOAD=tool("PRELOAD"), **settings))
        self.books.wait_begun()
        wait_for("the collector", lambda: self.ctl("stats", status=None).status == 0)

    def ctl(self, *words, verb="ctl", status=0):
        result = run([tool("FRAGTRACE"), verb, str(self.process.pid), *words])
        return result if status is None else result.check_status(status)

    def finish(self):
        self.books.end()
        check_equal(self.process.wait(), STATUS, "status of the program")

    def recordings(self):
        """Of the program alone, in order."""
        name = "%d." % self.process.pid
        own = [path for path in recordings_in(self.folder) if os.path.basename(path).startswith(name)]
        return sorted(own, key=lambda path: int((os.path.basename(path).split(".")[1:-1] or ["1"])[0]))


@contextlib.contextmanager
def witness(scratch, **settings):
    w = Witness(scratch, **settings)
    try:
        yield w
    finally:
        kill_group(w.process)


def lane_of(size):
    return (size - FIRST_SIZE) // LANE_SIZES


def blocks(path):
    """The program's own blocks: (size, stack, thread, born_ns, died_seq)."""
    rows = rows_of(query(path, "SELECT requested, stack, thread, born_ns, born_seq, died_seq FROM allocation"
                         " WHERE requested >= %d AND requested < %d" % (
                             FIRST_SIZE, FIRST_SIZE + N_THREADS * LANE_SIZES)))
    return [{key: None if value is None else int(value) for key, value in row.items()} for row in rows]


def check_parts(w, paths, whole):
    """`whole`: all events are in the files."""
    lanes = w.books.lanes()[:N_THREADS]
    born, died, threads = collections.Counter(), collections.Counter(), collections.defaultdict(set)
    next_seq, live = 0, {}
    for number, path in enumerate(paths):
        image = Image(path)
        begin_seq, begin_ns = (int(image.meta.get(key, 0)) for key in ("begin_seq", "begin_ns"))
        check_equal(begin_seq, next_seq, "first event of %s" % path)
        summary = analyze_json("summary", path)
        next_seq += summary["totals"]["events"]
        check_equal(summary["totals"]["events"], int(image.meta["events_written"]), "events of %s" % path)
        check_equal(analyze_json("summary", path, "--quick")["totals"]["live_bytes"],
                    summary["totals"]["live_bytes"], "live by the tables of %s" % path)
        quality = analyze_json("report", path)["quality"]
        check_equal((quality["unknown_frees"], quality["overlaps"], quality["lost_events"]), (0, 0, 0),
                    "the ledger of %s" % path)
        check_equal(summary["program"]["exit_kind"], "rotated" if number + 1 < len(paths) else "exit", path)
        check_equal(image.meta.get("continues"), os.path.basename(paths[number - 1]) if number else None, path)
        if not whole:
            continue
        rows = blocks(path)
        carried = [row for row in rows if row["born_seq"] < begin_seq]
        check_equal({row["born_seq"]: row["requested"] for row in carried}, live, "carried into %s" % path)
        check(all(row["born_ns"] <= begin_ns for row in carried), "they are older")
        for row in rows:
            lane = lane_of(row["requested"])
            born[lane] += row["born_seq"] >= begin_seq
            died[lane] += row["died_seq"] is not None
            threads[lane].add(row["thread"])
            check(row["stack"], "a block without a stack in %s" % path)
        live = {row["born_seq"]: row["requested"] for row in rows if row["died_seq"] is None}
    if not whole:
        return
    check_equal([born[lane] for lane in range(N_THREADS)], [lane.returned for lane in lanes], "births in all files")
    check_equal([died[lane] for lane in range(N_THREADS)], [lane.freed for lane in lanes], "deaths in all files")
    check(all(len(serials) == 1 for serials in threads.values()), "each has one thread: %r" % threads)
    expected = collections.Counter(
        FIRST_SIZE + number * LANE_SIZES + call % N_RESIDUES
        for number, lane in enumerate(lanes) for call in range(max(0, lane.returned - N_LIVE), lane.returned))
    check_equal(collections.Counter(live.values()), expected, "what lives at the end")


def rotate_three_times(w):
    """Names of the files; each has a mark of its own, and is final when the answer comes."""
    paths = []
    for number in range(3):
        w.books.work()
        w.ctl("in file %d" % number, verb="mark")
        answer = json.loads(w.ctl("rotate").stdout)
        if paths:
            check_equal(answer["closed"], paths[-1], "the file that was closed")
        else:
            paths.append(answer["closed"])
        check(complete(answer["closed"]) and not os.path.exists(answer["closed"] + "-wal"), "it is not final")
        paths.append(answer["recording"])
    w.books.work()
    w.ctl("in file 3", verb="mark")
    check_equal(json.loads(w.ctl("stats").stdout)["lost_events"], 0, "lost")
    w.finish()
    wait_for("the last file", lambda: complete(paths[-1]))
    for number, path in enumerate(paths):
        check_equal([label for kind, label, *_ in Image(path).marks if kind == "user"], ["in file %d" % number], path)
    return paths


@suite.case("three rotations: nothing is lost, nothing is counted twice, and each file knows its blocks", 120)
def three(scratch):
    with witness(scratch) as w:
        paths = rotate_three_times(w)
    check_equal(w.recordings(), paths, "files")
    check_parts(w, paths, True)
    # The program's children came of the last file, and of the blocks in it.
    children = [path for path in recordings_in(scratch) if path not in paths]
    check(len(children) <= N_CHILDREN, "children: %r" % children)
    for path in children:
        check_equal(Image(path).parent, paths[-1], "the parent of %s" % path)
        check(analyze_json("report", path)["quality"]["inherited_blocks"] >= N_THREADS * N_LIVE, "what it inherited")


@suite.case("three rotations within a budget", 120)
def budget(scratch):
    with witness(scratch, FRAGTRACE_MAX_SIZE="1M") as w:
        paths = rotate_three_times(w)
    check_parts(w, paths, True)


@suite.case("a file that is closed has its names when the answer comes", 60)
def names(scratch):
    with witness(scratch, FRAGTRACE_SYMBOLIZE=None) as w:
        w.books.work()
        closed = json.loads(w.ctl("rotate").stdout)["closed"]
        rows = rows_of(query(closed, "SELECT count(*) AS n FROM symbol WHERE function = 'batch'"))
        check(int(rows[0]["n"]) > 0, "no name of the program's function")
        w.finish()


@suite.case("paused, the next file says so, and blocks from before are seen to go", 60)
def paused(scratch):
    with witness(scratch) as w:
        w.books.work()
        w.ctl("pause")
        answer = json.loads(w.ctl("rotate").stdout)
        w.books.work()
        w.ctl("resume")
        w.books.work()
        w.finish()
        wait_for("the last file", lambda: complete(answer["recording"]))
    check_equal([mark[0] for mark in Image(answer["closed"]).marks], ["pause"], "marks before")
    check_equal([mark[0] for mark in Image(answer["recording"]).marks], ["pause", "resume"], "marks after")
    check_equal(analyze_json("report", answer["recording"])["quality"]["unknown_frees"], 0, "unknown frees")


@suite.case("where the next file can't be made, the recording goes on as it was", 60)
def refused(scratch):
    os.mkdir(scratch + "/out")
    with witness(scratch, FRAGTRACE_OUTPUT=scratch + "/out/w.frag") as w:
        w.books.work()
        os.rename(scratch + "/out", scratch + "/elsewhere")
        answer = w.ctl("rotate", status=125)
        check(b"out/w" in answer.stderr, "stderr: %r" % answer.stderr)
        os.rename(scratch + "/elsewhere", scratch + "/out")
        w.books.work()
        w.finish()
        wait_for("the file", lambda: complete(scratch + "/out/w.frag"))
    check_parts(w, [scratch + "/out/w.frag"], True)


def kill_around(scratch, rng):
    with witness(scratch) as w:
        w.books.work()
        w.ctl("rotate")
        w.books.work()
        collectors = list(processes_of(scratch, "fragtrace-colle"))
        check_equal(len(collectors), 1, "collectors")
        ask = subprocess.Popen([tool("FRAGTRACE"), "ctl", str(w.process.pid), "rotate"], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0, 0.06))
        os.kill(collectors[0], signal.SIGKILL)
        ask.wait()
        before = [lane.returned for lane in w.books.lanes()[:N_THREADS]]
        w.finish()
        paths = w.recordings()
        check(2 <= len(paths) <= 3, "files: %r" % paths)
        born, next_seq = collections.Counter(), 0
        for path in paths:
            try:
                image = Image(path)
            except sqlite3.OperationalError as error:
                # Its tables were being made: a transaction that is to be rolled back by who may write.
                check(path != paths[0] and "readonly" in str(error), "%s: %s" % (path, error))
                continue
            if "begin_seq" not in image.meta and path != paths[0]:
                check_equal(image.state, "creating", "a file that has not been begun")
                continue
            analyze_json("summary", path)
            begin_seq = int(image.meta.get("begin_seq", 0))
            check_equal(begin_seq, next_seq, "first event of %s" % path)
            next_seq += int(rows_of(query(path, "SELECT count(*) AS n FROM event"))[0]["n"])
            born.update(lane_of(row["requested"]) for row in blocks(path) if row["born_seq"] >= begin_seq)
        for lane in range(N_THREADS):
            check(born[lane] <= before[lane], "more births than there were")


@suite.case("a collector that is killed around a rotation leaves files that open and go on one from another", 200)
def killed(scratch):
    rng = random.Random(SEED)
    for number in range(6):
        folder = "%s/%d" % (scratch, number)
        os.mkdir(folder)
        kill_around(folder, rng)


suite.run()
