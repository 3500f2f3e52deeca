/* SPDX-License-Identifier: MIT */
/* Pages of the kernel's trace buffer: see no_ring.h. */
#include "no_ring.h"

#include <string.h>

const char *const no_event_names[NO_EVENT_NAMES] = {
	"kmem/mm_page_alloc",
	"kmem/mm_page_free",
	"kmem/mm_page_alloc_zone_locked",
	"kmem/mm_page_pcpu_drain",
	"kmem/mm_page_alloc_extfrag",
	"compaction/mm_compaction_begin",
	"compaction/mm_compaction_end",
	"compaction/mm_compaction_isolate_freepages",
	"compaction/mm_compaction_isolate_migratepages",
	"compaction/mm_compaction_migratepages",
};

/* ---- layouts --------------------------------------------------------------------------------- */

static const struct {
	const char *pfn, *order, *type, *other_type, *n, *flag;
} fields[FT_NODE_EVENT_KINDS] = {
	[FT_NODE_ALLOC] = {"pfn", "order", "migratetype", NULL, NULL, NULL},
	[FT_NODE_RELEASE] = {"pfn", "order", NULL, NULL, NULL, NULL},
	[FT_NODE_TAKE] = {"pfn", "order", "migratetype", NULL, NULL, NULL},
	[FT_NODE_DRAIN] = {"pfn", "order", "migratetype", NULL, NULL, NULL},
	[FT_NODE_FALLBACK] = {"pfn", "alloc_order", "alloc_migratetype", "fallback_migratetype",
			      "fallback_order", "change_ownership"},
	[FT_NODE_COMPACT_BEGIN] = {"zone_start", NULL, NULL, NULL, NULL, "sync"},
	[FT_NODE_COMPACT_END] = {"zone_start", NULL, NULL, NULL, "status", NULL},
	[FT_NODE_COMPACT_FREE] = {"start_pfn", NULL, NULL, NULL, "nr_taken", NULL},
	[FT_NODE_COMPACT_SOURCE] = {"start_pfn", NULL, NULL, NULL, "nr_taken", NULL},
	[FT_NODE_COMPACT_MOVED] = {NULL, NULL, NULL, NULL, "nr_migrated", NULL},
};

static bool slot_make(const struct no_format *format, const char *name, struct no_slot *ret)
{
	const struct no_field *field;

	*ret = (struct no_slot){0, 0};
	if (!name)
		return true;
	field = no_format_field(format, name);
	if (!field ||
	    (field->size != 1 && field->size != 2 && field->size != 4 && field->size != 8))
		return false;
	*ret = (struct no_slot){field->offset, field->size};
	return true;
}

bool no_layout_make(enum ft_node_event_kind kind, const struct no_format *format,
		    struct no_layout *ret)
{
	*ret = (struct no_layout){.id = format->id};
	ret->has = slot_make(format, fields[kind].pfn, &ret->pfn) &&
		   slot_make(format, fields[kind].order, &ret->order) &&
		   slot_make(format, fields[kind].type, &ret->type) &&
		   slot_make(format, fields[kind].other_type, &ret->other_type) &&
		   slot_make(format, fields[kind].n, &ret->n) &&
		   slot_make(format, fields[kind].flag, &ret->flag);
	return ret->has;
}

/* ---- records --------------------------------------------------------------------------------- */

