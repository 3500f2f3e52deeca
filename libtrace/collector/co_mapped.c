/* SPDX-License-Identifier: MIT */
/* The program's own mappings: see co_mapped.h. */
#include "co_mapped.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "co_session.h"

/* How long the place of an unmapping may be another thread's before its record comes. */
#define SETTLED_NS UINT64_C(2000000000)
#define SPACE_END  (UINT64_C(1) << FT_WIRE_ADDRESS_BITS)

static const char *const names[FT_WIRE_MAP_N] = {NULL,	"mmap", "munmap", "mremap",
						 "brk", "sbrk", "madvise"};

static void changed(void *ctx, uint32_t site, int64_t bytes, int32_t n_ranges)
{
	struct co_mapped *mapped = ctx;
	struct ft_map_site_row *row = &mapped->sites[site];

	row->live_bytes += (uint64_t)bytes;
	row->live_ranges += (uint64_t)(int64_t)n_ranges;
	mapped->live_bytes += (uint64_t)bytes;
	mapped->dirty[site] = true;
	if (row->live_bytes > row->peak_bytes)
		row->peak_bytes = row->live_bytes;
	if (mapped->live_bytes > mapped->peak_bytes)
		mapped->peak_bytes = mapped->live_bytes;
}

void co_mapped_init(struct co_mapped *mapped)
{
	*mapped = (struct co_mapped){.ranges = {.changed = changed, .ctx = mapped}};
	ft_map_init(&mapped->by_key);
}

void co_mapped_deinit(struct co_mapped *mapped)
{
	co_ranges_deinit(&mapped->ranges);
	ft_map_deinit(&mapped->by_key);
	free(mapped->sites);
	free(mapped->dirty);
}

static bool grow(struct co_mapped *mapped)
{
	uint32_t capacity = mapped->capacity ? mapped->capacity * 2 : 64;
	struct ft_map_site_row *sites;
	bool *dirty;

	if (mapped->n_sites < mapped->capacity)
		return true;
	if (capacity > CO_MAP_SITES)
		return false;
	sites = realloc(mapped->sites, capacity * sizeof(*sites));
	if (sites)
		mapped->sites = sites;
	dirty = realloc(mapped->dirty, capacity * sizeof(*dirty));
	if (dirty)
		mapped->dirty = dirty;
	if (!sites || !dirty)
		return false;
	mapped->capacity = capacity;
	return true;
}

/* Index + 1; 0: there is no room for one more. Advices of one madvise() are sites of their own. */
static uint32_t site_of(struct co_mapped *mapped, uint32_t stack, unsigned call, int64_t advice)
{
	/* Advices are small numbers: those of the kernel's are below 128. */
	uint64_t key = (uint64_t)stack << 32 | (uint64_t)(advice & 0xffff) << 8 | call;
	uint64_t *index = ft_map_get(&mapped->by_key, key);

	if (index)
		return (uint32_t)*index;
	if (!grow(mapped))
		return 0;
	index = ft_map_put(&mapped->by_key, key, NULL);
	if (!index)
		return 0;
	mapped->sites[mapped->n_sites] = (struct ft_map_site_row){
		.stack = stack, .call = names[call], .prot = -1, .flags = -1};
	mapped->dirty[mapped->n_sites] = false;
	*index = ++mapped->n_sites;
	return mapped->n_sites;
}

struct call {
	uint64_t early, address, bytes, old_address, old_bytes;
	int64_t prot, flags; /* -1: none */
	unsigned what;	     /* enum ft_wire_map */
};

/* Whole units, in both ends of a range. False: it goes beyond all addresses. */
static bool round_span(uint64_t *address, uint64_t *bytes, uint64_t unit)
{
	uint64_t end = *address + *bytes + unit - 1;

	if (*address >= SPACE_END || *bytes >= SPACE_END || end >= SPACE_END)
		return false;
	end &= ~(unit - 1);
	*address &= ~(unit - 1);
	*bytes = end - *address;
	return true;
}

static bool decode(const struct co_side *side, unsigned what, struct call *call)
{
	enum { HUGE_SHIFT = 26, HUGE_MASK = 63, HUGE_USUAL = 21 };
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), unit = page;

	*call = (struct call){.early = side->words[2],
			      .address = side->words[3],
			      .bytes = side->words[4],
			      .old_address = side->words[5],
			      .old_bytes = side->words[6],
			      .prot = -1,
			      .flags = -1,
			      .what = what};
	if (what == FT_WIRE_MAP_MMAP)
		call->prot = (uint32_t)side->words[7];
	if (what == FT_WIRE_MAP_MMAP || what == FT_WIRE_MAP_MREMAP || what == FT_WIRE_MAP_MADVISE)
		call->flags = (int64_t)(side->words[7] >> 32);
	if (what == FT_WIRE_MAP_MMAP && call->flags & MAP_HUGETLB) {
		unsigned log2 = (unsigned)(call->flags >> HUGE_SHIFT) & HUGE_MASK;

		unit = UINT64_C(1) << (log2 ? log2 : HUGE_USUAL);
		unit = unit < page || unit >= SPACE_END ? page : unit;
	}
	/* A program break may lie within a page: what is before it there stays as it was. */
	if (what == FT_WIRE_MAP_BRK || what == FT_WIRE_MAP_SBRK) {
		uint64_t from = call->address & (page - 1), old = call->old_address & (page - 1);

		if (from && call->bytes) {
			call->address += page - from;
			call->bytes -= call->bytes < page - from ? call->bytes : page - from;
		}
		if (old && call->old_bytes) {
			call->old_address += page - old;
			call->old_bytes -=
				call->old_bytes < page - old ? call->old_bytes : page - old;
		}
	}
	return round_span(&call->address, &call->bytes, unit) &&
	       round_span(&call->old_address, &call->old_bytes, page);
}

