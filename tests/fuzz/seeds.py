#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Seeds for the fuzzers: small recordings, and the packed blobs in them.

Usage: seeds.py MAKE_RECORDING FOLDER; writes FOLDER/recording/*, FOLDER/chunk/*. The recordings are
rewritten with small pages and without spare room: a fuzzer gets further with fewer bytes.
"""

import os
import sqlite3
import subprocess
import sys

make_recording, folder = sys.argv[1:]
shapes = {"one": ["-n", "1"], "small": ["-n", "200"], "threads": ["-n", "2000", "-t", "4"],
          "cut": ["-n", "500", "-c"],
          "rolled": ["-n", "1500", "-l", "20", "-s", "3", "-g", "20000", "-A", "10000000", "-T", "5000000"]}

for kind in ("recording", "chunk"):
    os.makedirs(os.path.join(folder, kind), exist_ok=True)
for name, arguments in shapes.items():
    path = os.path.join(folder, "recording", name)
    for leftover in (path, path + "-wal", path + "-shm"):
        if os.path.exists(leftover):
            os.unlink(leftover)
    subprocess.run([make_recording, *arguments, path], check=True, stdout=subprocess.DEVNULL)
    with sqlite3.connect(path, isolation_level=None) as db:
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("PRAGMA page_size = 512")
        db.execute("VACUUM")
        chunks = db.execute("SELECT data FROM event_chunk UNION ALL SELECT data FROM keyframe"
                            " UNION ALL SELECT data FROM site_rollup UNION ALL SELECT pairs FROM site_rollup"
                            " UNION ALL SELECT largest FROM site_rollup").fetchall()
    db.close()
    for number, (data,) in enumerate(chunks):
        with open(os.path.join(folder, "chunk", "%s-%d" % (name, number)), "wb") as file:
            file.write(data)
