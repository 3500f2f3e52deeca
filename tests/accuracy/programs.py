#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Real programs under steady load: those that don't leak are not accused, one with a leak is found.

    programs.py BUILD SECONDS [NAME...]

redis-server, nginx and sqlite3 run at the same time for so many seconds, recorded as a user does it;
`sqlite3-leak` is sqlite3 with the extension tests/accuracy/remember.c, which keeps 100 bytes a call.
Prints a line a program; the exit status is 1 when one is wrong. A program that is not installed is
left out, and said so.
"""
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

TURNS_PER_S = 50


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def need(name):
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def paced(seconds, turn):
    """Call turn() TURNS_PER_S times a second; returns how often it was called."""
    start = time.monotonic()
    n = 0
    while time.monotonic() - start < seconds:
        turn()
        n += 1
        time.sleep(max(0, start + n / TURNS_PER_S - time.monotonic()))
    return n


def wait_for(port):
    for _ in range(200):
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("nothing listens on port %d" % port)


class Program:
    def __init__(self, build, folder, argv, stdin=None):
        self.path = os.path.join(folder, "run.frag")
        self.process = subprocess.Popen(
            [os.path.join(build, "libtrace/launcher/fragtrace"), "run", "-o", self.path, "--"] + argv, cwd=folder,
            stdin=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)


def redis(build, folder, seconds):
    port = free_port()
    program = Program(build, folder, [need("redis-server"), "--port", str(port), "--save", "", "--bind", "127.0.0.1"])
    wait_for(port)
    connection = socket.create_connection(("127.0.0.1", port))
    answers = connection.makefile("rb")

    def command(*words):
        connection.sendall(b"*%d\r\n" % len(words) + b"".join(
            b"$%d\r\n%s\r\n" % (len(w), w) for w in (str(word).encode() for word in words)))
        line = answers.readline()
        if line[:1] == b"$" and line[1:2] != b"-":
            answers.read(int(line[1:]) + 2)

    def turn():
        key = random.randrange(2000)
        command("SET", "key:%d" % key, "x" * random.randrange(10, 2000))
        command("GET", "key:%d" % random.randrange(2000))
        command("LPUSH", "list", "y" * random.randrange(100))
        command("LTRIM", "list", 0, 500)
        command("HSET", "hash", "field:%d" % random.randrange(500), key)
    for i in range(2000):  # the data set is there before the run is judged
        command("SET", "key:%d" % i, "x" * random.randrange(10, 2000))
    paced(seconds, turn)
    connection.sendall(b"SHUTDOWN NOSAVE\r\n")
    program.process.wait(60)
    return program.path, None


def nginx(build, folder, seconds):
    port = free_port()
    with open(os.path.join(folder, "index.html"), "w") as file:
        file.write("hello\n" * 500)
    with open(os.path.join(folder, "nginx.conf"), "w") as file:
        file.write("daemon off; master_process off; pid %(d)s/pid; error_log %(d)s/error;\n"
                   "events {}\nhttp { access_log %(d)s/access; client_body_temp_path %(d)s/b; proxy_temp_path %(d)s/p;"
                   "fastcgi_temp_path %(d)s/f; uwsgi_temp_path %(d)s/u; scgi_temp_path %(d)s/s;\n"
                   "server { listen 127.0.0.1:%(port)d; root %(d)s; } }\n" % {"d": folder, "port": port})
    program = Program(build, folder, [need("nginx"), "-c", os.path.join(folder, "nginx.conf")])
    wait_for(port)
    paced(seconds, lambda: urllib.request.urlopen("http://127.0.0.1:%d/index.html" % port, timeout=30).read())
    with open(os.path.join(folder, "pid")) as file:
        os.kill(int(file.read()), 15)
    program.process.wait(60)
    return program.path, None


def sqlite(build, folder, seconds, leak=False):
    argv = [need("sqlite3"), os.path.join(folder, "test.db")]
    program = Program(build, folder, argv, subprocess.PIPE)
    feed = program.process.stdin
    feed.write("PRAGMA synchronous=OFF; PRAGMA cache_size=100; CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT); CREATE INDEX i ON t(name);\n")
    for i in range(3000):  # the table is there before the run is judged
        feed.write("INSERT INTO t VALUES(%d, '%s');\n" % (i, "n" * random.randrange(200)))
    if leak:
        feed.write(".load %s sqlite3_remember_init\n" % os.path.join(build, "tests/accuracy/remember"))

    def turn():
        feed.write("INSERT OR REPLACE INTO t VALUES(%d, '%s'); SELECT count(*) FROM t WHERE name > '%s';\n" % (
            random.randrange(3000), "n" * random.randrange(200), "n" * random.randrange(200)))
        if leak:
            feed.write("SELECT remember('%s');\n" % ("r" * 91))  # and a pointer and the end: 100 bytes
        feed.flush()
    n = paced(seconds, turn)
    feed.close()
    program.process.wait(60)
    return program.path, ("remember", 100.0 * n / seconds) if leak else None


def sqlite_leak(build, folder, seconds):
    return sqlite(build, folder, seconds, leak=True)


PROGRAMS = {"redis-server": redis, "nginx": nginx, "sqlite3": sqlite, "sqlite3-leak": sqlite_leak}


def verdict(name, fraganalyze, path, leak):
    out = subprocess.run([fraganalyze, "leaks", "--json", "--quiet", path], check=True, stdout=subprocess.PIPE)
    document = json.loads(out.stdout)
    growing = [group for group in document["groups"] if group["verdict"] == "growing"]
    suspects = [group["name"] for group in document["groups"] if group["verdict"] == "suspect"]
    said = ", ".join("%s %.0f B/s" % (g["name"], g["rate_bytes_per_s"]) for g in growing) or "nothing grows"
    print("%s: %s%s; process %s" % (name, said, "; suspects: " + ", ".join(suspects) if suspects else "",
                                    document["process"]["verdict"]))
    if leak is None:
        return not growing
    return (len(growing) == 1 and growing[0]["name"] == leak[0]
            and abs(growing[0]["rate_bytes_per_s"] / leak[1] - 1) < 0.1)


def main():
    build, seconds = os.path.abspath(sys.argv[1]), float(sys.argv[2])
    names = sys.argv[3:] or list(PROGRAMS)
    wrong = []
    results = {}
    with tempfile.TemporaryDirectory() as scratch:
        def run(name):
            folder = os.path.join(scratch, name)
            os.mkdir(folder)
            try:
                results[name] = PROGRAMS[name](build, folder, seconds)
            except Exception as error:  # a thread's error is told by its name, below
                results[name] = error
        there = [name for name in names if need(name.replace("-leak", ""))]
        for name in sorted(set(names) - set(there)):
            print("%s: not installed, left out" % name)
        threads = [threading.Thread(target=run, args=(name,)) for name in there]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for name in there:
            if isinstance(results[name], Exception):
                print("%s: %r" % (name, results[name]))
                wrong.append(name)
            elif not verdict(name, os.path.join(build, "analyzer/cli/fraganalyze"), *results[name]):
                wrong.append(name)
    if wrong:
        print("wrong: " + ", ".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
