# SPDX-License-Identifier: MIT
"""The tools that compare.py compares: how each is put on a program, and what it leaves behind."""

import contextlib
import glob
import os
import shutil
import sqlite3
import subprocess
import time

from workloads import first


class Tool:
    """`missing`: why it can't be run here."""
    name, missing = None, None

    def assignments(self, scratch):
        """Environment of the program, and of nothing beside it."""
        return {}

    def wrapper(self, scratch):
        """Words before a process of a compiler, for a tool that traces one process only."""
        return []

    @contextlib.contextmanager
    def beside(self, scratch):
        """Around the run: processes that the tool needs beside the program. Yields a dictionary
        that has `beside` (their CPU) at the end."""
        yield {}

    def after(self, scratch, analyse):
        """Facts on what was recorded; with `analyse` also how long the tool takes to read it."""
        return {}


class Untraced(Tool):
    name = "untraced"


class Forward(Tool):
    name = "forward"

    def __init__(self, build):
        self.library = os.path.join(build, "tests/bench/libbench-forward.so")
        self.missing = None if os.path.exists(self.library) else "not built"

    def assignments(self, scratch):
        return {"LD_PRELOAD": self.library}


def timed(argv):
    begin = time.monotonic()
    done = subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if done.returncode != 0:
        raise RuntimeError("%s: status %d: %s" % (" ".join(argv), done.returncode, done.stderr.decode()[-400:]))
    return time.monotonic() - begin


class Fragtrace(Tool):
    """Preloaded; the library starts the collector. The cache of symbols is the run's own, so that
    each run resolves all its symbols."""

    def __init__(self, build, name="fragtrace", settings=None):
        self.name, self.settings = name, settings or {}
        self.library = os.path.join(build, "libtrace/tracer/libfragtrace.so")
        self.analyzer = os.path.join(build, "analyzer/cli/fraganalyze")
        self.missing = None if os.path.exists(self.library) else "not built"

    def assignments(self, scratch):
        return {"LD_PRELOAD": self.library, "FRAGTRACE_OUTPUT": os.path.join(scratch, "out.%p.frag"),
                "XDG_CACHE_HOME": os.path.join(scratch, "cache"), **self.settings}

    def after(self, scratch, analyse):
        facts = {"events": 0, "allocations": 0, "lost": 0, "ring_waits": 0, "collector": 0, "disk": 0, "images": 0,
                 "tracer_bytes": 0}
        collectors = {}  # one may serve several images; the last recording that it ended has most
        for path in glob.glob(os.path.join(scratch, "out.*.frag")):
            with contextlib.closing(sqlite3.connect("file:%s?mode=ro" % path, uri=True)) as db:
                meta = dict(db.execute("SELECT key, value FROM meta"))
                allocations, = db.execute("SELECT coalesce(sum(n_allocs), 0) FROM site_total").fetchone()
            if meta.get("state") != "complete":
                raise RuntimeError("%s was not finished: %s" % (path, meta.get("state")))

            def number(key):
                return int(meta.get(key) or 0)

            facts["images"] += 1
            facts["allocations"] += allocations
            facts["events"] += number("events_written")
            facts["lost"] += number("lost_events")
            facts["ring_waits"] += number("ring_waits")
            facts["tracer_bytes"] = max(facts["tracer_bytes"], number("tracer_bytes"))
            pid = number("collector_pid")
            collectors[pid] = max(collectors.get(pid, 0), number("collector_cpu_ns") / 1e9)
            facts["disk"] += os.path.getsize(path)
            if analyse:
                for verb in ("summary", "leaks"):
                    facts[verb] = facts.get(verb, 0) + timed([self.analyzer, verb, path])
        facts["collector"] = sum(collectors.values())
        if not facts["images"]:
            raise RuntimeError("no recording was made")
        return facts


