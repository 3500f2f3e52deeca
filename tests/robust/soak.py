#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""redis-server under load for long: what the tracer takes of the program stays what it is (TAP).

Two servers get the same load, in short bursts with pauses: one is traced, the other is not. Each
SOAK_EVERY seconds (10) the tracer's memory is read from the traced one's smaps: the shared segment, the
library, and its private mappings, which are the only anonymous ones that are neither for dumps nor for
huge pages. After SOAK_SETTLE seconds (60) it may grow by 128 KiB and no more, in which a few thousand
stacks seen for the first time have room. SOAK_SECONDS (8) is the whole. Nothing may be lost.
SOAK_REQUESTS (400) are those of a burst, of each kind. With SOAK_MAX_MIB the recording has that budget, which its file and its log
never exceed by more than a group of chunks; sizes, added memory and the collector's processor time are printed by tenths of the whole.
"""

import contextlib
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from fttest import Suite, analyze_json, check, check_equal, environment, free_port, kill_group, launcher, need, port_is_open, run, wait_for  # noqa: E402
from recordings import check_ledger  # noqa: E402
from robust import complete, opened, warn  # noqa: E402

SECONDS = float(os.environ.get("SOAK_SECONDS", "8"))
SETTLE = float(os.environ.get("SOAK_SETTLE", min(60, SECONDS / 2)))
EVERY = float(os.environ.get("SOAK_EVERY", min(10, SECONDS / 12)))
PAUSE = float(os.environ.get("SOAK_PAUSE", min(3, SECONDS / 60)))
KIB = 1024
REQUESTS = os.environ.get("SOAK_REQUESTS", "400")
MAX_MIB = int(os.environ.get("SOAK_MAX_MIB", "0"))
BUDGET = ["--max-size=%dM" % MAX_MIB] if MAX_MIB else []
GROUPS = 32  # a group of chunks is this part of the budget
COMMANDS = "set,get,incr,lpush,rpush,lpop,rpop,sadd,spop,hset,zadd,zpopmin"
SLACK = 128 * KIB
suite = Suite()


def parts(pid):
    """Resident bytes of a process: all, its heap and other data, and of the tracer by kind."""
    found = {"all": 0, "segment": 0, "library": 0, "private": 0}
    with open("/proc/%d/smaps" % pid) as file:
        for block in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", file.read(), flags=re.M)[1:]:
            head, rss = block.split("\n", 1)[0].split(None, 5), int(re.search(r"^Rss:\s+(\d+)", block, re.M)[1]) * KIB
            flags = re.search(r"^VmFlags:(.*)", block, re.M)[1].split()
            path = head[5] if len(head) > 5 else ""
            found["all"] += rss
            if path.startswith("/memfd:fragtrace"):
                found["segment"] += rss
            elif "/libfragtrace.so" in path:
                found["library"] += rss
            elif (not path or path.startswith("[anon:fragtrace")) and {"dd", "nh"} <= set(flags):
                found["private"] += rss
    found["tracer"] = found["segment"] + found["library"] + found["private"]
    return found


def resident(pid):
    with open("/proc/%d/statm" % pid) as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def child_of(pid, comm):
    for other in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open("/proc/%s/stat" % other) as file:
                name, rest = file.read().split("(", 1)[1].rsplit(")", 1)
                if name == comm and int(rest.split()[1]) == pid:
                    return int(other)
    return None


def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid) as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def on_disk(recording):
    size = 0
    for path in (recording, recording + "-wal"):
        with contextlib.suppress(OSError):
            size += os.stat(path).st_size
    return size


def burst(port):
    result = run([need("redis-benchmark"), "-p", str(port), "-q", "-n", REQUESTS, "-c", "4", "-P", "4", "-r", "2000",
                  "-d", "200", "-t", COMMANDS]).check_status(0)
    check(b"rror" not in result.stdout + result.stderr, "redis-benchmark: %r" % (result.stdout + result.stderr))


def settled(samples, start):
    return next(sample for sample in samples if sample["at"] - start >= SETTLE)


@suite.case("redis-server under load: the tracer's memory stays what it was, nothing is lost", 3 * SECONDS + 120)
def soak(scratch):
    recording = os.path.join(scratch, "redis.frag")
    ports, servers, samples = [], [], []
    try:
        for traced in (False, True):
            ports.append(free_port())
            folder = os.path.join(scratch, "traced" if traced else "plain")
            os.mkdir(folder)
            argv = [need("redis-server"), "--port", str(ports[-1]), "--save", "", "--bind", "127.0.0.1", "--dir", folder]
            with open(os.path.join(folder, "log"), "wb") as log:
                servers.append(subprocess.Popen(launcher(recording, argv, BUDGET) if traced else argv, env=environment(),
                                                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True))
            wait_for("redis-server", lambda: port_is_open(ports[-1]))
        def below(comm):
            return child_of(servers[1].pid, comm)

        wait_for("server and collector below the launcher", lambda: below("redis-server") and below("fragtrace-colle"))
        plain, pid, collector = servers[0].pid, below("redis-server"), below("fragtrace-colle")
        start = due = time.monotonic()
        while time.monotonic() - start < SECONDS:
            for port in ports:
                burst(port)
            if time.monotonic() >= due:
                due += EVERY
                samples.append(dict(parts(pid), at=time.monotonic(), plain=resident(plain), collector=resident(collector),
                                    cpu=cpu_seconds(collector), disk=on_disk(recording)))
                if "SOAK_VERBOSE" in os.environ:
                    warn("%5.0f s: tracer %d KiB (segment %d, private %d), program %d, untraced %d, collector %d; file %d KiB; %.2f s" % (
                        time.monotonic() - start, *(samples[-1][key] / KIB for key in (
                            "tracer", "segment", "private", "all", "plain", "collector", "disk")), samples[-1]["cpu"]))
            time.sleep(PAUSE)
        for port in ports:
            run([need("redis-cli"), "-p", str(port), "shutdown", "nosave"])
        for server in servers:
            check_equal(server.wait(60), 0, "status")
    finally:
        for server in servers:
            if server.poll() is None:
                kill_group(server)
    wait_for("the end of the recording", lambda: complete(recording))
    document = analyze_json("report", recording)
    report(samples, start, document["summary"], recording)
    if MAX_MIB:
        return  # what is rolled up has no events to be counted
    check_equal(check_ledger(recording), document["quality"]["events"], "events in the file and events read")
    check_equal(document["quality"]["unknown_frees"], 0, "frees of nobody's block")


def by_tenths(samples):
    """Means of the file's size and of what the tracer takes, and the collector's time, of each tenth of the soak."""
    step = max(len(samples) // 10, 1)
    for i in range(0, len(samples) - step, step):
        part = samples[i:i + step + 1]
        seconds = part[-1]["at"] - part[0]["at"]
        warn("%5.0f to %5.0f s: file at most %d KiB, tracer %d, collector %d KiB and %.2f %% of a processor" % (
            part[0]["at"] - samples[0]["at"], part[-1]["at"] - samples[0]["at"], max(s["disk"] for s in part) / KIB,
            part[-1]["tracer"] / KIB, part[-1]["collector"] / KIB, 100 * (part[-1]["cpu"] - part[0]["cpu"]) / seconds))


def report(samples, start, summary, recording):
    with opened(recording) as db:
        meta = dict(db.execute("SELECT key, value FROM meta"))
        nodes, = db.execute("SELECT coalesce(sum(n_nodes), 0) FROM stack_chunk").fetchone()
        losses, = db.execute("SELECT count(*) FROM loss").fetchone()
    first, last = settled(samples, start), samples[-1]
    later = [sample for sample in samples if sample["at"] >= first["at"]]
    most = max(later, key=lambda sample: sample["tracer"])
    stated = int(meta["tracer_bytes"]) + int(meta["tracer_shared_bytes"])
    warn("%.0f s, %d samples: %d events, %d bytes of recording, %d nodes" % (
        last["at"] - start, len(samples), summary["totals"]["events"], os.stat(recording).st_size, nodes))
    warn("tracer's memory in the program: %d KiB after %.0f s, %d at most later, %d at the end, %d stated" % (
        first["tracer"] / KIB, SETTLE, most["tracer"] / KIB, last["tracer"] / KIB, stated / KIB))
    warn("of it segment %d to %d, private %d to %d, library %d to %d KiB" % tuple(
        sample[key] / KIB for key in ("segment", "private", "library") for sample in (first, last)))
    warn("whole program: traced %d to %d, untraced %d to %d KiB; collector %d to %d KiB" % tuple(
        sample[key] / KIB for key in ("all", "plain", "collector") for sample in (first, last)))
    if MAX_MIB:
        by_tenths(samples)
        most_disk = max(sample["disk"] for sample in samples)
        check(most_disk <= MAX_MIB * KIB * KIB * (GROUPS + 1) / GROUPS, "the file and its log took %d KiB" % (most_disk / KIB))
    check_equal((summary["totals"]["lost_events"], losses, int(meta["lost_events"])), (0, 0, 0), "losses")
    check(most["tracer"] - first["tracer"] <= SLACK, "the tracer grew by %d KiB after %.0f s" % (
        (most["tracer"] - first["tracer"]) / KIB, SETTLE))
    # The library's clean pages are the file's, not the program's.
    check(last["segment"] + last["private"] <= stated + SLACK, "the recording states %d KiB, there are %d" % (
        stated / KIB, (last["segment"] + last["private"]) / KIB))


suite.run()
