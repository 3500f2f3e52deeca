#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Real programs: recorded, analysed, reported, with exit status and output unchanged (TAP)."""

import lzma
import os
import random
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from fttest import (Suite, check, check_equal, environment, free_port, launcher, need,  # noqa: E402
                    port_is_open, run, server, wait_for)
from recordings import check_recording, recordings_in  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
suite = Suite()

# The launcher's own last words come after the program's output; they start with its name.
OWN_LINE = re.compile(rb"^fragtrace: .*\n", re.M)


def without_own_lines(stderr):
    return OWN_LINE.sub(b"", stderr)


def unchanged(scratch, argv, allocations, prepare=None, env=None, status=0):
    """Run argv untraced and traced in folders of the same shape; the program must not tell the
    difference. Returns the summary of the recording."""
    results = []
    recording = os.path.join(scratch, "program.frag")
    for mode in ("untraced", "traced"):
        cwd = os.path.join(scratch, mode)
        os.mkdir(cwd)
        if prepare:
            prepare(cwd)
        command = argv if mode == "untraced" else launcher(recording, argv)
        results.append(run(command, cwd=cwd, env=env))
    untraced, traced = results
    untraced.check_status(status)
    traced.check_status(status)
    check_equal(traced.stdout, untraced.stdout, "stdout of the traced program")
    check_equal(without_own_lines(traced.stderr), untraced.stderr, "stderr of the traced program")
    print("# %.2f s untraced, %.2f s traced" % (untraced.seconds, traced.seconds))
    return check_recording(recording, scratch, allocations)


@suite.case("sqlite3 builds a table of a million rows", 180)
def sqlite(scratch):
    sql = """CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, x REAL);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)
        INSERT INTO t SELECT i, 'row ' || i, i * 0.5 FROM n;
        SELECT count(*), sum(length(name)), max(x) FROM t;"""
    unchanged(scratch, [need("sqlite3"), "table.db", sql], 1000000)


@suite.case("python3 on a JSON workload, objects as blocks of malloc", 120)
def python(scratch):
    unchanged(scratch, [need("/usr/bin/python3"), os.path.join(HERE, "workload.py")], 500000,
              env=environment(PYTHONMALLOC="malloc", PYTHONHASHSEED="0", PYTHONDONTWRITEBYTECODE="1"))


def make_repository(cwd):
    """A history of 300 commits over 20 files, made at once by git fast-import."""
    stream = []
    lines = {}
    rng = random.Random(1)
    for n in range(300):
        name = "file%d.txt" % rng.randrange(20)
        text = lines.setdefault(name, ["line %d" % i for i in range(200)])
        for _ in range(10):
            text[rng.randrange(len(text))] = "changed by %d %s" % (n, "x" * rng.randrange(60))
        data = "\n".join(text) + "\n"
        message = "change %d" % n
        stream.append("commit refs/heads/main\ncommitter A U Thor <a@example.org> %d +0000\n"
                      "data %d\n%s\nM 100644 inline %s\ndata %d\n%s\n" % (
                          1700000000 + n, len(message), message, name, len(data), data))
    git = need("git")
    run([git, "init", "-q", "-b", "main", "."], cwd=cwd).check_status(0)
    run([git, "fast-import", "--quiet"], cwd=cwd, stdin="".join(stream).encode()).check_status(0)


@suite.case("git log -p over 300 commits", 120)
def git_log(scratch):
    unchanged(scratch, [need("git"), "--no-pager", "log", "-p", "--stat", "main"], 20000,
              prepare=make_repository, env=environment(GIT_CONFIG_NOSYSTEM="1", HOME=scratch))


@suite.case("cc1plus on a file that includes <bits/stdc++.h>", 180)
def cc1plus(scratch):
    compiler = need("g++")
    source = os.path.join(scratch, "all.cc")
    with open(source, "w") as file:
        file.write("#include <bits/stdc++.h>\nint main() { return std::vector<int>{1}.size() == 1; }\n")
    # The driver's own command line, so that the include folders are right on any distribution.
    plan = subprocess.run([compiler, "-###", "-fsyntax-only", "-std=gnu++17", source],
                          stderr=subprocess.PIPE, check=True, text=True).stderr
    line = next(l for l in plan.splitlines() if "cc1plus" in l)
    argv = [word.strip('"') for word in line.split()]
    unchanged(scratch, argv, 500000)