static void apply(struct co_session *session, const struct co_record *record,
		  const struct call *call, uint32_t site)
{
	struct co_mapped *mapped = &session->mapped;
	struct co_ranges *ranges = &mapped->ranges;
	struct ft_map_site_row *row = &mapped->sites[site];
	const struct co_range range = {.start = call->address,
				       .end = call->address + call->bytes,
				       .born = record->stamp,
				       .site = site};

	row->n_calls++;
	row->prot = call->prot;
	row->flags = call->flags;
	mapped->dirty[site] = true;
	switch (call->what) {
	case FT_WIRE_MAP_MADVISE:
		row->bytes += call->bytes;
		return;
	case FT_WIRE_MAP_MUNMAP:
		row->bytes += call->old_bytes;
		break;
	case FT_WIRE_MAP_MREMAP:
		/* Its old place stays where it is asked to, or where there was no length. */
		if (call->old_bytes && !(call->flags & MREMAP_DONTUNMAP)) {
			row->bytes += co_ranges_move(ranges, call->old_address, call->old_bytes,
						     call->early, call->address, call->bytes,
						     record->stamp, site);
			return;
		}
		break;
	}
	if (call->old_bytes && call->what != FT_WIRE_MAP_MREMAP)
		co_ranges_cut(ranges, call->old_address, call->old_address + call->old_bytes,
			      call->early);
	if (call->bytes) {
		row->bytes += call->bytes;
		co_ranges_add(ranges, &range);
	}
}

/* While it is paused, what dies is known all the same. */
static void apply_paused(struct co_session *session, const struct call *call)
{
	if (call->old_bytes &&
	    !(call->what == FT_WIRE_MAP_MREMAP && call->flags & MREMAP_DONTUNMAP))
		co_ranges_cut(&session->mapped.ranges, call->old_address,
			      call->old_address + call->old_bytes, call->early);
}

static void write_row(struct co_session *session, const struct co_record *record,
		      const struct call *call, uint64_t time_ns, uint32_t stack)
{
	struct co_op *op = co_op_create(CO_OP_MAP_CALL, 0);

	if (op)
		op->map_call = (struct ft_map_call_row){.time_ns = time_ns,
							.seq = session->counters.n_events,
							.thread = record->thread,
							.stack = stack,
							.call = names[call->what],
							.address = call->address,
							.bytes = call->bytes,
							.old_address = call->old_address,
							.old_bytes = call->old_bytes,
							.prot = call->prot,
							.flags = call->flags};
	co_session_op(session, op);
}

bool co_mapped_record(struct co_session *session, struct co_ring *ring,
		      const struct co_record *record, uint64_t time_ns)
{
	struct co_mapped *mapped = &session->mapped;
	uint64_t settled = co_timebase_ticks(&session->timebase, SETTLED_NS);
	struct call call;
	uint32_t stack, site;

	if (record->api == 0 || record->api >= FT_WIRE_MAP_N ||
	    !decode(record->side, record->api, &call))
		return false;
	mapped->ranges.settled = record->stamp > settled ? record->stamp - settled : 0;
	if (session->paused) {
		apply_paused(session, &call);
		return true;
	}
	stack = co_session_stack(session, ring, record);
	mapped->n_calls++;
	if (mapped->n_rows < CO_MAP_ROWS) {
		mapped->n_rows++;
		write_row(session, record, &call, time_ns, stack);
	}
	site = site_of(mapped, stack, call.what, call.what == FT_WIRE_MAP_MADVISE ? call.flags : 0);
	if (site)
		apply(session, record, &call, site - 1);
	else
		apply_paused(session, &call);
	return true;
}

void co_mapped_write(struct co_session *session)
{
	struct co_mapped *mapped = &session->mapped;

	for (uint32_t i = 0; i < mapped->n_sites; i++) {
		struct co_op *op;

		if (!mapped->dirty[i])
			continue;
		mapped->dirty[i] = false;
		op = co_op_create(CO_OP_MAP_SITE, 0);
		if (op)
			op->map_site = mapped->sites[i];
		co_session_op(session, op);
	}
}
