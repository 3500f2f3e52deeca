/* SPDX-License-Identifier: MIT */
/* Spill: see co_spill.h. */
#include "co_spill.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- ops ------------------------------------------------------------------------------------- */

struct co_op *co_op_create(enum co_op_kind kind, size_t data_bytes)
{
	size_t n_bytes = sizeof(struct co_op) + data_bytes;
	struct co_op *op = malloc(n_bytes);

	if (op) {
		memset(op, 0, sizeof(*op));
		op->kind = kind;
		op->n_bytes = n_bytes;
	}
	return op;
}

static size_t text_bytes(const char *text)
{
	return text ? strlen(text) + 1 : 0;
}

/* Move a string of a row behind the op; *used counts the bytes taken. */
static const char *keep_text(struct co_op *op, size_t *used, const char *text)
{
	char *kept = op->data + *used;

	if (!text)
		return NULL;
	*used += strlen(text) + 1;
	return strcpy(kept, text);
}

struct co_op *co_op_meta(const char *key, const char *text)
{
	struct co_op *op = co_op_create(CO_OP_META, text_bytes(key) + text_bytes(text));
	size_t used = 0;

	if (op) {
		op->meta.key = keep_text(op, &used, key);
		op->meta.text = keep_text(op, &used, text);
	}
	return op;
}

struct co_op *co_op_meta_int(const char *key, int64_t value)
{
	struct co_op *op = co_op_create(CO_OP_META_INT, text_bytes(key));
	size_t used = 0;

	if (op) {
		op->meta.key = keep_text(op, &used, key);
		op->meta.value = value;
	}
	return op;
}

struct co_op *co_op_thread(const struct ft_thread_row *row)
{
	struct co_op *op = co_op_create(CO_OP_THREAD, text_bytes(row->name));
	size_t used = 0;

	if (op) {
		op->thread = *row;
		op->thread.name = keep_text(op, &used, row->name);
	}
	return op;
}

struct co_op *co_op_module(const struct ft_module_row *row)
{
	struct co_op *op =
		co_op_create(CO_OP_MODULE, text_bytes(row->path) + text_bytes(row->build_id));
	size_t used = 0;

	if (op) {
		op->module = *row;
		op->module.path = keep_text(op, &used, row->path);
		op->module.build_id = keep_text(op, &used, row->build_id);
	}
	return op;
}

struct co_op *co_op_mapping(const struct ft_mapping_row *row)
{
	struct co_op *op =
		co_op_create(CO_OP_MAPPING, text_bytes(row->perms) + text_bytes(row->path));
	size_t used = 0;

	if (op) {
		op->mapping = *row; /* kind is static text */
		op->mapping.perms = keep_text(op, &used, row->perms);
		op->mapping.path = keep_text(op, &used, row->path);
	}
	return op;
}

struct co_op *co_op_residency(const struct ft_residency_row *row)
{
	size_t bytes = row->n_runs * sizeof(*row->runs);
	struct co_op *op = co_op_create(CO_OP_RESIDENCY, bytes);

	if (op) {
		op->residency = *row; /* method is static text */
		if (bytes)
			memcpy(op->data, row->runs, bytes);
		op->residency.runs = (const struct ft_page_run *)op->data;
	}
	return op;
}

struct co_op *co_op_mark(const struct ft_mark_row *row)
{
	struct co_op *op = co_op_create(CO_OP_MARK, text_bytes(row->label));
	size_t used = 0;

	if (op) {
		op->mark = *row; /* kind is static text */
		op->mark.label = keep_text(op, &used, row->label);
	}
	return op;
}

struct co_op *co_op_error(const struct ft_error_row *row)
{
	struct co_op *op = co_op_create(CO_OP_ERROR, text_bytes(row->mapping));
	size_t used = 0;

	if (op) {
		op->error = *row; /* the other texts are static */
		op->error.mapping = keep_text(op, &used, row->mapping);
	}
	return op;
}

struct co_op *co_op_pool(const struct ft_pool_row *row)
{
	struct co_op *op = co_op_create(CO_OP_POOL, text_bytes(row->name));
	size_t used = 0;

	if (op) {
		op->pool = *row;
		op->pool.name = keep_text(op, &used, row->name);
	}
	return op;
}

struct co_op *co_op_sample(uint64_t time_ns, const char *source, const char *key, int64_t value)
{
	struct co_op *op = co_op_create(CO_OP_SAMPLE, text_bytes(source) + text_bytes(key));
	size_t used = 0;

	if (op) {
		op->sample = (struct ft_sample_row){.time_ns = time_ns, .value = value};
		op->sample.source = keep_text(op, &used, source);
		op->sample.key = keep_text(op, &used, key);
	}
	return op;
}

/* ---- blocks ---------------------------------------------------------------------------------- */

void co_spill_init(struct co_spill *spill)
{
	pthread_condattr_t attr;

	*spill = (struct co_spill){0};
	spill->last = &spill->first;
	pthread_mutex_init(&spill->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&spill->filled, &attr);
	pthread_cond_init(&spill->emptied, &attr);
	pthread_condattr_destroy(&attr);
}

static void block_free_ops(struct co_spill_block *block)
{
	for (struct co_op *op = block->ops, *next; op; op = next) {
		next = op->next;
		free(op);
	}
	block->ops = NULL;
	block->ops_tail = &block->ops;
}

static void free_blocks(struct co_spill_block *block)
{
	for (struct co_spill_block *next; block; block = next) {
		next = block->next;
		block_free_ops(block);
		free(block);
	}
}