static uint32_t u32_at(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static uint64_t u64_at(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

/* A field; false: the record ends before it. Sizes are 1, 2, 4, 8 (little endian), or 0. */
static bool slot_read(const uint8_t *data, size_t len, struct no_slot slot, uint64_t *ret)
{
	*ret = 0;
	if (slot.offset > len || slot.size > len - slot.offset)
		return false;
	memcpy(ret, data + slot.offset, slot.size);
	return true;
}

/* False: it is one of ours, and shorter than the kernel said. */
static bool event_read(const uint8_t *data, size_t len, const struct no_layout *layouts,
		       struct ft_node_event *event)
{
	uint64_t pfn, order, type, other, n, flag;
	uint32_t id;

	event->kind = 0;
	if (len < 8)
		return false;
	id = u32_at(data) & 0xffff;
	for (unsigned kind = 1; kind < FT_NODE_EVENT_KINDS && !event->kind; kind++)
		if (layouts[kind].has && layouts[kind].id == id)
			event->kind = (uint8_t)kind;
	if (!event->kind)
		return true;

	const struct no_layout *layout = &layouts[event->kind];

	if (!slot_read(data, len, layout->pfn, &pfn) ||
	    !slot_read(data, len, layout->order, &order) ||
	    !slot_read(data, len, layout->type, &type) ||
	    !slot_read(data, len, layout->other_type, &other) ||
	    !slot_read(data, len, layout->n, &n) || !slot_read(data, len, layout->flag, &flag))
		return false;
	event->pfn = pfn;
	event->order = order > 15 ? 15 : (uint8_t)order;
	event->type = type > 7 ? 7 : (uint8_t)type;
	event->other_type = other > 7 ? 7 : (uint8_t)other;
	event->n = n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
	event->flag = flag != 0;
	return true;
}

/* ---- a page ---------------------------------------------------------------------------------- */

enum {
	PAGE_HEADER = 16, /* u64 time stamp, u64 commit */
	TYPE_DATA_MAX = 28,
	TYPE_PADDING = 29,
	TYPE_EXTEND = 30, /* the high bits of a difference */
	TYPE_STAMP = 31,  /* an absolute time */
	DELTA_BITS = 27,
	STAMP_BITS = 59,
};

#define COMMIT_BYTES  UINT64_C(0xfffff)
#define COMMIT_MISSED (UINT64_C(1) << 31)
#define COMMIT_STORED (UINT64_C(1) << 30) /* their number stands behind the data */

struct record {
	const uint8_t *data;
	size_t len;
	bool is_event;
};

/* The record at `at`; *next gets the place of the one after it, 0: the page ends here. False: it is
 * not sound. */
static bool record_read(const uint8_t *page, size_t end, size_t at, uint64_t *time,
			struct record *record, size_t *next)
{
	uint32_t word = u32_at(page + at), type = word & 31, delta = word >> 5;
	size_t left = end - at - 4, size;

	*record = (struct record){0};
	if (type == TYPE_PADDING && !delta) {
		*next = 0;
		return true;
	}
	if (type >= TYPE_EXTEND) {
		if (left < 4)
			return false;

		uint64_t value = ((uint64_t)u32_at(page + at + 4) << DELTA_BITS) + delta;

		/* The time of a page has the bits that an absolute stamp has no room for. */
		*time = type == TYPE_EXTEND ? *time + value
					    : (*time >> STAMP_BITS << STAMP_BITS) |
						      (value & ((UINT64_C(1) << STAMP_BITS) - 1));
		*next = at + 8;
		return true;
	}
	*time += delta;
	if (type == TYPE_PADDING || !type) {
		if (left < 4)
			return false;
		size = u32_at(page + at + 4);
		/* The length counts its own word. */
		if (size < 4 || size > left)
			return false;
		record->data = page + at + 8;
		record->len = size - 4;
		record->is_event = !type;
		*next = at + 4 + ((size + 3) & ~(size_t)3);
		return true;
	}
	size = type * 4;
	if (size > left)
		return false;
	*record = (struct record){page + at + 4, size, true};
	*next = at + 4 + size;
	return true;
}

void no_ring_page(const uint8_t *page, size_t len,
		  const struct no_layout layouts[FT_NODE_EVENT_KINDS], uint16_t cpu,
		  void (*visit)(void *ctx, const struct ft_node_event *event), void *ctx,
		  struct no_page_facts *facts)
{
	uint64_t time, commit;
	size_t end, at = PAGE_HEADER;

	*facts = (struct no_page_facts){0};
	if (len < PAGE_HEADER) {
		facts->n_bad = 1;
		return;
	}
	time = u64_at(page);
	commit = u64_at(page + 8);
	end = PAGE_HEADER + (size_t)(commit & COMMIT_BYTES);
	if (end > len) {
		facts->n_bad = 1;
		end = len;
	}
	if (commit & COMMIT_MISSED)
		facts->missed = commit & COMMIT_STORED && len - end >= 8 ? u64_at(page + end) : 1;
	while (end - at >= 4) {
		struct ft_node_event event;
		struct record record;
		size_t next;

		if (!record_read(page, end, at, &time, &record, &next)) {
			facts->n_bad++;
			return;
		}
		if (record.is_event) {
			if (!event_read(record.data, record.len, layouts, &event)) {
				facts->n_bad++;
			} else if (event.kind) {
				event.time_ns = time;
				event.cpu = cpu;
				visit(ctx, &event);
			}
		}
		if (!next || next > end)
			return;
		at = next;
	}
}
