# SPDX-License-Identifier: MIT
"""Shared by the integration tests: TAP output, running programs within a bound, the tools.

A test program makes one Suite, adds cases to it and ends with suite.run(). A case is a function
that gets a scratch directory; it fails by an exception (check() and friends raise Failed) and is
skipped by skip(). No case runs longer than its own bound: when that is over, what it started is
killed and it has failed.

Where the programs under test are comes from the environment, which meson sets:
FT_FRAGTRACE, FT_FRAGANALYZE, FT_COLLECTOR, FT_PRELOAD and FT_BUILD_ROOT.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


def skip(reason):
    raise Skipped(reason)


def check(condition, message):
    if not condition:
        raise Failed(message)


def check_equal(actual, expected, what):
    if actual != expected:
        raise Failed("%s: expected %s, is %s" % (what, shorten(expected), shorten(actual)))


def shorten(value, limit=400):
    text = repr(value)
    return text if len(text) <= limit else text[:limit] + "... (%d characters)" % len(text)


def need(program):
    """Absolute path of a program, or skip."""
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        skip("%s is not installed" % program)
    return path


class Result:
    def __init__(self, argv, status, stdout, stderr, seconds):
        self.argv, self.status = argv, status
        self.stdout, self.stderr, self.seconds = stdout, stderr, seconds

    def check_status(self, expected):
        check(self.status == expected, "%s: status %s instead of %s\nstdout: %s\nstderr: %s" % (
            " ".join(self.argv), self.status, expected, shorten(self.stdout, 2000),
            shorten(self.stderr, 2000)))
        return self


deadline = None  # of the case that runs, on time.monotonic()


def time_left():
    return max(0.1, deadline - time.monotonic()) if deadline is not None else 60.0


def environment(**changes):
    """The environment of a program under test: a user's, without what meson adds for its tests,
    plus changes."""
    added = ("LD_PRELOAD", "LD_LIBRARY_PATH", "MALLOC_PERTURB_", "ASAN_OPTIONS", "UBSAN_OPTIONS")
    env = {k: v for k, v in os.environ.items() if not k.startswith("FRAGTRACE_") and k not in added}
    for key, value in changes.items():
        if value is None:
            env.pop(key, None)
        else:
            env[key] = value
    return env


def run(argv, cwd=None, env=None, stdin=b"", timeout=None):
    """Run to the end within the case's bound. Status is negative for a signal, as in subprocess."""
    start = time.monotonic()
    process = subprocess.Popen(argv, cwd=cwd, env=env if env is not None else environment(),
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, start_new_session=True)
    try:
        stdout, stderr = process.communicate(stdin, timeout=min(timeout or 1e9, time_left()))
    except subprocess.TimeoutExpired:
        kill_group(process)
        raise Failed("%s: still running after %.1f s" % (" ".join(argv), time.monotonic() - start))
    return Result(argv, process.returncode, stdout, stderr, time.monotonic() - start)


def kill_group(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=5)


@contextlib.contextmanager
def server(argv, cwd=None, env=None, stop=signal.SIGTERM, expect_status=0):
    """A server for the length of a `with` block, then asked to stop and waited for. Yields the
    process; its output goes to files `stdout` and `stderr` in cwd."""
    with open(os.path.join(cwd, "stdout"), "wb") as out, open(os.path.join(cwd, "stderr"), "wb") as err:
        process = subprocess.Popen(argv, cwd=cwd, env=env if env is not None else environment(),
                                   stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                   start_new_session=True)
    try:
        yield process
        check(process.poll() is None, "%s ended by itself, status %s" % (argv[0], process.returncode))
        process.send_signal(stop)
        try:
            process.wait(timeout=min(30, time_left()))
        except subprocess.TimeoutExpired:
            raise Failed("%s did not stop within the time" % argv[0])
        check_equal(process.returncode, expect_status, "status of " + argv[0])
    finally:
        if process.poll() is None:
            kill_group(process)


def wait_for(what, condition):
    """Poll until condition() is true, within the case's bound."""
    pause = 0.01
    while not condition():
        if time_left() <= 0.2:
            raise Failed("waited in vain for " + what)
        time.sleep(pause)
        pause = min(pause * 1.5, 0.2)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def port_is_open(port):
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", port)) == 0


# ---- the tools -------------------------------------------------------------------------------------

def tool(name):
    path = os.environ.get("FT_" + name)
    check(path and os.path.exists(path), "FT_%s does not name a file: %r" % (name, path))
    return path


def launcher(recording, argv, options=()):
    """argv that runs argv under `fragtrace run`."""
    return [tool("FRAGTRACE"), "run", "-o", recording, *options, "--"] + argv


def preload_environment(**changes):
    return environment(LD_PRELOAD=tool("PRELOAD"), **changes)


def analyze(verb, recording, *options, status=0):
    return run([tool("FRAGANALYZE"), verb, *options, recording]).check_status(status)


def analyze_json(verb, recording, *options):
    result = analyze(verb, recording, "--json", *options)
    try:
        document = json.loads(result.stdout)
    except ValueError as error:
        raise Failed("%s --json printed no JSON: %s\n%s" % (verb, error, shorten(result.stdout)))
    check_equal(document.get("schema"), 1, "schema of %s --json" % verb)
    return document


def query(recording, sql):
    """What `query --json` prints."""
    return json.loads(run([tool("FRAGANALYZE"), "query", "--json", recording, sql]).check_status(0).stdout)


# ---- the runner ------------------------------------------------------------------------------------

class Suite:
    def __init__(self):
        self.cases = []

    def case(self, name, seconds):
        """Decorator: add a case that may take so many seconds."""
        def add(function):
            self.add(name, seconds, function)
            return function
        return add

    def add(self, name, seconds, function):
        self.cases.append((name, seconds, function))

    def run(self):
        """Run all cases, or those that an argument is part of the name of; TAP on stdout."""
        global deadline
        cases = [c for c in self.cases if len(sys.argv) < 2 or any(a in c[0] for a in sys.argv[1:])]
        print("1..%d" % len(cases), flush=True)
        failed = 0
        for number, (name, seconds, function) in enumerate(cases, 1):
            scratch = tempfile.mkdtemp(prefix="fragtrace-test-")
            start = time.monotonic()
            deadline = start + seconds
            try:
                function(scratch)
                print("ok %d - %s" % (number, name), flush=True)
            except Skipped as reason:
                print("ok %d - %s # SKIP %s" % (number, name, reason), flush=True)
            except Exception as error:
                failed += 1
                text = str(error) if isinstance(error, Failed) else traceback.format_exc()
                print("not ok %d - %s" % (number, name))
                print("".join("# %s\n" % line for line in text.splitlines()), end="", flush=True)
            if not os.environ.get("FT_KEEP"):
                shutil.rmtree(scratch, ignore_errors=True)
            else:
                print("# kept %s" % scratch)
            print("# %.1f s" % (time.monotonic() - start), flush=True)
        sys.exit(1 if failed else 0)
