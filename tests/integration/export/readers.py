# SPDX-License-Identifier: MIT
"""Those whom exports are for: protoc, the npm packages, and how they are called."""

import fcntl
import json
import os
import re
import shutil
import subprocess

from fttest import check_equal, environment, need, run, skip

HERE = os.path.dirname(os.path.abspath(__file__))
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def packages(work):
    """node_modules in `work`, installed once for a package-lock.json, or skip."""
    need("node")
    need("npm")
    os.makedirs(work, exist_ok=True)
    with open(os.path.join(HERE, "package-lock.json"), "rb") as file:
        lock = file.read()
    with open(os.path.join(work, ".lock"), "w", encoding="ascii") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        stamp = os.path.join(work, "node_modules", ".installed-lock")
        if not os.path.exists(stamp) or open(stamp, "rb").read() != lock:
            for name in ("package.json", "package-lock.json"):
                shutil.copyfile(os.path.join(HERE, name), os.path.join(work, name))
            done = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline",
                                   "--loglevel=error"], cwd=work, check=False, stdout=subprocess.DEVNULL)
            if done.returncode != 0:
                skip("npm could not install speedscope, pprof-format and playwright-core")
            with open(stamp, "wb") as file:
                file.write(lock)
    return work


def speedscope(work, *files):
    """What its page shows of each file: title, profiles, rows [total, self, name]."""
    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if chromium is None:
        skip("chromium is not installed")
    script = shutil.copy(os.path.join(HERE, "speedscope.mjs"), packages(work))
    result = run(["node", script, chromium, *files]).check_status(0)
    return json.loads(result.stdout)


def pprof_format(work, path):
    """[sum of each value] and the types, by the npm package pprof-format."""
    script = ("import { readFileSync } from 'node:fs'; import { gunzipSync } from 'node:zlib'; "
              "import { Profile } from 'pprof-format'; "
              "const p = Profile.decode(gunzipSync(readFileSync(process.argv[1]))); "
              "const text = (i) => p.stringTable.strings[Number(i)]; "
              "const sums = p.sampleType.map((_, i) => String(p.sample.reduce((a, s) => a + BigInt(s.value[i]), 0n))); "
              "console.log(JSON.stringify({ types: p.sampleType.map((t) => text(t.type)), sums }));")
    result = run(["node", "--input-type=module", "-e", script, path], cwd=packages(work),
                 env=environment(NODE_OPTIONS=None)).check_status(0)
    found = json.loads(result.stdout)
    return dict(zip(found["types"], map(int, found["sums"])))


# ---- protoc's text ---------------------------------------------------------------------------------

ESCAPE = re.compile(rb"\\(?:([0-7]{3})|(.))")
ESCAPED = {b"n": b"\n", b"t": b"\t", b"r": b"\r"}


def unescape(text):
    return ESCAPE.sub(lambda m: bytes([int(m[1], 8)]) if m[1] else ESCAPED.get(m[2], m[2]), text)


def protoc(schema, message, data):
    """A message as {field: [values]}, decoded by protoc; bytes stay bytes."""
    text = run([need("protoc"), "--decode=" + message, "-I", HERE, os.path.join(HERE, schema)],
               stdin=data).check_status(0).stdout
    root = {}
    stack = [root]
    for line in text.splitlines():
        line = line.strip()
        if line == b"}":
            stack.pop()
        elif line.endswith(b" {"):
            inner = {}
            stack[-1].setdefault(line[:-2].decode(), []).append(inner)
            stack.append(inner)
        else:
            name, value = line.split(b": ", 1)
            check_equal(name.isdigit(), False, "a field that is not in the schema: %r" % line)
            value = (unescape(value[1:-1]) if value[:1] == b'"' else value == b"true" if value in (b"true", b"false")
                     else int(value))
            stack[-1].setdefault(name.decode(), []).append(value)
    check_equal(len(stack), 1, "open messages")
    return root


def one(message, name, default=0):
    return message.get(name, [default])[0]
