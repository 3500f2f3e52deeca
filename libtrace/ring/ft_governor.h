/* SPDX-License-Identifier: MIT */
/*
 * Keeping what recording adds below a limit: what --max-overhead and FRAGTRACE_MAX_OVERHEAD say,
 * and the steps that are taken for it
 *
 * The traced program measures the time that it spends recording; the collector compares that with
 * the program's time and says, in one word of the segment, which step is in force; each event
 * looks at it. First stacks are cut to fewer frames, then blocks are left out: of those that are
 * allocated then, only ones that are struck by one in so many bytes are recorded (as tr_sample.h
 * says it; nothing is scaled up for it). Frees of recorded blocks are recorded at every step.
 */
#ifndef FT_GOVERNOR_H
#define FT_GOVERNOR_H

#include <stdint.h>
#include <stdlib.h>

#define FT_ENV_MAX_OVERHEAD "FRAGTRACE_MAX_OVERHEAD"

/* The limit in millionths of the program's own time: 0.1 % to 1000 %. */
enum { FT_OVERHEAD_LEAST = 1000, FT_OVERHEAD_MOST = 10000000 };

struct ft_governor_step {
	uint32_t depth;	       /* frames kept of a stack, at most; 0: as many as without a limit */
	uint32_t sample_bytes; /* 0: every block is recorded */
};

enum {
	FT_GOVERNOR_STEPS = 6,
	FT_GOVERNOR_CUTS = 3, /* the last step at which every block is recorded */
};

static inline struct ft_governor_step ft_governor_step(uint32_t step)
{
	static const struct ft_governor_step steps[FT_GOVERNOR_STEPS] = {
		{0, 0}, {64, 0}, {16, 0}, {4, 0}, {0, 64 << 10}, {0, 1 << 20}};

	return steps[step < FT_GOVERNOR_STEPS ? step : FT_GOVERNOR_STEPS - 1];
}

/* "5%", "5", "0.5%": millionths; 0 if it is none. No strtod(): the traced program's locale and
 * floating-point environment are its own. */
static inline uint32_t ft_overhead_parse(const char *text)
{
	uint64_t n = 0, unit = 10000;

	if (*text < '0' || *text > '9')
		return 0;
	for (; *text >= '0' && *text <= '9'; text++) {
		n = n * 10 + (uint64_t)(*text - '0') * 10000;
		if (n > FT_OVERHEAD_MOST)
			return 0;
	}
	if (*text == '.')
		for (text++; *text >= '0' && *text <= '9'; text++) {
			unit /= 10;
			n += (uint64_t)(*text - '0') * unit;
		}
	if (*text == '%')
		text++;
	return *text || n < FT_OVERHEAD_LEAST || n > FT_OVERHEAD_MOST ? 0 : (uint32_t)n;
}

#endif
