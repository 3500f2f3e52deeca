/* SPDX-License-Identifier: MIT */
/* What glibc keeps: see fa_glibc.h. */
#include "fa_glibc.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE_SHIFT = 12, PAGE = 1 << PAGE_SHIFT, CHUNK_STRUCT = 48, CHUNK_MIN = 32 };

void fa_tcache_deinit(struct fa_tcache *tcache)
{
	for (size_t i = 0; i < tcache->n_threads; i++)
		free(tcache->threads[i]);
	free(tcache->threads);
	*tcache = (struct fa_tcache){0};
}

static struct fa_tcache_bin *bin_of(const struct fa_tcache *tcache, uint32_t thread, uint64_t chunk)
{
	if (chunk > FA_TCACHE_MAX || chunk < CHUNK_MIN || thread >= tcache->n_threads ||
	    !tcache->threads[thread])
		return NULL;
	return &tcache->threads[thread][(chunk - CHUNK_MIN) / 16];
}

static bool bins_make(struct fa_tcache *tcache, uint32_t thread)
{
	if (thread >= tcache->n_threads) {
		size_t n = (size_t)thread + thread / 2 + 16;
		struct fa_tcache_bin **threads =
			realloc(tcache->threads, n * sizeof(struct fa_tcache_bin *));

		if (!threads)
			return false;
		memset(threads + tcache->n_threads, 0,
		       (n - tcache->n_threads) * sizeof(struct fa_tcache_bin *));
		tcache->threads = threads;
		tcache->n_threads = n;
	}
	if (!tcache->threads[thread])
		tcache->threads[thread] = calloc(FA_TCACHE_BINS, sizeof(struct fa_tcache_bin));
	return tcache->threads[thread];
}

struct ft_error *fa_tcache_free(struct fa_tcache *tcache, uint32_t thread, uint64_t address,
				uint64_t chunk)
{
	struct fa_tcache_bin *bin = bin_of(tcache, thread, chunk);

	if (!bin) {
		if (chunk > FA_TCACHE_MAX || chunk < CHUNK_MIN)
			return NULL;
		if (!bins_make(tcache, thread))
			return &ft_enomem;
		bin = bin_of(tcache, thread, chunk);
	}
	if (bin->n < FA_TCACHE_FILL)
		bin->address[bin->n++] = address;
	return NULL;
}

void fa_tcache_alloc(struct fa_tcache *tcache, uint32_t thread, uint64_t address, uint64_t chunk)
{
	struct fa_tcache_bin *bin = bin_of(tcache, thread, chunk);

	/* The newest one, as a rule; one below it when the cache had chunks that we did not see. */
	for (uint64_t i = bin ? bin->n : 0; i-- > 0;)
		if (bin->address[i] == address) {
			bin->n--;
			memmove(bin->address + i, bin->address + i + 1,
				(bin->n - i) * sizeof(*bin->address));
			return;
		}
}

static int kept_order(const void *a, const void *b)
{
	const struct fa_kept *x = a, *y = b;

	return (x->address > y->address) - (x->address < y->address);
}

struct ft_error *fa_tcache_kept(const struct fa_tcache *tcache,
				bool (*alive)(const void *ctx, uint32_t thread), const void *ctx,
				struct fa_kept **ret, size_t *n)
{
	size_t room = 0;

	*ret = NULL;
	*n = 0;
	for (size_t t = 0; t < tcache->n_threads; t++)
		for (unsigned b = 0; tcache->threads[t] && b < FA_TCACHE_BINS; b++)
			room += tcache->threads[t][b].n;

	struct fa_kept *kept = malloc((room + 1) * sizeof(*kept));

	if (!kept)
		return &ft_enomem;
	for (size_t t = 0; t < tcache->n_threads; t++) {
		if (!tcache->threads[t] || !alive(ctx, (uint32_t)t))
			continue;
		for (unsigned b = 0; b < FA_TCACHE_BINS; b++)
			for (uint64_t i = 0; i < tcache->threads[t][b].n; i++)
				kept[(*n)++] = (struct fa_kept){
					.address = tcache->threads[t][b].address[i],
					.chunk = CHUNK_MIN + UINT64_C(16) * b};
	}
	qsort(kept, *n, sizeof(*kept), kept_order);
	*ret = kept;
	return NULL;
}

bool fa_trim_pages(uint64_t p, uint64_t s, uint64_t *first, uint64_t *last)
{
	*first = (p + CHUNK_STRUCT + PAGE - 1) >> PAGE_SHIFT;
	*last = (p + s) >> PAGE_SHIFT;
	return *first < *last;
}

bool fa_trim_top(uint64_t p, uint64_t brk, uint64_t *first, uint64_t *last)
{
	if (brk < p + CHUNK_MIN + 1)
		return false;

	uint64_t extra = (brk - p - CHUNK_MIN - 1) & ~(uint64_t)(PAGE - 1);

	*first = (brk - extra) >> PAGE_SHIFT;
	*last = brk >> PAGE_SHIFT;
	return extra > 0;
}

bool fa_mmap_threshold_free(struct fa_mmap_threshold *threshold, uint64_t mapped)
{
	if (mapped <= threshold->bytes || mapped > FA_MMAP_THRESHOLD_MAX)
		return false;
	threshold->bytes = mapped;
	threshold->n_raised++;
	return true;
}