void co_spill_deinit(struct co_spill *spill)
{
	free_blocks(spill->first);
	free_blocks(spill->spare);
	pthread_cond_destroy(&spill->filled);
	pthread_cond_destroy(&spill->emptied);
	pthread_mutex_destroy(&spill->lock);
}

static void deadline_after(struct timespec *ts, int ms)
{
	clock_gettime(CLOCK_MONOTONIC, ts);
	ts->tv_sec += ms / 1000;
	ts->tv_nsec += ms % 1000 * 1000000L;
	if (ts->tv_nsec >= 1000000000L) {
		ts->tv_sec++;
		ts->tv_nsec -= 1000000000L;
	}
}

/* With the lock held; the block is counted before it exists, so that the bound holds. */
static struct co_spill_block *block_get_locked(struct co_spill *spill)
{
	struct co_spill_block *block = spill->spare;

	if (block) {
		spill->spare = block->next;
		spill->n_spare--;
	} else {
		block = malloc(sizeof(*block));
		if (!block)
			return NULL;
	}
	spill->n_bytes += sizeof(*block);
	if (spill->n_bytes > spill->peak_bytes)
		spill->peak_bytes = spill->n_bytes;
	block->next = NULL;
	block->session = NULL;
	block->n_events = block->n_nodes = 0;
	block->ops = NULL;
	block->ops_tail = &block->ops;
	return block;
}

struct co_spill_block *co_spill_get(struct co_spill *spill, void (*progress)(void *ctx), void *ctx)
{
	struct co_spill_block *block;
	bool waited = false;

	pthread_mutex_lock(&spill->lock);
	while (spill->n_bytes + sizeof(*block) > CO_SPILL_BYTES) {
		uint64_t n_written = spill->n_written;
		struct timespec until;

		spill->n_waits += !waited;
		waited = true;
		deadline_after(&until, 100);
		pthread_cond_timedwait(&spill->emptied, &spill->lock, &until);
		if (progress && spill->n_written != n_written) {
			pthread_mutex_unlock(&spill->lock);
			progress(ctx);
			pthread_mutex_lock(&spill->lock);
		}
	}
	block = block_get_locked(spill);
	pthread_mutex_unlock(&spill->lock);
	return block;
}

struct co_spill_block *co_spill_try_get(struct co_spill *spill)
{
	struct co_spill_block *block = NULL;

	pthread_mutex_lock(&spill->lock);
	if (spill->n_bytes < CO_SPILL_BYTES / 2)
		block = block_get_locked(spill);
	pthread_mutex_unlock(&spill->lock);
	return block;
}

static uint64_t ops_bytes(const struct co_spill_block *block)
{
	uint64_t n = 0;

	for (const struct co_op *op = block->ops; op; op = op->next)
		n += op->n_bytes;
	return n;
}

void co_spill_put(struct co_spill *spill, struct co_spill_block *block)
{
	uint64_t n_bytes = ops_bytes(block);

	pthread_mutex_lock(&spill->lock);
	spill->n_bytes += n_bytes;
	block->next = NULL;
	*spill->last = block;
	spill->last = &block->next;
	if (++spill->n_waiting >= CO_BLOCKS_WAKE || block->ops)
		pthread_cond_signal(&spill->filled);
	pthread_mutex_unlock(&spill->lock);
}

struct co_spill_block *co_spill_take(struct co_spill *spill, int timeout_ms)
{
	struct timespec until;
	int rc = 0;

	deadline_after(&until, timeout_ms);
	pthread_mutex_lock(&spill->lock);
	while (!spill->first && !spill->closed && rc == 0)
		rc = pthread_cond_timedwait(&spill->filled, &spill->lock, &until);

	struct co_spill_block *block = spill->first;

	if (block) {
		spill->first = block->next;
		spill->n_waiting--;
		if (!spill->first)
			spill->last = &spill->first;
	}
	pthread_mutex_unlock(&spill->lock);
	return block;
}

void co_spill_recycle(struct co_spill *spill, struct co_spill_block *block)
{
	uint64_t n_bytes = ops_bytes(block) + sizeof(*block);

	block_free_ops(block);
	pthread_mutex_lock(&spill->lock);
	spill->n_bytes -= n_bytes;
	spill->n_written++;
	if (spill->n_spare < CO_BLOCKS_KEPT) {
		block->next = spill->spare;
		spill->spare = block;
		spill->n_spare++;
		block = NULL;
	}
	pthread_cond_signal(&spill->emptied);
	pthread_mutex_unlock(&spill->lock);
	free(block);
}

void co_spill_close(struct co_spill *spill)
{
	pthread_mutex_lock(&spill->lock);
	spill->closed = true;
	pthread_cond_broadcast(&spill->filled);
	pthread_mutex_unlock(&spill->lock);
}

bool co_spill_is_done(struct co_spill *spill)
{
	pthread_mutex_lock(&spill->lock);
	bool done = spill->closed && !spill->first;
	pthread_mutex_unlock(&spill->lock);
	return done;
}

bool co_spill_is_crowded(struct co_spill *spill)
{
	pthread_mutex_lock(&spill->lock);
	bool crowded = spill->n_bytes > CO_SPILL_BYTES / CO_CROWDED_PART;
	pthread_mutex_unlock(&spill->lock);
	return crowded;
}

void co_spill_stats(struct co_spill *spill, uint64_t *peak_bytes, uint64_t *n_waits)
{
	pthread_mutex_lock(&spill->lock);
	*peak_bytes = spill->peak_bytes;
	*n_waits = spill->n_waits;
	pthread_mutex_unlock(&spill->lock);
}