@suite.case("xz on two threads", 120)
def xz(scratch):
    rng = random.Random(2)
    data = b"".join(b"%d %s\n" % (i, b"abcdefgh" * rng.randrange(12)) for i in range(120000))
    path = os.path.join(scratch, "input")
    with open(path, "wb") as file:
        file.write(data)
    unchanged(scratch, [need("xz"), "-2", "-T2", "--block-size=1MiB", "-c", path], 20)
    check_equal(lzma.decompress(run([need("xz"), "-2", "-T2", "-c", path]).stdout), data, "round trip")


@suite.case("a program of 64 threads that free each other's blocks", 120)
def threads64(scratch):
    argv = [os.path.join(os.environ["FT_HELPERS"], "test-threads64")]
    summary = unchanged(scratch, argv, 64 * 4000)
    check_equal(summary["threads"], 65, "threads")


def redis_session(cwd, command_of):
    port = free_port()
    argv = [need("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "",
            "--appendonly", "no", "--dir", cwd]
    cli = [need("redis-cli"), "-p", str(port)]
    with server(command_of(argv), cwd=cwd):
        wait_for("redis to listen", lambda: port_is_open(port))
        run([need("redis-benchmark"), "-p", str(port), "-n", "20000", "-c", "20", "-q",
             "-t", "set,get,lpush,lpop,sadd"]).check_status(0)
        run(cli + ["set", "greeting", "hello"]).check_status(0)
        answers = [run(cli + command).stdout for command in
                   (["get", "greeting"], ["dbsize"], ["llen", "mylist"])]
    return answers


@suite.case("redis-server, on its own allocator, driven by redis-benchmark", 180)
def redis(scratch):
    recording = os.path.join(scratch, "redis.frag")
    answers = []
    for mode, command_of in (("untraced", list), ("traced", lambda argv: launcher(recording, argv))):
        cwd = os.path.join(scratch, mode)
        os.mkdir(cwd)
        answers.append(redis_session(cwd, command_of))
    check_equal(answers[1], answers[0], "answers of the traced server")
    check_recording(recording, scratch, 10000)


NGINX_CONF = """
daemon off;
master_process on;
worker_processes 2;
pid {cwd}/nginx.pid;
error_log {cwd}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {cwd}/body;
    proxy_temp_path {cwd}/proxy;
    fastcgi_temp_path {cwd}/fastcgi;
    uwsgi_temp_path {cwd}/uwsgi;
    scgi_temp_path {cwd}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root {cwd}/www;
        gzip on;
        gzip_types text/plain;
    }}
}}
"""


def nginx_session(cwd, command_of):
    port = free_port()
    os.mkdir(os.path.join(cwd, "www"))
    with open(os.path.join(cwd, "www", "page.txt"), "w") as file:
        file.write("a page of text\n" * 500)
    config = os.path.join(cwd, "nginx.conf")
    with open(config, "w") as file:
        file.write(("user root;\n" if os.getuid() == 0 else "") + NGINX_CONF.format(cwd=cwd, port=port))
    url = "http://127.0.0.1:%d/page.txt" % port
    with server(command_of([need("nginx"), "-p", cwd, "-e", cwd + "/early.log", "-c", config]), cwd=cwd):
        wait_for("nginx to listen", lambda: port_is_open(port))
        load = run([need("ab"), "-q", "-n", "4000", "-c", "8", "-H", "Accept-Encoding: gzip", url])
        load.check_status(0)
        answer = {key.decode(): int(value) for key, value in re.findall(
            rb"^(Complete requests|Failed requests|Document Length): +(\d+)", load.stdout, re.M)}
    with open(os.path.join(cwd, "error.log")) as file:
        errors = [l for l in file if "[alert]" in l or "[crit]" in l or "[emerg]" in l]
    check_equal(errors, [], "alerts in nginx's log")
    check_equal(answer["Failed requests"], 0, "failed requests")
    return answer


@suite.case("nginx with two workers under a short load", 120)
def nginx(scratch):
    folder = os.path.join(scratch, "recordings")
    os.mkdir(folder)
    recording = os.path.join(folder, "nginx.frag")
    answers = []
    for mode, command_of in (("untraced", list), ("traced", lambda argv: launcher(recording, argv))):
        cwd = os.path.join(scratch, mode)
        os.mkdir(cwd)
        answers.append(nginx_session(cwd, command_of))
    check_equal(answers[1], answers[0], "answers of the traced server")
    found = recordings_in(folder)
    check(len(found) >= 3, "a master and two workers make three recordings, there are %s" % found)
    for path in found:
        check_recording(path, scratch, 1)


suite.run()