class Heaptrack(Tool):
    """What the script `heaptrack` does, by hand, so that the program's own time and the time of
    what is beside it can be told apart: a pipe from the preloaded library to a compressor (`raw`), or to
    the interpreter and from there to the compressor. `plain`: into a file, with nothing beside it."""

    def __init__(self, name, program, missing, raw=False, plain=False):
        self.name, self.missing, self.raw, self.plain = name, missing, raw or plain, plain
        if missing:
            return
        home = os.path.join(os.path.dirname(os.path.realpath(program)), "../lib/heaptrack")
        self.program = program
        self.library = first(os.path.join(home, "libheaptrack_preload.so"))
        self.interpreter = first(os.path.join(home, "libexec/heaptrack_interpret"))
        self.printer = first(os.path.join(os.path.dirname(os.path.realpath(program)), "heaptrack_print"))
        if not self.library or not (raw or self.interpreter):
            self.missing = "its library or its interpreter was not found beside %s" % program
        elif not shutil.which("zstd"):
            self.missing = "zstd is not installed"

    def assignments(self, scratch):
        return {"LD_PRELOAD": os.path.realpath(self.library),
                "DUMP_HEAPTRACK_OUTPUT": os.path.join(scratch, "heaptrack.raw" if self.plain else "pipe")}

    def wrapper(self, scratch):
        # Without -o it names its file after the program and its own pid, in the working directory.
        return [self.program] + (["-r"] if self.raw else [])

    @contextlib.contextmanager
    def beside(self, scratch):
        if self.plain:
            yield {}
            return
        pipe = os.path.join(scratch, "pipe")
        os.mkfifo(pipe)
        command = "exec zstd -q -c < pipe > heaptrack.raw.zst" if self.raw else \
            "%s < pipe | zstd -q -c > heaptrack.zst" % os.path.realpath(self.interpreter)
        process = subprocess.Popen(["/bin/sh", "-c", command], cwd=scratch, stdin=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, start_new_session=True)
        facts = {}
        try:
            yield facts
            # A program that never opened the pipe would leave the reader waiting for a writer.
            with contextlib.suppress(OSError):
                os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
            _, _, usage = os.wait4(process.pid, 0)
            process.returncode = 0
            facts["beside"] = usage.ru_utime + usage.ru_stime
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, 9)
                process.wait()

    def after(self, scratch, analyse):
        files = glob.glob(os.path.join(scratch, "heaptrack.*"))
        facts = {"disk": sum(os.path.getsize(p) for p in files)}
        if analyse and not self.raw and self.printer and len(files) == 1:
            facts["printer"] = timed([self.printer, "-f", files[0]])
        return facts


class Gperftools(Tool):
    """The heap profiler of gperftools: every allocation, in a table under one lock, dumped as a
    profile now and then; it brings its own allocator."""
    name = "gperftools"

    def __init__(self):
        self.library = first("/usr/lib/*/libtcmalloc.so.*", "/usr/lib/libtcmalloc.so.*")
        self.missing = None if self.library else "libtcmalloc is not installed"

    def assignments(self, scratch):
        return {"LD_PRELOAD": self.library, "HEAPPROFILE": os.path.join(scratch, "profile")}

    def after(self, scratch, analyse):
        return {"disk": sum(os.path.getsize(p) for p in glob.glob(os.path.join(scratch, "profile*")))}


# What can be chosen, each against the default: what docs/PERFORMANCE.md says of the options.
VARIANTS = {
    "fragtrace+fp": {"FRAGTRACE_UNWIND": "fp"},
    "fragtrace+none": {"FRAGTRACE_UNWIND": "none"},
    "fragtrace+depth8": {"FRAGTRACE_DEPTH": "8"},
    "fragtrace+free-stacks": {"FRAGTRACE_FREE_STACKS": "1"},
    "fragtrace+sample": {"FRAGTRACE_SAMPLE": "524288"},
    "fragtrace+ring512": {"FRAGTRACE_RING_KIB": "512"},
}

USUAL = ["untraced", "forward", "fragtrace", "heaptrack-r", "heaptrack", "gperftools"]


def tools(build):
    debian = first("/usr/bin/heaptrack")
    head = os.environ.get("HEAPTRACK")
    result = [Untraced(), Forward(build), Fragtrace(build)]
    result += [Fragtrace(build, name, settings) for name, settings in VARIANTS.items()]
    absent = None if debian else "heaptrack is not installed"
    result += [Heaptrack("heaptrack-r", debian, absent, raw=True), Heaptrack("heaptrack-file", debian, absent, plain=True),
               Heaptrack("heaptrack", head, None if head else "HEAPTRACK names none"), Gperftools()]
    return {tool.name: tool for tool in result}
