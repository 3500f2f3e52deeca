/* SPDX-License-Identifier: MIT */
/* Stamps to times: see co_clock.h. */
#include "co_clock.h"

#include <stdlib.h>
#include <time.h>

#include "ft_segment.h"

#define NS_PER_S INT64_C(1000000000)

/* Two processors' clocks never differ by so much. */
#define JUMP_NS UINT64_C(1000000)

int64_t co_clock_monotonic(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

uint64_t co_clock_stamp(uint32_t source)
{
#if defined(__x86_64__)
	if (source == FT_CLOCK_TSC) {
		__builtin_ia32_lfence();
		return __builtin_ia32_rdtsc();
	}
#endif
	return (uint64_t)co_clock_monotonic();
}

struct co_reading co_clock_read(uint32_t source)
{
	struct co_reading best = {0};
	uint64_t best_width = UINT64_MAX;

	if (source != FT_CLOCK_TSC) {
		int64_t now = co_clock_monotonic();
		return (struct co_reading){(uint64_t)now, now};
	}

	/* A reading that was interrupted between the two clocks is a bad one; 300 ticks or so are
	 * what an undisturbed one takes. */
	for (int i = 0; i < 4 && best_width > 600; i++) {
		uint64_t before = co_clock_stamp(source);
		int64_t ns = co_clock_monotonic();
		uint64_t width = co_clock_stamp(source) - before;

		if (width < best_width) {
			best_width = width;
			best = (struct co_reading){before + width / 2, ns};
		}
	}
	return best;
}

static void timebase_slope(struct co_timebase *base)
{
	uint64_t ticks = base->now.stamp - base->knot.stamp;
	int64_t ns = base->now.monotonic_ns - base->knot.monotonic_ns;

	if (base->now.stamp > base->knot.stamp && ns > 0)
		base->ns_per_tick = (double)ns / (double)ticks;
}

void co_timebase_init(struct co_timebase *base, uint32_t source, struct co_reading claimed,
		      struct co_reading now, double rate)
{
	*base = (struct co_timebase){
		.source = source, .knot = claimed, .now = now, .ns_per_tick = rate};

	if (claimed.stamp > now.stamp || claimed.monotonic_ns > now.monotonic_ns ||
	    claimed.monotonic_ns < 0) {
		base->knot = now;
	} else {
		double ns = (double)(now.stamp - claimed.stamp) * rate;
		double off = ns - (double)(now.monotonic_ns - claimed.monotonic_ns);

		if (off < 0)
			off = -off;
		if (off > 1e6 + ns / 20) {
			if (ns > (double)now.monotonic_ns) /* before the boot: nonsense too */
				base->knot = now;
			else
				base->knot.monotonic_ns = now.monotonic_ns - (int64_t)ns;
		}
	}
	base->start_ns = base->knot.monotonic_ns;
	timebase_slope(base);
}

bool co_timebase_update(struct co_timebase *base, struct co_reading now)
{
	bool is_knot = false;

	if (now.stamp <= base->now.stamp || now.monotonic_ns <= base->now.monotonic_ns)
		return false;
	if (base->now.monotonic_ns - base->knot.monotonic_ns >= NS_PER_S) {
		base->knot = base->now;
		is_knot = true;
	}
	base->now = now;
	/* Right after a knot the piece is short and its slope is noise, but what is converted with
	 * it is as near to both ends, so that the error stays that of a reading. */
	timebase_slope(base);
	return is_knot;
}

bool co_timebase_has_gone_back(const struct co_timebase *base, struct co_reading now)
{
	return now.stamp < base->now.stamp &&
	       base->now.stamp - now.stamp > co_timebase_ticks(base, JUMP_NS);
}

void co_timebase_restart(struct co_timebase *base, struct co_reading now)
{
	base->knot = base->now = now;
}

uint64_t co_timebase_before(const struct co_timebase *base, uint64_t stamp)
{
	int64_t knot = base->knot.monotonic_ns - base->start_ns;
	double ns = (double)(base->knot.stamp - stamp) * base->ns_per_tick;

	return ns >= (double)knot ? 0 : (uint64_t)(knot - (int64_t)ns);
}

uint64_t co_timebase_ticks(const struct co_timebase *base, uint64_t ns)
{
	return base->ns_per_tick > 0 ? (uint64_t)((double)ns / base->ns_per_tick) : ns;
}
