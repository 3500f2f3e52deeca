#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""fragtrace top: on a terminal of 80 columns, in pipes, at the end of what it looks at (TAP).

Usage: run.py PROGRAM. Figures are compared with what the program has done, never with a clock.
"""

import contextlib
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from fttest import (Suite, check, check_equal, environment, kill_group, launcher, run, tool, wait_for)  # noqa: E402
from screen import Terminal  # noqa: E402

suite = Suite()
program = os.path.abspath(sys.argv[1])
del sys.argv[1]


class Recorded:
    def __init__(self, process, path):
        self.process, self.path = process, path
        self.pid = None

    def do(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        if line != "end":
            check_equal(self.process.stdout.readline(), b"ok\n", "the program's answer")

    def end(self):
        self.do("end")
        check_equal(self.process.wait(), 3, "status of the program")


@contextlib.contextmanager
def recorded(scratch, *options, name="soak.frag"):
    path = os.path.join(scratch, name)
    argv = launcher(path, [program])
    argv[2:2] = options
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               env=environment(), start_new_session=True)
    try:
        it = Recorded(process, path)
        it.do("churn 1")
        wait_for("the recording", lambda: os.path.exists(path))
        for pid in os.popen("ps -o pid= --ppid %d" % process.pid).read().split():
            with contextlib.suppress(OSError):
                if os.path.samefile("/proc/%s/exe" % pid, program):
                    it.pid = int(pid)
        check(it.pid, "the program under the launcher")
        wait_for("its collector", lambda: run([tool("FRAGTRACE"), "ctl", str(it.pid), "stats"]).status == 0)
        yield it
    finally:
        kill_group(process)


def top(*arguments):
    return [tool("FRAGTRACE"), "top", *[str(argument) for argument in arguments]]


def documents(*arguments):
    result = run(top("--json", *arguments)).check_status(0)
    return [json.loads(line) for line in result.stdout.splitlines()]


def site(document, name):
    found = [row for row in document["sites"] if row["name"] == name]
    check_equal(len(found), 1, "sites named %s of %r" % (name, document["sites"]))
    return found[0]


# ---- figures ---------------------------------------------------------------------------------------

@suite.case("a process that runs: what lives and what it has done, by site", 60)
def _(scratch):
    with recorded(scratch) as it:
        it.do("grow 500")
        it.do("churn 700")
        for what in (it.pid, it.path):
            document, = documents(what)
            check_equal((document["state"], document["pid"], document["program"]),
                        ("recording", it.pid, os.path.basename(program)), "what is recorded")
            check(os.path.samefile(document["recording"], it.path), "the file")
            grown, churned = site(document, "grow_here"), site(document, "churn_here")
            check_equal((grown["live_blocks"], grown["live_bytes"], grown["frees"]), (500, 500000, 0), "grow_here")
            check_equal((churned["live_blocks"], churned["allocations"], churned["frees"]), (0, 701, 701), "churn_here")
            check(grown["file"].endswith("program.c") and grown["line"] > 0, "its place: %r" % grown)
            check(grown["start_bytes_per_s"] > 0 and churned["start_bytes_per_s"] == 0, "growth since the start")
            check(document["rss_bytes"] > 500000 and document["live_bytes"] >= 500000, "totals: %r" % document)


def answer_as_a_collector(pid, recordings, sites):
    """A thread that answers for `pid` as its collector would, with a name of `recordings` each time (co_control.h)."""
    with open("/proc/%d/stat" % pid) as file:
        start = file.read().rsplit(")", 1)[1].split()[19]
    space = re.search(r"[0-9]+", os.readlink("/proc/%d/ns/pid" % pid)).group()
    door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    door.bind("\0fragtrace/%s/%d/%s" % (space, pid, start))
    door.listen()

    def run_it():
        for recording in recordings:
            peer, _ = door.accept()
            peer.recv(4096)
            account = os.memfd_create("account")
            rows = b"".join(struct.pack("=II7Q", number, 0, *figures) for number, figures in sites.items())
            os.write(account, struct.pack("=QIIQiI16Q3qII", 0x3130484354574746, 192, 64, len(sites), pid, 0,
                                          *[0, 10**9] + [0] * 14, -1, -1, -1, 0, 0) + rows)
            text = recording.encode()
            socket.send_fds(peer, [struct.pack("=QII4080s", 0x31304c5254434746, 0, len(text), text)], [account])
            os.close(account)
            peer.close()
        door.close()
    thread = threading.Thread(target=run_it, daemon=True)
    thread.start()
    return thread


@suite.case("a text waits for the file of a recording that is so young that it has none", 60)
def _(scratch):
    with recorded(scratch) as it:
        it.do("grow 7")
        it.end()
    number = site(documents(it.path)[0], "grow_here")["site"]
    process = subprocess.Popen(["sleep", "1000"])
    try:
        thread = answer_as_a_collector(process.pid, ["", "", it.path], {number: (7, 0, 7000, 0, 7, 7000, 7000)})
        document, = documents(process.pid)
        thread.join(10)
        check(not thread.is_alive(), "it was asked until there was a file")
    finally:
        process.kill()
        process.wait()
    check_equal((document["program"], document["recording"]), (os.path.basename(program), it.path), "what is recorded")
    check_equal(site(document, "grow_here")["live_bytes"], 7000, "grow_here")


@suite.case("rates are between two looks; nothing is asked of the file", 60)
def _(scratch):
    with recorded(scratch) as it:
        it.do("grow 10")
        process = subprocess.Popen(top("--json", "-n", 3, "-d", 0.3, it.pid), stdout=subprocess.PIPE, env=environment())
        try:
            first = json.loads(process.stdout.readline())
            it.do("grow 1000")
            it.do("churn 100")
            after = json.loads(process.stdout.readline())
            last = json.loads(process.stdout.readline())
            check_equal(process.wait(), 0, "status")
        finally:
            process.kill()
        check_equal([first["events_per_s"], first["allocations_per_s"]], [None, None], "rates of the first look")
        seconds = [(b["time_ns"] - a["time_ns"]) / 1e9 for a, b in ((first, after), (after, last))]
        # At the first looks its name may not be known yet.
        number = site(last, "grow_here")["site"]
        grows = [next(row for row in document["sites"] if row["site"] == number) for document in (first, after, last)]
        for a, b, s in ((first, after, seconds[0]), (after, last, seconds[1])):
            check(abs(b["events_per_s"] * s - (b["events"] - a["events"])) < 0.01, "events a second")
        for a, b, s in ((grows[0], grows[1], seconds[0]), (grows[1], grows[2], seconds[1])):
            check(abs(b["allocations_per_s"] * s - (b["allocations"] - a["allocations"])) < 0.01, "allocations a second")
        check_equal(grows[2]["live_blocks"], 1010, "blocks at the end")
        # As the recording is younger than a minute: since it began.
        check(abs(last["minute_s"] - last["time_ns"] / 1e9) < 1e-6, "the minute")


@suite.case("a recording that has ended says the same, with and without a replay", 60)
def _(scratch):
    with recorded(scratch) as it:
        it.do("grow 321")
        it.end()
        for options in ((), ("--quick",)):
            document, = documents(*options, it.path)
            check_equal((document["state"], document["exit_kind"], document["exit_code"]), ("ended", "exit", 3), "end")
            check_equal(site(document, "grow_here")["live_bytes"], 321000, "what is left")
        text = run(top("-b", it.path)).check_status(0).stdout.decode()
        check("ended, status 3" in text and re.search(r"grow_here +\S+program.c:\d+\n", text), text)
        check(b"\x1b" not in run(top(it.path)).check_status(0).stdout, "sequences in a pipe")


@suite.case("order, filter and number of sites are options, too", 60)
def _(scratch):
    with recorded(scratch) as it:
        it.do("grow 50")
        it.do("churn 5000")
        it.end()
    names = [row["name"] for row in documents("--sort", "live", "--filter", "_HERE", it.path)[0]["sites"]]
    check_equal(names, ["grow_here", "churn_here"], "by live bytes")
    check_equal(len(documents("--sites", 1, it.path)[0]["sites"]), 1, "sites")
    check_equal(documents("--filter", "no such function", it.path)[0]["sites"], [], "what nothing has")
    for wrong in (["--sort", "size"], ["-d", "0"], ["-d", "x"], ["-n", "0"], []):
        run(top(*wrong, *([it.path] if wrong else []))).check_status(2)


@suite.case("who is not recorded, and what is no file, say so", 30)
def _(scratch):
    check(b"not recorded" in run(top(os.getpid())).check_status(2).stderr, "a process that is not recorded")
    check(b"no process 99999999" in run(top(99999999)).check_status(2).stderr, "a process that is not there")
    check(b"No such file" in run(top(os.path.join(scratch, "none.frag"))).check_status(3).stderr, "a missing file")
    with open(os.path.join(scratch, "text.frag"), "w") as file:
        file.write("hello\n" * 1000)
    check(b"not a recording" in run(top(file.name)).check_status(3).stderr, "a text")


# ---- ends ------------------------------------------------------------------------------------------

def followed(it, act):
    """States and documents from before act() to the end of what is looked at."""
    process = subprocess.Popen(top("--json", "-b", "-d", 0.1, it.path), stdout=subprocess.PIPE, env=environment())
    try:
        first = json.loads(process.stdout.readline())
        check_equal(first["state"], "recording", "state")
        act()
        found = [json.loads(line) for line in process.stdout]
        check_equal(process.wait(), 0, "status")
    finally:
        process.kill()
    return found[-1]


@suite.case("the end of the program is the last that is shown", 60)
def _(scratch):
    with recorded(scratch) as it:
        it.do("grow 77")
        last = followed(it, it.end)
        check_equal((last["state"], last["exit_code"]), ("ended", 3), "end")
        check_equal(site(last, "grow_here")["live_blocks"], 77, "what is left")


@suite.case("after a rotation the closed file is shown as it was, and the next one named", 60)
def _(scratch):
    with recorded(scratch) as it:
        it.do("grow 77")

        def rotate():
            run([tool("FRAGTRACE"), "ctl", str(it.pid), "rotate"]).check_status(0)
            it.do("grow 1000")
        last = followed(it, rotate)
        check_equal((last["state"], os.path.basename(last["continued_by"])), ("rotated", "soak.2.frag"), "end")
        check_equal(site(last, "grow_here")["live_blocks"], 77, "what was left")
        document, = documents(it.pid)
        check(document["recording"].endswith("soak.2.frag"), "the process: %r" % document["recording"])
        grown = site(document, "grow_here")
        check_equal((grown["live_blocks"], grown["allocations"]), (1077, 1000), "carried over, and new")


@suite.case("a collector that dies leaves a recording that is cut off", 60)
def _(scratch):
    with recorded(scratch) as it:
        it.do("grow 77")
        run([tool("FRAGTRACE"), "ctl", str(it.pid), "flush"]).check_status(0)

        def kill():
            for pid in os.popen("ps -o pid= --ppid %d" % it.process.pid).read().split():
                if int(pid) != it.pid:
                    os.kill(int(pid), signal.SIGKILL)
        check_equal(followed(it, kill)["state"], "cut_off", "state")


# ---- the screen ------------------------------------------------------------------------------------

def titles(text):
    return [line for line in text.split("\n") if "BLOCKS" in line and "SITE" in line]


@suite.case("80 by 24: figures, order, filter, help, pause, resize; quit leaves the terminal as it was", 90)
def _(scratch):
    with recorded(scratch) as it:
        it.do("grow 300")
        it.do("churn 10")
        with Terminal(top(it.pid)) as terminal:
            text = terminal.wait_for("names", lambda t: "grow_here" in t and "churn_here" in t)
            check(terminal.screen.alternate and not terminal.screen.cursor, "the screen")
            check("*1 MIN" in titles(text)[0], "order: %r" % titles(text))
            it.do("grow 400")
            terminal.wait_for("growth", lambda t: re.search(r"\n +684K +700 .* grow_here", t))
            for key, title in ((b"s", "*START"), (b">", "*ALLOC/s"), (b"1", "*LIVE"), (b"\x1b[C", "*BLOCKS"),
                               (b"<", "*LIVE"), (b"r", "^LIVE")):
                terminal.press(key)
                terminal.wait_for(title, lambda t: titles(t) and title in titles(t)[0])
            terminal.press(b"r1?")
            terminal.wait_for("help", lambda t: "Any key goes back." in t and not titles(t))
            terminal.press(b"x/CHURN_\x7f_h\r")
            terminal.wait_for("the filter", lambda t: "filter 'CHURN_h'" in t and "churn_here" in t
                              and "grow_here" not in t)
            terminal.press(b"f\x1b")
            terminal.wait_for("the prompt to go", lambda t: "Show sites" not in t)
            terminal.press(b"=d0.1\r")
            terminal.wait_for("all sites", lambda t: "grow_here" in t and "churn_here" in t)
            terminal.press(b" ")
            terminal.wait_for("a pause", lambda t: "view paused" in t)
            it.do("grow 300")
            # The recording goes on, the view stands still: what is drawn anew for a key is the same.
            terminal.press(b"2")
            check(" 700 " in terminal.wait_for("the order", lambda t: "*BLOCKS" in titles(t)[0]), "the view")
            terminal.press(b"p")
            terminal.wait_for("all blocks", lambda t: re.search(r" 1000 .* grow_here", t))
            terminal.resize(12, 40)
            terminal.wait_for("a small screen", lambda t: titles(t))
            terminal.resize(50, 150)
            terminal.wait_for("a large screen", lambda t: "program.c:" in t)
            terminal.press(b"q")
            terminal.check_restored(0)
            check(terminal.screen.colors - {b"0"}, "colours")


@suite.case("NO_COLOR: none; a terminal that knows nothing of UTF-8 gets ASCII", 60)
def _(scratch):
    with recorded(scratch) as it:
        with Terminal(top(it.path), NO_COLOR="1", LC_ALL="C") as terminal:
            terminal.wait_for("names", lambda t: "churn_here" in t)
            terminal.press(b"q")
            terminal.check_restored(0)
            check_equal(terminal.screen.colors - {b"0"}, set(), "colours")


@suite.case("signals and a crash leave the terminal as it was", 90)
def _(scratch):
    with recorded(scratch) as it:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGSEGV, signal.SIGABRT):
            with Terminal(top(it.path)) as terminal:
                terminal.wait_for("the screen", titles)
                if number == signal.SIGINT:
                    terminal.press(b"\x03")
                else:
                    terminal.process.send_signal(number)
                terminal.check_restored(-number)


@suite.case("^Z gives the terminal back, fg takes it again", 60)
def _(scratch):
    with recorded(scratch) as it:
        with Terminal(top(it.path)) as terminal:
            terminal.wait_for("the screen", titles)
            terminal.process.send_signal(signal.SIGTSTP)

            def stopped():
                with open("/proc/%d/stat" % terminal.process.pid) as file:
                    return file.read().rsplit(")", 1)[1].split()[0] == "T"
            wait_for("a stop", stopped)
            while terminal.pump(0.05):
                pass
            check(not terminal.screen.alternate and terminal.screen.cursor, "the shell's screen")
            check_equal(termios.tcgetattr(terminal.slave), terminal.before, "settings")
            terminal.process.send_signal(signal.SIGCONT)
            terminal.wait_for("the screen again", lambda t: terminal.screen.alternate and titles(t))
            terminal.press(b"q")
            terminal.check_restored(0)


@suite.case("on the screen the end is said, and the last state stays", 60)
def _(scratch):
    with recorded(scratch) as it:
        it.do("grow 222")
        with Terminal(top("-d", "0.2", it.pid)) as terminal:
            terminal.wait_for("figures", lambda t: re.search(r" 222 .* grow_here", t))
            it.end()
            terminal.wait_for("the end", lambda t: "ended, status 3" in t and re.search(r" 222 .* grow_here", t))
            # Nobody had the file open when its writer made one plain file of it.
            check_equal(sorted(os.listdir(scratch)), ["soak.frag"], "files")
            terminal.press(b"q")
            terminal.check_restored(0)


suite.run()
