/* SPDX-License-Identifier: MIT */
/* Code that was unloaded: see tr_retired.h. */
#include "tr_retired.h"

#include <stddef.h>

enum { N_KNOWN = 256, STAMP_MAX = 0xffff };

/* Codes that lay in ranges of which something was unloaded; never taken out. */
static struct known {
	struct tr_code code;
	_Atomic uint32_t stamp;	  /* + 1; 0: being filled in */
	_Atomic uint32_t checked; /* the unload since which it has been found at its place, + 1 */
} known[N_KNOWN];

static _Atomic uint32_t n_known, n_stamps, n_unloads;
static _Atomic uint32_t stamp_of_all; /* once there is no room */
_Atomic uint32_t tr_retired_watch;

static uint32_t n_used(void)
{
	uint32_t n = atomic_load_explicit(&n_known, memory_order_acquire);

	return n < N_KNOWN ? n : N_KNOWN;
}

static struct known *find(const struct tr_code *code)
{
	for (uint32_t i = 0, n = n_used(); i < n; i++)
		if (atomic_load_explicit(&known[i].stamp, memory_order_acquire) &&
		    known[i].code.start == code->start && known[i].code.end == code->end &&
		    known[i].code.id == code->id)
			return &known[i];
	return NULL;
}

static bool overlaps(const struct tr_code *code)
{
	for (uint32_t i = 0, n = n_used(); i < n; i++)
		if (atomic_load_explicit(&known[i].stamp, memory_order_acquire) &&
		    known[i].code.start < code->end && known[i].code.end > code->start)
			return true;
	return false;
}

static struct known *enter(const struct tr_code *code, uint32_t stamp)
{
	uint32_t i = atomic_fetch_add(&n_known, 1);

	if (i >= N_KNOWN) {
		atomic_store(&n_known, N_KNOWN);
		return NULL;
	}
	known[i].code = *code;
	atomic_store_explicit(&known[i].stamp, stamp + 1, memory_order_release);
	return &known[i];
}

static uint32_t next_stamp(void)
{
	return atomic_fetch_add(&n_stamps, 1) + 1;
}

static uint32_t stamp_of(const struct known *of)
{
	return (atomic_load_explicit(&of->stamp, memory_order_relaxed) - 1 +
		atomic_load_explicit(&stamp_of_all, memory_order_relaxed)) &
	       STAMP_MAX;
}

uint32_t tr_retired_stamp_slow(uintptr_t pc)
{
	bool settled = !tr_unloading();
	uint32_t now = atomic_load_explicit(&n_unloads, memory_order_acquire) + 1;
	struct tr_code code;
	struct known *at;
	bool here = !settled;

	for (uint32_t i = 0, n = n_used(); i < n; i++) {
		at = &known[i];
		if (!atomic_load_explicit(&at->stamp, memory_order_acquire) ||
		    pc - at->code.start >= at->code.end - at->code.start)
			continue;
		if (settled && atomic_load_explicit(&at->checked, memory_order_relaxed) == now)
			return stamp_of(at);
		here = true;
	}
	if (!here || !tr_module_identify(pc, &code))
		return atomic_load_explicit(&stamp_of_all, memory_order_relaxed) & STAMP_MAX;

	at = find(&code);
	if (!at && !overlaps(&code))
		return atomic_load_explicit(&stamp_of_all, memory_order_relaxed) & STAMP_MAX;
	if (!at)
		at = enter(&code, next_stamp());
	if (!at)
		return now & STAMP_MAX;
	if (settled)
		atomic_store_explicit(&at->checked, now, memory_order_relaxed);
	return stamp_of(at);
}

void tr_retire_begin(void)
{
	atomic_fetch_add(&tr_retired_watch, TR_UNLOADING);
}

void tr_retire_end(void)
{
	atomic_fetch_sub(&tr_retired_watch, TR_UNLOADING);
}

void tr_retire(const struct tr_code *code)
{
	struct known *at = find(code);

	/* The first that lay there had no stamp. */
	if (!at && !overlaps(code))
		at = enter(code, 0);
	else if (!at)
		at = enter(code, next_stamp());
	else if (!code->id)
		atomic_store(&at->stamp, next_stamp() + 1);
	if (!at)
		atomic_store(&stamp_of_all, next_stamp());
	atomic_fetch_or(&tr_retired_watch, TR_RETIRED);
	atomic_fetch_add_explicit(&n_unloads, 1, memory_order_release);
}
