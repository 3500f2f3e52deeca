#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Disks that become full while a recording is folded and while it goes on in another file (TAP).

test-witness runs under the launcher on a small file system of the test's own, which a ballast fills to the
last page, or to one that a case names; as for a quota, a preload of the collector (quota.c) refuses to make
files longer. Whatever fails: the program ends as ever, each file opens, what was committed
is there once, and whoever looks is told why the rest is not.
"""

import contextlib
import ctypes
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from fttest import Suite, analyze, analyze_json, check, check_equal, environment, kill_group, run, skip, tool, wait_for  # noqa: E402
from recordings import recordings_in  # noqa: E402
from robust import Image, helper, opened  # noqa: E402
from witness import N_THREADS, OUTPUT, STATUS, Books, processes_of  # noqa: E402

suite = Suite()
KIB = 1 << 10


def own_mounts():
    """Whether this process can mount what nobody else sees."""
    clone_newns, ms_rec, ms_private = 0x20000, 0x4000, 1 << 18
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.unshare(clone_newns) == 0 and libc.mount(b"none", b"/", None, ms_rec | ms_private, None) == 0


MOUNTS = own_mounts()


class Disk:
    """A file system of so many bytes, and what fills it."""

    def __init__(self, scratch, n_bytes, quota):
        self.folder, self.ballast = scratch + "/disk", scratch + "/disk/ballast"
        os.mkdir(self.folder)
        self.error = b"No space left on device"
        self.env = {}
        if not quota:
            run(["mount", "-t", "tmpfs", "-o", "size=%d" % n_bytes, "none", self.folder]).check_status(0)
            return
        self.error = b"Disk quota exceeded"
        self.ballast = scratch + "/quota-is-used-up"
        wrapper = scratch + "/collector"
        with open(wrapper, "w") as file:
            file.write('#!/bin/sh\nLD_PRELOAD=%s exec %s "$@"\n' % (helper("libtest-quota.so"), tool("COLLECTOR")))
        os.chmod(wrapper, 0o755)
        self.env = {"FRAGTRACE_COLLECTOR": wrapper, "QUOTA_WHILE": self.ballast}

    def fill(self, leave=0):
        with open(self.ballast, "wb", buffering=0) as file:
            if self.env:
                return
            with contextlib.suppress(OSError):
                while file.write(bytes(4096)):
                    pass
            file.truncate(max(0, file.tell() - leave))

    def empty(self):
        os.unlink(self.ballast)


class Run:
    """test-witness under the launcher, its recording on the disk."""

    def __init__(self, scratch, n_bytes, *options, quota=False):
        self.disk = Disk(scratch, n_bytes, quota)
        self.books = Books(scratch + "/books")
        self.errors = open(scratch + "/errors", "w+b")
        self.paths = [self.disk.folder + "/w.frag"]  # of the program alone, in order
        self.seen = {}
        self.process = subprocess.Popen(
            [tool("FRAGTRACE"), "run", "--no-symbols", "-o", self.paths[0], *options, "--", helper("test-witness"),
             self.books.path, "0"], cwd=scratch, start_new_session=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=self.errors, env=environment(**self.disk.env))
        self.books.wait_begun()

    def look(self):
        """What is committed now has to be there ever after."""
        for path in self.paths:
            if os.path.exists(path):
                self.seen[path] = analyze_json("summary", path)["totals"]["events"]

    def wait_folded(self):
        wait_for("folding", lambda: os.path.exists(self.paths[0]) and analyze_json("summary", self.paths[0])["rolled_up"])

    def rotate(self):
        """What was wrong with it, or None."""
        result = run([tool("FRAGTRACE"), "ctl", str(self.books.pid()), "rotate"])
        if result.status == 0:
            self.paths.append(json.loads(result.stdout)["recording"])
            return None
        check_equal(result.status, 125, "status of rotate")
        return result.stderr

    def finish(self):
        """What the launcher had to say."""
        check_equal(len(list(processes_of(self.disk.folder, "fragtrace-colle"))), 1, "collectors that live")
        self.books.end()
        check_equal(self.process.wait(), STATUS, "status of the program")
        check_equal(self.process.stdout.read(), OUTPUT, "what the program wrote")
        self.errors.seek(0)
        return self.errors.read()

    def close(self):
        kill_group(self.process)
        self.errors.close()


@contextlib.contextmanager
def recorded(scratch, n_bytes, *options, **keywords):
    r = Run(scratch, n_bytes, *options, **keywords)
    try:
        yield r
    finally:
        r.close()


def is_begun(path):
    """A file that rotation had made and could not begin is an empty one in the state creating, or none. Looked at elsewhere: SQLite
    makes an index of its log, for which there may be no room."""
    with tempfile.TemporaryDirectory() as elsewhere:
        for name in glob.glob(glob.escape(path) + "*"):
            shutil.copy(name, elsewhere)
        return Image(os.path.join(elsewhere, os.path.basename(path))).state != "creating"


def judge(r, said):
    """Each file opens; all together they have each event once up to where they end. True: nothing is missing."""
    next_seq, whole = 0, True
    for number, path in enumerate(r.paths):
        image = Image(path)
        check_equal(int(image.meta.get("begin_seq", 0)), next_seq, "first event of " + path)
        result = analyze("summary", path)
        summary = analyze_json("summary", path)
        totals = summary["totals"]
        check(totals["events"] >= r.seen.get(path, 0), "%s has %d events and had %d" % (path, totals["events"], r.seen.get(path, 0)))
        check_equal(totals["allocations"] - totals["frees"], totals["live_blocks"] - carried(path), "live blocks of " + path)
        if summary["complete"]:
            check_equal(totals["events"], int(image.meta["events_written"]), "the ledger of " + path)
            check_equal(image.process["exit_kind"], "rotated" if number + 1 < len(r.paths) else "exit", "the end of " + path)
            check_equal(totals["lost_events"], int(image.meta["lost_events"]), "losses of " + path)
        else:
            check_equal(number, len(r.paths) - 1, "the last one alone may be cut off")
            check(b"cut off" in result.stdout and b"cut off" in result.stderr, "what is said of %s: %s" % (path, result.stdout))
            check(r.disk.error in said, "the launcher names no cause: %s" % said)
            whole = False
        next_seq += totals["events"]
    lanes = r.books.lanes()[:N_THREADS]
    calls = sum(lane.returned + lane.freed for lane in lanes)
    check(not whole or next_seq >= calls, "%d events of %d calls" % (next_seq, calls))
    for path in recordings_in(r.disk.folder):
        if path not in r.paths and is_begun(path):
            analyze_json("summary", path)  # of a child
    return whole


def carried(path):
    """Blocks that lived when it began."""
    begin_seq = int(Image(path).meta.get("begin_seq", 0))
    with opened(path) as db:
        row = db.execute("SELECT live_blocks FROM site_rollup WHERE n_events = 0 AND first_seq = ?", (begin_seq,)).fetchone()
        return row[0] if row else db.execute("SELECT coalesce(sum(n_blocks), 0) FROM keyframe WHERE seq = ?", (begin_seq,)).fetchone()[0] if begin_seq else 0


def fold(scratch, n_bytes, space_comes_back, quota=False):
    with recorded(scratch, n_bytes, "--max-size=1M", quota=quota) as r:
        r.wait_folded()
        r.look()
        r.disk.fill()
        r.books.work(20000)
        if space_comes_back:
            r.disk.empty()
            r.books.work(10000)
        judge(r, r.finish())


def rotate(scratch, leave, space_comes_back, *options, quota=False):
    with recorded(scratch, 4096 * KIB, *options, quota=quota) as r:
        r.books.work(3000)
        r.look()
        r.disk.fill(leave)
        wrong = r.rotate()
        check(wrong is None or r.disk.error in wrong, "rotate names no cause: %r" % wrong)
        r.look()
        r.books.work(10000)
        if space_comes_back:
            r.disk.empty()
            r.books.work(5000)
            then = r.rotate()
            check(then is None or r.disk.error in then, "rotate names no cause: %r" % then)
            r.books.work(5000)
        said = r.finish()
        # Of a recording that goes on, the next file is made where there is room for it again.
        check(judge(r, said) or not space_comes_back or then, "a recording that went on is cut off")


def in_folder(scratch, name, what, *arguments, **keywords):
    folder = "%s/%s" % (scratch, name)
    os.mkdir(folder)
    what(folder, *arguments, **keywords)


def needs_mounts():
    if not MOUNTS:
        skip("no mount namespace of one's own is permitted")


@suite.case("a disk that becomes full while a recording is folded, for good or for a while", 120)
def _(scratch):
    needs_mounts()
    for back in False, True:
        in_folder(scratch, back, fold, 4096 * KIB, back)


@suite.case("a disk on which a budget never fits", 120)
def _(scratch):
    needs_mounts()
    for kib in 600, 800, 1000:
        folder = "%s/%d" % (scratch, kib)
        os.mkdir(folder)
        with recorded(folder, kib * KIB, "--max-size=1M") as r:
            r.books.work(60000)
            r.look()
            r.books.work(10000)
            judge(r, r.finish())


@suite.case("a disk that becomes full while the next file is made, or is begun, for good or for a while", 240)
def _(scratch):
    needs_mounts()
    for kib in 0, 64, 150, 225, 250, 275, 300, 400:
        for back in False, True:
            in_folder(scratch, "%d%s" % (kib, back), rotate, kib * KIB, back)
            in_folder(scratch, "%d%s-budget" % (kib, back), rotate, kib * KIB, back, "--max-size=1M")


@suite.case("a quota that is used up while a recording is folded, and while it goes on in another file", 120)
def _(scratch):
    for back in False, True:
        in_folder(scratch, "fold%s" % back, fold, 0, back, quota=True)
        in_folder(scratch, "rotate%s" % back, rotate, 0, back, quota=True)


suite.run()
