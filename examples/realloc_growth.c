/* SPDX-License-Identifier: MIT */
/*
 * One buffer that grows
 *
 * A sampler appends 256 bytes to one buffer a round and never trims it. There is always exactly one
 * block, young after each realloc, so that counting blocks or their ages shows nothing; its bytes
 * tell. A realloc counts as one allocation and one free, with no moment in between at which the
 * buffer does not exist.
 *
 * Expected findings, for 2 000 rounds:
 *
 * args: 3 2000
 * expect: leaks site=sample_append bytes=512000 blocks=1 verdict=growing
 * expect: leaks site=sample_encode absent
 * expect: summary totals.allocations>=4000 totals.bytes_allocated>=512256000
 * totals.peak_bytes>=512000
 */
#include <string.h>

#include "pace.h"

enum { SAMPLE_BYTES = 256 };

static char *samples;
static size_t n_bytes;

static char *sample_encode(long round)
{
	char *sample = malloc(SAMPLE_BYTES);

	memset(sample, (int)round, SAMPLE_BYTES);
	return sample;
}

static void sample_append(const char *sample)
{
	samples = realloc(samples, n_bytes + SAMPLE_BYTES);
	memcpy(samples + n_bytes, sample, SAMPLE_BYTES);
	n_bytes += SAMPLE_BYTES;
}

int main(int argc, char **argv)
{
	struct pace pace = pace_start(argc, argv, 2000);

	for (long round = 0; round < pace.rounds; round++) {
		char *sample = sample_encode(round);

		sample_append(sample);
		free(sample);
		pace_round(&pace, round + 1);
	}
	return 0;
}
