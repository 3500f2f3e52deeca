# SPDX-License-Identifier: MIT
"""Totals against valgrind: allocations, frees and bytes of real programs, equal to the last one

Each program runs once under `fragtrace run` and once under memcheck, with the same arguments, input
and environment. memcheck replaces the allocator by its own and counts every call ("total heap
usage"), so that two independent implementations have to agree. In both a realloc is one allocation
of its new size and one free. memcheck's two freeres options are off: they would free what the C and
C++ libraries keep, which the program itself never does.

What a program allocates may depend on its environment (perl and git copy it), so that the two
get variables of the same names and lengths: see equal_environments(). It may depend on the time:
fixed_time.c. Programs that allocate by the addresses they are given can't be compared (cc1 has a
table for each 4 GiB of address space that it touches), nor can those with threads.
"""

import functools
import os
import re
import shutil
import sqlite3
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from fttest import Suite, check, check_equal, environment, launcher, need, run  # noqa: E402

suite = Suite()

# Rows of the table below: name, argv, standard input. FILES are made in each run's own folder.
FILES = {
    "data.json": "{\"rows\": [%s]}\n" % ", ".join(
        "{\"x\": %d, \"s\": \"text %d\"}" % (i, i * i) for i in range(2000)),
    "data.xml": "<rows>%s</rows>\n" % "".join(
        "<row n=\"%d\">text %d</row>" % (i, i * i) for i in range(2000)),
    "data.txt": "".join("line %d word%d\n" % (i, i * 7 % 13) for i in range(5000)),
    "other.txt": "".join("line %d word%d\n" % (i, i * 7 % 11) for i in range(5000)),
    "unit.s": "".join(".globl f%d\nf%d:\n\t.quad f%d, %d\n" % (i, i, i * 7 % 400, i)
                      for i in range(400)),
    "table.lua": "local t = {}\nfor i = 1, 20000 do t[i] = (\"k\" .. i):rep(3) end\n"
                 "local s = 0\nfor _, v in ipairs(t) do s = s + #v end\nprint(s)\n",
    "build.ninja": "rule copy\n  command = cp $in $out\n" + "".join(
        "build out%d: copy data.txt\n" % i for i in range(200)),
}
SQL = b"""create table t(a, b);
with recursive c(x) as (select 1 union all select x + 1 from c where x < 5000)
  insert into t select x, x * 2 || 'text' from c;
create index i on t(b);
select count(*), sum(a), max(length(b)) from t where b > '10';
delete from t where a % 3 = 0;
select group_concat(a) from (select a from t order by b limit 50);
"""
PROGRAMS = [
    ("sqlite3", ["sqlite3", "-batch", ":memory:"], SQL),
    ("jq", ["jq", "[.rows[] | select(.x % 3 == 0) | .s] | length", "data.json"], b""),
    ("xmllint", ["xmllint", "--format", "data.xml"], b""),
    ("xpath", ["xmllint", "--xpath", "count(//row[@n > 500])", "data.xml"], b""),
    ("lua", ["lua5.4", "table.lua"], b""),
    ("openssl", ["openssl", "dgst", "-sha256", "data.txt"], b""),
    ("xz", ["xz", "-6", "--threads=1", "--keep", "--stdout", "data.txt"], b""),
    ("awk", ["mawk", "{ n[$3] += $2 } END { for (k in n) s += n[k]; print s }", "data.txt"], b""),
    ("perl", ["perl", "-e", "my %h; $h{$_ % 97} .= \"x$_\" for 1 .. 5000;"
              " print length(join \"\", values %h), \"\\n\""], b""),
    ("grep", ["grep", "-c", "-E", "word(1|2)+", "data.txt"], b""),
    ("sed", ["sed", "-n", "s/word\\([0-9]*\\)/<\\1>/gp", "data.txt"], b""),
    ("sort", ["sort", "--parallel=1", "-k3", "data.txt"], b""),
    ("diff", ["diff", "data.txt", "other.txt"], b""),
    ("git", ["git", "diff", "--no-index", "--stat", "data.txt", "other.txt"], b""),
    ("tar", ["tar", "cf", "-", "data.txt", "data.xml"], b""),
    ("assembler", ["as", "-o", "unit.o", "unit.s"], b""),
    ("objdump", ["objdump", "-dr", "/bin/true"], b""),
    ("readelf", ["readelf", "-SW", "/bin/ls"], b""),
    ("bc", ["bc", "-q"], b"scale = 200\n4 * a(1)\nfor (i = 0; i < 100; i++) i ^ 20\n"),
    ("file", ["file", "data.json", "data.xml", "/bin/ls"], b""),
    ("apt-config", ["apt-config", "dump"], b""),  # C++
    ("ninja", ["ninja", "-n"], b""),  # C++
]
VALGRIND = ["--tool=memcheck", "--run-libc-freeres=no", "--run-cxx-freeres=no", "--leak-check=no"]
RECORDING, LOG = "run.frag", "valgrind.log"
FOLDER_MARK = "\0folder\0"  # no path has a NUL


def under_fragtrace(argv, folder, env, stdin, name=RECORDING):
    recording = os.path.join(folder, name)
    command = launcher(recording, argv)
    command.insert(2, "--no-symbols")
    return run(command, cwd=folder, env=env, stdin=stdin), recording


