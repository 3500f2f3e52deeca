/* SPDX-License-Identifier: MIT */
/* What the program says of itself: marks, and pools of its own (fragtrace/mark.h). */
#include <string.h>

#include "tr_record.h"
#include "tr_session.h"
#include "tr_stack.h"

void tr_write_mark(struct tr_lane *lane, enum ft_wire_mark kind, const char *text, uint64_t stamp)
{
	size_t bytes = strnlen(text, (FT_WIRE_MAX_WORDS - 2) * sizeof(uint64_t));
	unsigned n = (unsigned)(2 + (bytes + 7) / 8);
	uint64_t *w = tr_reserve(lane, n, stamp);

	if (!w)
		return;
	w[n - 1] = 0;
	memcpy(w + 2, text, bytes);
	w[1] = stamp;
	w[0] = ft_wire_head(FT_WIRE_MARK, kind, 0, n, (uint32_t)bytes);
	tr_publish(lane, n, stamp);
}

void tr_record_mark(const char *label)
{
	struct tr_self *self = &tr_self;
	const void *frame = __builtin_frame_address(0);
	struct tr_lane *lane = tr_enter(self, frame);

	if (!lane)
		return;

	uint64_t outer = tr_set_floor(self, lane, frame);

	tr_write_mark(lane, FT_WIRE_MARK_USER, label, tr_stamp_ordered());
	tr_restore_floor(lane, outer);
	tr_leave(self, lane);
}

/* An event of a pool's, like those of the allocator's. One that a handler has inside of a hook is
 * left out. */
void tr_record_pool(enum ft_wire_pool what, const void *pool, const void *block, size_t size,
		    const char *name, const void *frame)
{
	enum { HEAD = 5, NAME_MAX_BYTES = 255 };
	struct tr_self *self = &tr_self;
	size_t bytes = name ? strnlen(name, NAME_MAX_BYTES) : 0;
	unsigned n = (unsigned)(HEAD + (bytes + 7) / 8);

	/* Of a sample nobody knows what an object would stand for. */
	if (tr_settings.sample_bytes)
		return;

	struct tr_lane *lane = tr_enter(self, frame);

	if (!lane)
		return;

	uint64_t outer = tr_set_floor(self, lane, frame);
	uint64_t stamp = tr_stamp_ordered();
	bool is_free = what == FT_WIRE_POOL_FREE;
	bool is_event = is_free || what == FT_WIRE_POOL_ALLOC;
	uint32_t stack = is_free && !tr_settings.free_stacks ? 0 : tr_stack(lane, frame, stamp);
	uint64_t *w = tr_reserve(lane, n, stamp);

	if (w) {
		w[n - 1] = 0;
		if (bytes)
			memcpy(w + HEAD, name, bytes);
		w[4] = what == FT_WIRE_POOL_CREATE ? bytes : size;
		w[3] = (uint64_t)(uintptr_t)block;
		w[2] = (uint64_t)(uintptr_t)pool;
		w[1] = stamp;
		w[0] = ft_wire_head(FT_WIRE_POOL, what, 0, n, stack);
		if (is_event)
			tr_count_event(lane);
		tr_publish(lane, n, stamp);
	} else if (is_event) {
		tr_count_lost(lane);
	}
	tr_restore_floor(lane, outer);
	tr_leave(self, lane);
}
