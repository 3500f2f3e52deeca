#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Threads that hand blocks to each other: the recording has the allocator's own order (TAP).

ORDER_EVENTS calls in all (3 000 000), divided among runs with 2 to 8 threads, among them more than most
machines have processors, so that threads are interrupted between taking a stamp and publishing
their record. What the collector could not resolve would be left in its ledger: a free of a block
that it does not know, or an implied free whose real one never came. The events are then replayed,
independently of the collector's own table, by a query.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from fttest import Suite, check, check_equal, query, run, tool  # noqa: E402

EVENTS = int(os.environ.get("ORDER_EVENTS", "3000000"))
SHAPES = [(2, 64), (3, 8), (4, 256), (8, 32), (8, 1024)]  # threads, slots

# Addresses that are born while they live, or die while they do not; a realloc in place does both.
REPLAY = """
WITH step AS (
    SELECT seq * 2 AS at, old_address AS address, -1 AS change FROM event WHERE kind = 'realloc'
    UNION ALL SELECT seq * 2, address, -1 FROM event WHERE kind = 'free'
    UNION ALL SELECT seq * 2 + 1, address, 1 FROM event WHERE kind != 'free'),
line AS (SELECT change, lag(change, 1, -1) OVER (PARTITION BY address ORDER BY at) AS before FROM step)
SELECT count(*) FROM line WHERE change = before
"""

suite = Suite()


def ledger(recording):
    return {key: int(value) for key, value in query(
        recording, "SELECT key, value FROM meta WHERE typeof(value) = 'integer'")["rows"]}


def one_shape(scratch, threads, slots, events):
    recording = os.path.join(scratch, "handoff-%d-%d.frag" % (threads, slots))
    done = run([tool("FRAGTRACE"), "run", "--no-symbols", "-o", recording, "--",
                os.path.join(os.environ["FT_HELPERS"], "test-handoff"), str(threads), str(events), str(slots)])
    done.check_status(0)
    allocs, frees, reallocs = (int(word) for word in done.stdout.split()[:3])
    facts = ledger(recording)

    print("# %d threads, %d slots: %d events, %d inversions, %d implied frees, %d floors passed over, %d waits" % (
        threads, slots, facts["events_read"], facts["inversions"], facts["implied_frees"],
        facts["floors_passed_over"], facts["ring_waits"]))
    check_equal(facts["lost_events"], 0, "lost events")
    check_equal(facts["ring_events"], facts["events_read"], "events in the rings and events read")
    check(facts["events_read"] >= allocs + frees + reallocs,
          "%d calls, %d events" % (allocs + frees + reallocs, facts["events_read"]))
    # An implied free takes the place of a real one, or of the death in a realloc, which is then an allocation.
    check(facts["events_written"] - facts["events_read"] in range(0, facts["implied_frees"] + 1),
          "%(events_read)d events read, %(events_written)d written" % facts)
    check_equal(facts["unknown_frees"], 0, "frees of unknown blocks")
    check_equal(facts["swallowed_frees"], facts["implied_frees"], "implied frees that came, and all")
    # A record comes late only where a thread was held up for longer than its floor is honoured.
    if not facts["floors_passed_over"]:
        check_equal(facts["inversions"], 0, "records that are older than one before them")

    counts = dict(query(recording, "SELECT kind, count(*) FROM event WHERE flags & 4 = 0 GROUP BY kind")["rows"])
    # A realloc whose old block was written as freed already is an allocation; some of libc's own are there too.
    check(counts['alloc'] + counts.get('realloc', 0) - allocs - reallocs in range(0, 1000), "births: %s" % counts)
    if facts["events_written"] <= 2_000_000:  # it is sorted in memory
        wrong = query(recording, REPLAY)["rows"][0][0]
        check_equal(wrong, 0, "births of live and deaths of dead blocks")
    os.unlink(recording)
    return facts["events_read"]


@suite.case("blocks that threads hand to each other live and die in the allocator's order", seconds=3600)
def _(scratch):
    total = sum(one_shape(scratch, threads, slots, EVENTS // len(SHAPES)) for threads, slots in SHAPES)
    print("# %d events in all" % total)


suite.run()
