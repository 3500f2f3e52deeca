#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A JSON service with three ways to keep memory: what scripts/demo records.

Each round parses a batch of orders, answers it, and keeps
  - an audit trail that grows with each round and that nobody reads: a leak in all but name,
  - a bounded cache of the last answers: no leak,
and two thirds of the way through it loads a large catalogue, keeps one small key of each of its
items and drops the rest: from then on few bytes pin many pages.

Run it with PYTHONMALLOC=malloc, so that its objects are blocks of the C library.
Usage: json_service.py [ROUNDS [SECONDS]]
"""

import collections
import json
import os
import sys
import time

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 120
SECONDS = float(sys.argv[2]) if len(sys.argv) > 2 else 8.0

BATCH = 120
CACHE_ENTRIES = 400
CATALOGUE_ITEMS = 30000

audit_trail = []
answers = collections.OrderedDict()
keys = []


def make_batch(n):
    return json.dumps([{"id": n * BATCH + i, "customer": "customer-%d" % (i % 7),
                        "lines": [{"sku": "sku-%d" % (i * j), "amount": i + j, "price": 1.25 * j}
                                  for j in range(5)]}
                       for i in range(BATCH)])


def answer(order):
    total = sum(line["amount"] * line["price"] for line in order["lines"])
    return json.dumps({"id": order["id"], "total": total, "lines": len(order["lines"])})


def serve(n):
    for order in json.loads(make_batch(n)):
        text = answer(order)
        answers[order["id"]] = text
        if len(answers) > CACHE_ENTRIES:
            answers.popitem(last=False)
        if order["id"] % 4 == 0:
            audit_trail.append(text + " " * 120)


def load_catalogue():
    items = []
    for i in range(CATALOGUE_ITEMS):
        items.append({"key": "item-%06d" % i, "text": "x" * 300, "tags": [str(i + t) for t in range(4)]})
        if i % 16 == 0:
            keys.append("kept-%06d" % i)


def main():
    start = time.monotonic()
    for n in range(ROUNDS):
        serve(n)
        if n == ROUNDS * 2 // 3:
            load_catalogue()
        time.sleep(max(0.0, start + SECONDS * (n + 1) / ROUNDS - time.monotonic()))
    print("served %d orders, %d in the audit trail" % (ROUNDS * BATCH, len(audit_trail)), flush=True)
    os._exit(0)  # services are stopped; they do not take down what they hold


main()
