# SPDX-License-Identifier: MIT
"""A service that parses documents and remembers a session of each: Python's own threading HTTP server.

Usage: server.py PORT. Set BURST_TRIM=1 for the remedy: malloc_trim(0) when no request has come for a
second. GET /rss gives the resident size in bytes.
"""

import collections
import ctypes
import http.server
import json
import os
import sys
import threading
import time

sessions = collections.OrderedDict()
lock = threading.Lock()
last_request = time.monotonic()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, text):
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_POST(self):
        global last_request
        body = self.rfile.read(int(self.headers["Content-Length"]))
        rows = json.loads(body)
        by_name = collections.defaultdict(list)
        for row in rows:
            by_name[row["name"]].append(row["value"])
        totals = {name: sum(values) for name, values in by_name.items()}
        with lock:
            session = {"time": time.time(), "best": sorted(totals.items(), key=lambda t: -t[1])[:20]}
            sessions[len(sessions), self.client_address] = session
            last_request = time.monotonic()
        self.answer(json.dumps({"names": len(totals)}).encode())

    def do_GET(self):
        with open("/proc/self/statm") as statm:
            self.answer(str(int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")).encode())

    def log_message(self, *_):
        pass


def trim_when_idle():
    libc = ctypes.CDLL("libc.so.6")
    trimmed = None
    while True:
        time.sleep(0.2)
        if trimmed != last_request and time.monotonic() - last_request > 1:
            trimmed = last_request
            libc.malloc_trim(0)


if os.environ.get("BURST_TRIM"):
    threading.Thread(target=trim_when_idle, daemon=True).start()
http.server.ThreadingHTTPServer.request_queue_size = 64
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
