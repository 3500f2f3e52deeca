/* SPDX-License-Identifier: MIT */
/*
 * A pinned heap: few blocks keep many pages
 *
 * A loader reads records of 240 bytes and remembers a 24-byte key for every 32nd of them. Then it
 * drops all records. What is left are the keys, one every other page: live memory is tiny, but
 * nearly each page of the heap still holds one, so that the allocator can return next to nothing.
 * No leak test sees this: the keys are wanted. The fix is in key_remember: take the keys from an
 * array of their own.
 *
 * Expected findings, for 64 000 records (2 000 keys of 24 bytes):
 *
 * args: 3 64000
 * expect: leaks site=record_read absent
 * expect: leaks site=request_serve absent
 * expect: leaks site=key_remember bytes=48000 blocks=2000
 * expect: summary totals.live_bytes<=200000 totals.peak_bytes>=15000000
 * expect: frag metrics.pinned_free_bytes>=7000000 metrics.overhead_ratio>=40
 * expect: frag site=key_remember rank=1 sole>=6000000
 */
#include <string.h>

#include "pace.h"

enum { RECORD_BYTES = 240, KEY_BYTES = 24, RECORDS_A_KEY = 32 };

static char **records, **keys;

static void record_read(long index)
{
	records[index] = malloc(RECORD_BYTES);
	memset(records[index], (int)index, RECORD_BYTES);
}

static void key_remember(long index)
{
	char *key = malloc(KEY_BYTES);

	memcpy(key, records[index], KEY_BYTES);
	keys[index / RECORDS_A_KEY] = key;
}

/* Life goes on, in the holes. */
static void request_serve(void)
{
	char *request = malloc(100), *reply = malloc(200);

	free(request);
	free(reply);
}

int main(int argc, char **argv)
{
	struct pace pace = pace_start(argc, argv, 64000);

	/* Large enough to have mappings of their own: the tables do not take part in the show. */
	records = calloc((size_t)pace.rounds, sizeof(*records));
	keys = calloc((size_t)pace.rounds / RECORDS_A_KEY + 1, sizeof(*keys));

	/* Half the time loading, a quarter dropping, the rest living with what is left. */
	for (long i = 0; i < pace.rounds; i++) {
		record_read(i);
		if (i % RECORDS_A_KEY == RECORDS_A_KEY - 1)
			key_remember(i);
		if (i % 64 == 0)
			pace_round(&pace, i / 2);
	}
	for (long i = 0; i < pace.rounds; i++) {
		free(records[i]);
		if (i % 64 == 0)
			pace_round(&pace, pace.rounds / 2 + i / 4);
	}
	free(records);
	for (long i = 0; i < pace.rounds / 4; i++) {
		request_serve();
		if (i % 64 == 0)
			pace_round(&pace, pace.rounds * 3 / 4 + i);
	}
	pace_round(&pace, pace.rounds);
	return 0;
}
