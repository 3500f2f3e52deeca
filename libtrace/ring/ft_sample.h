/* SPDX-License-Identifier: MIT */
/*
 * The rate of a sampled recording: what --sample and FRAGTRACE_SAMPLE say
 *
 * A block of `size` bytes is recorded with probability 1 - exp(-size / rate), each block on its
 * own. The launcher and the preloaded library read the same text in the same way.
 */
#ifndef FT_SAMPLE_H
#define FT_SAMPLE_H

#include <stdint.h>

#define FT_ENV_SAMPLE	   "FRAGTRACE_SAMPLE"
#define FT_ENV_SAMPLE_SEED "FRAGTRACE_SAMPLE_SEED"

/* A larger one would make one small block stand for more blocks than 32 bits count. */
#define FT_SAMPLE_MAX (UINT64_C(64) << 20)

/* "524288", "512K", "512KiB", "1M", "1MiB": bytes from 1 to FT_SAMPLE_MAX; 0 if it is none. */
static inline uint64_t ft_sample_parse(const char *text)
{
	uint64_t n = 0;

	if (*text < '0' || *text > '9')
		return 0;
	for (; *text >= '0' && *text <= '9'; text++) {
		n = n * 10 + (uint64_t)(*text - '0');
		if (n > FT_SAMPLE_MAX)
			return 0;
	}
	if (*text == 'K' || *text == 'M') {
		n <<= *text == 'K' ? 10 : 20;
		text++;
		if (text[0] == 'i' && text[1] == 'B')
			text += 2;
	}
	return *text || n > FT_SAMPLE_MAX ? 0 : n;
}

#endif