def under_valgrind(argv, folder, env, stdin):
    log = os.path.join(folder, LOG)
    return run([need("valgrind"), *VALGRIND, "--log-file=" + log] + argv, cwd=folder, env=env,
               stdin=stdin), log


def variables(text):
    return dict(item.split("=", 1) for item in os.fsdecode(text).split("\0") if "=" in item)


def preload_of_length(length):
    """A value of LD_PRELOAD that makes time() stand still, of any length: any number of slashes
    leads to the same file."""
    library = os.environ["FT_FIXED_TIME"]
    check(length >= len(library), "no path of %d characters leads to %s" % (length, library))
    return "/" * (length - len(library)) + library


@functools.cache
def measured_environments(folder_length):
    """equal_environments() of a folder FOLDER_MARK with a path of that length."""
    folder = tempfile.mkdtemp(prefix="fragtrace-test-")
    check_equal(len(folder), folder_length, "length of a scratch folder's path")
    try:
        return [{name: value.replace(folder, FOLDER_MARK) for name, value in env.items()}
                for env in measure_environments(folder)]
    finally:
        shutil.rmtree(folder)


def equal_environments(folder):
    """Environments for the two tools that give the program the same variables: all names in both,
    with the same lengths. Both add some of their own (LD_PRELOAD, FRAGTRACE_*, GLIBCXX_*)."""
    return [{name: value.replace(FOLDER_MARK, folder) for name, value in env.items()}
            for env in measured_environments(len(folder))]


def measure_environments(folder):
    base = {"PATH": environment()["PATH"], "HOME": folder, "LC_ALL": "C", "PERL_HASH_SEED": "0",
            "GIT_CONFIG_NOSYSTEM": "1"}

    def seen(name):
        result, _ = under_fragtrace(["env", "-0"], folder, ours, b"", name)
        mine = variables(result.check_status(0).stdout)
        result, _ = under_valgrind(["env", "-0"], folder, theirs, b"")
        return mine, variables(result.check_status(0).stdout)

    ours, theirs = dict(base), dict(base)
    mine, other = seen("env.frag")  # as long a name as RECORDING
    for name in set(mine) - set(other):
        theirs[name] = mine[name]
    for name in set(other) - set(mine):
        ours[name] = other[name]
    # Both put their own libraries before what LD_PRELOAD says, and a separator in between.
    missing = len(other["LD_PRELOAD"]) - len(mine["LD_PRELOAD"])
    length = len(os.environ["FT_FIXED_TIME"])
    ours["LD_PRELOAD"] = preload_of_length(length + max(missing, 0))
    theirs["LD_PRELOAD"] = preload_of_length(length + max(-missing, 0))

    lengths = [{name: len(value) for name, value in seen.items()} for seen in seen("end.frag")]
    check_equal(lengths[0], lengths[1], "lengths of the variables under fragtrace")
    return ours, theirs


def fragtrace_totals(recording):
    """From the recording's own ledger, without the analyzer. Both of its accounts have to agree."""
    with sqlite3.connect("file:%s?mode=ro" % recording, uri=True) as db:
        state = db.execute("SELECT value FROM meta WHERE key = 'state'").fetchone()
        check_equal(state, ("complete",), "state of the recording")
        lost = db.execute("SELECT count(*) FROM loss").fetchone()[0]
        check_equal(lost, 0, "losses")
        totals = db.execute("SELECT n_allocs, n_frees, bytes_allocated FROM timeline"
                            " ORDER BY id DESC LIMIT 1").fetchone()
        sites = db.execute("SELECT total(n_allocs), total(n_frees), total(bytes_allocated)"
                           " FROM site_total").fetchone()
        unknown = totals[1] - int(sites[1])
        check_equal((totals[0], totals[2]), (int(sites[0]), int(sites[2])), "totals of the sites")
        check_equal(unknown, 0, "frees of no site's blocks")
    return totals


def valgrind_totals(log):
    with open(log, encoding="utf-8", errors="replace") as file:
        text = file.read()
    match = re.search(r"total heap usage: ([\d,]+) allocs, ([\d,]+) frees, ([\d,]+) bytes", text)
    check(match, "valgrind printed no totals:\n" + text[-2000:])
    return tuple(int(number.replace(",", "")) for number in match.groups())


def compare(name, argv, stdin, folder):
    argv = [need(argv[0])] + argv[1:]
    need("valgrind")
    for file, text in FILES.items():
        with open(os.path.join(folder, file), "w", encoding="ascii") as out:
            out.write(text)
    ours, theirs = equal_environments(folder)

    here, recording = under_fragtrace(argv, folder, ours, stdin)
    there, log = under_valgrind(argv, folder, theirs, stdin)
    check_equal(here.status, there.status, "status of %s under fragtrace" % name)
    check_equal(here.stdout, there.stdout, "output of %s under fragtrace" % name)
    counted, expected = fragtrace_totals(recording), valgrind_totals(log)
    print("# %-10s allocations %6d %6d   frees %6d %6d   bytes %9d %9d" % (
        (name,) + tuple(n for pair in zip(counted, expected) for n in pair)))
    check(expected[0] > 0, "%s allocates nothing: it says nothing" % name)
    check_equal(counted, expected, "allocations, frees, bytes of %s" % name)


for row in PROGRAMS:
    suite.add("%s allocates the same under memcheck" % row[0], 120,
              lambda folder, row=row: compare(*row, folder))

if __name__ == "__main__":
    suite.run()
