# SPDX-License-Identifier: MIT
"""Shared by the tests of robustness: what a recording says of its image, and the test-tree program."""

import contextlib
import os
import sqlite3
import sys

from fttest import check, check_equal, preload_environment, run, wait_for
from recordings import recordings_in


def helper(name):
    path = os.path.join(os.environ["FT_HELPERS"], name)
    check(os.path.exists(path), path + " was not built")
    return path


def tree(*words):
    """argv of test-tree."""
    return [helper("test-tree")] + [str(word) for word in words]


@contextlib.contextmanager
def opened(path):
    db = sqlite3.connect("file:%s?mode=ro" % path, uri=True)
    try:
        yield db
    finally:
        db.close()


class Image:
    """What the recording of one image says of it."""

    def __init__(self, path):
        self.path, self.name = path, os.path.basename(path)
        with opened(path) as db:
            self.meta = dict(db.execute("SELECT key, value FROM meta"))
            columns = ("pid", "ppid", "exe", "argv", "parent_recording", "fork_ns", "exit_kind", "exit_code")
            row = db.execute("SELECT %s FROM process" % ", ".join(columns)).fetchone()
            self.process = dict(zip(columns, row or [None] * len(columns)))  # no row: the file has not been begun
            self.losses = db.execute("SELECT reason, n_events FROM loss").fetchall()
            self.children = db.execute("SELECT origin, exe, n_allocs, exit_kind FROM child").fetchall()
            self.marks = db.execute("SELECT kind, label, seq, time_ns FROM mark ORDER BY id").fetchall()
        self.origin, self.state = self.meta.get("origin"), self.meta.get("state")
        self.parent = self.process["parent_recording"]


def meta_of(image, key):
    return int(image.meta[key])


def complete(path):
    with contextlib.suppress(sqlite3.Error), opened(path) as db:
        return db.execute("SELECT value FROM meta WHERE key = 'state'").fetchone() == ("complete",)
    return False


def images(folder, n, state="complete"):
    """The images of the folder's recordings, once there are n of them that are complete. (A file that was made for a long life
    of few calls is complete before it goes.)"""
    def there():
        found = recordings_in(folder)
        return len(found) == n and all(complete(path) for path in found)
    wait_for("%d recordings in %s" % (n, folder), there)
    found = [Image(path) for path in recordings_in(folder)]
    check_equal(len(found), n, "recordings (%s)" % [image.name for image in found])
    return found


def sizes(image):
    """Requested sizes of the image's allocations, by number of them; and of what it still had."""
    from fttest import query
    rows = query(image.path, "SELECT requested, count(*) AS n, count(died_seq) AS died FROM allocation"
                             " GROUP BY requested")
    return {int(row["requested"]): (int(row["n"]), int(row["died"])) for row in rows_of(rows)}


def rows_of(answer):
    rows = answer["rows"] if isinstance(answer, dict) else answer
    if rows and not isinstance(rows[0], dict):
        rows = [dict(zip(answer["columns"], row)) for row in rows]
    return rows


def bare(folder, argv, status=0, cwd=None, **changes):
    """Run with the library preloaded and no launcher; every image gets its file."""
    changes.setdefault("FRAGTRACE_MIN_EVENTS", "0")
    changes.setdefault("FRAGTRACE_OUTPUT", os.path.join(folder, "%p.frag"))
    changes.setdefault("FRAGTRACE_SYMBOLIZE", "0")
    return run(argv, cwd=cwd or folder, env=preload_environment(**changes)).check_status(status)


def n_collectors(folder):
    """Collectors that run on behalf of programs whose recordings go to the folder."""
    found = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open("/proc/%s/comm" % pid) as comm:
                if comm.read().strip() != "fragtrace-colle":
                    continue
            with open("/proc/%s/environ" % pid, "rb") as env:
                found += os.fsencode(folder) in env.read()
    return found


def warn(text):
    print("# " + text, file=sys.stdout, flush=True)
