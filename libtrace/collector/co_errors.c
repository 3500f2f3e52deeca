/* SPDX-License-Identifier: MIT */
/* Bad calls: see co_errors.h. */
#include "co_errors.h"

#include "co_session.h"

static const char *const kinds[] = {
	[FT_WIRE_DOUBLE_FREE] = "double_free",	 [FT_WIRE_INTERIOR_FREE] = "interior_free",
	[FT_WIRE_INVALID_FREE] = "invalid_free", [FT_WIRE_MISMATCHED_FREE] = "mismatched_free",
	[FT_WIRE_BAD_SIZE] = "bad_size",	 [FT_WIRE_SUSPECT] = "suspect",
};

static const char *const regions[FT_WIRE_REGION_N] = {
	[FT_WIRE_REGION_HEAP] = "heap",		[FT_WIRE_REGION_STACK] = "stack",
	[FT_WIRE_REGION_DATA] = "data",		[FT_WIRE_REGION_CODE] = "code",
	[FT_WIRE_REGION_FILE] = "file",		[FT_WIRE_REGION_MMAP] = "mmap",
	[FT_WIRE_REGION_UNMAPPED] = "unmapped", [FT_WIRE_REGION_OTHER] = "other",
};

void co_errors_init(struct co_errors *errors)
{
	*errors = (struct co_errors){0};
	ft_map_init(&errors->alike);
}

void co_errors_deinit(struct co_errors *errors)
{
	ft_map_deinit(&errors->alike);
}

static void write_row(struct co_session *session, const struct ft_error_row *row)
{
	struct co_errors *errors = &session->errors;
	uint64_t place = ft_hash_u64((uint64_t)row->stack << 32 | row->alloc_stack) ^
			 ft_hash_u64((uintptr_t)row->kind ^ (uint64_t)row->size << 8);
	uint64_t *n = ft_map_put(&errors->alike, place, NULL);

	if ((n && ++*n > CO_ERRORS_ALIKE) || errors->n_rows == CO_ERRORS_MAX) {
		errors->n_left_out++;
		return;
	}
	errors->n_rows++;
	co_session_op(session, co_op_error(row));
}

static void write_bad_size(struct co_session *session, struct co_last_free *last, uint32_t stack)
{
	const struct ft_error_row row = {.time_ns = last->time_ns,
					 .kind = kinds[FT_WIRE_BAD_SIZE],
					 .address = last->address,
					 .thread = last->thread,
					 .stack = stack,
					 .alloc_stack = last->alloc_stack,
					 .call = ft_api_name(last->api),
					 .size = (int64_t)last->given,
					 .block_size = (int64_t)last->size,
					 .offset = -1};

	last->has_row = false;
	session->errors.n_bad_sizes++;
	write_row(session, &row);
}

void co_errors_settle(struct co_session *session, struct co_ring *ring)
{
	if (ring->last_free.has_row)
		write_bad_size(session, &ring->last_free, 0);
}

/* Ask for stacks of frees by this call, or no longer. */
static void watch(struct co_session *session, const struct co_record *record, bool is_bad)
{
	struct co_errors *errors = &session->errors;
	struct co_watch *watch = &errors->watch[record->api & 31];
	uint32_t bit = UINT32_C(1) << (record->api & 31), before = errors->watched;

	if (is_bad && record->stack && ++watch->n_stacks >= CO_WATCH_ENOUGH) {
		watch->n_left = 0;
		watch->n_times = CO_WATCH_TIMES;
	} else if (is_bad && !record->stack && !watch->n_left && watch->n_times < CO_WATCH_TIMES) {
		watch->n_left = CO_WATCH_FREES;
		watch->n_times++;
	} else if (watch->n_left) {
		watch->n_left--;
	}
	errors->watched = watch->n_left ? before | bit : before & ~bit;
	if (errors->watched != before)
		atomic_store_explicit(&session->segment.header->watch, errors->watched,
				      memory_order_relaxed);
}

void co_errors_bad_free(struct co_session *session, struct co_ring *ring,
			const struct co_record *record, const struct co_block *block,
			uint64_t time_ns)
{
	struct co_last_free *last = &ring->last_free;
	bool is_other_size = record->given && record->given - 1 != block->size;

	watch(session, record,
	      is_other_size ||
		      ft_api_mismatch(session->stacks.sites[block->site].api, record->api));
	if (!is_other_size)
		return;

	uint32_t stack = record->stack ? co_session_stack(session, ring, record) : 0;

	*last = (struct co_last_free){.address = record->address,
				      .stamp = record->stamp,
				      .was_live = true,
				      .has_row = true,
				      .time_ns = time_ns,
				      .given = record->given - 1,
				      .size = block->size,
				      .thread = record->thread,
				      .alloc_stack = session->stacks.sites[block->site].stack,
				      .api = record->api};
	/* With --free-stacks all is known now; else the tracer may have more to say. */
	if (stack)
		write_bad_size(session, last, stack);
}

void co_errors_record(struct co_session *session, struct co_ring *ring,
		      const struct co_record *record, uint64_t time_ns, uint32_t stack)
{
	struct co_last_free *last = &ring->last_free;
	struct co_wire_error error;
	struct co_block block;

	if (!co_wire_error(record->side, &error)) {
		session->counters.n_bad_records++;
		return;
	}

	bool is_last = last->address == record->address && last->stamp == record->stamp;

	if (is_last && last->has_row) {
		write_bad_size(session, last, stack);
		return;
	}

	bool lives = co_live_find(&session->live, record->address, &block);

	/* It looked odd, and was a block after all; or it lives no more, and that was in order. */
	if (error.kind == FT_WIRE_BAD_SIZE || (is_last && last->was_live) ||
	    (lives && (error.kind == FT_WIRE_SUSPECT || error.kind == FT_WIRE_INVALID_FREE)))
		return;
	session->errors.n_invalid += error.kind == FT_WIRE_INVALID_FREE;

	const struct ft_error_row row = {
		.time_ns = time_ns,
		.kind = kinds[error.kind],
		.address = error.address,
		.thread = record->thread,
		.stack = stack,
		.alloc_stack = lives ? session->stacks.sites[block.site].stack : 0,
		.call = record->api ? ft_api_name(record->api) : NULL,
		.size = -1,
		.block_size = -1,
		.region = regions[error.region],
		.mapping = error.text[0] ? error.text : NULL,
		.offset = error.region == FT_WIRE_REGION_UNKNOWN ||
					  error.region == FT_WIRE_REGION_HEAP ||
					  error.region == FT_WIRE_REGION_UNMAPPED
				  ? -1
				  : (int64_t)error.offset,
	};

	write_row(session, &row);
}
