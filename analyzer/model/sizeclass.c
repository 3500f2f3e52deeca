/* SPDX-License-Identifier: MIT */
/* Size classes: see fa_sizeclass.h. */
#include "fa_sizeclass.h"

/* ---- the schemes ------------------------------------------------------------------------------
 */

static void add(struct fa_size_classes *classes, uint32_t size, uint32_t span)
{
	if (classes->n == FA_SIZE_CLASSES_MAX)
		return;
	classes->classes[classes->n++] = (struct fa_size_class){
		.size = size, .span = span, .objects = span / size, .tail = span % size};
}

static void add_go(struct fa_size_classes *classes)
{
	enum { PAGE = 8192 };
	/* size, pages of 8 KiB */
	static const uint16_t table[][2] = {
		{8, 1},	    {16, 1},	 {24, 1},    {32, 1},	 {48, 1},    {64, 1},	 {80, 1},
		{96, 1},    {112, 1},	 {128, 1},   {144, 1},	 {160, 1},   {176, 1},	 {192, 1},
		{208, 1},   {224, 1},	 {240, 1},   {256, 1},	 {288, 1},   {320, 1},	 {352, 1},
		{384, 1},   {416, 1},	 {448, 1},   {480, 1},	 {512, 1},   {576, 1},	 {640, 1},
		{704, 1},   {768, 1},	 {896, 1},   {1024, 1},	 {1152, 1},  {1280, 1},	 {1408, 2},
		{1536, 1},  {1792, 2},	 {2048, 1},  {2304, 2},	 {2688, 1},  {3072, 3},	 {3200, 2},
		{3456, 3},  {4096, 1},	 {4864, 3},  {5376, 2},	 {6144, 3},  {6528, 4},	 {6784, 5},
		{6912, 6},  {8192, 1},	 {9472, 7},  {9728, 6},	 {10240, 5}, {10880, 4}, {12288, 3},
		{13568, 5}, {14336, 7},	 {16384, 2}, {18432, 9}, {19072, 7}, {20480, 5}, {21760, 8},
		{24576, 3}, {27264, 10}, {28672, 7}, {32768, 4},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		add(classes, table[i][0], (uint32_t)table[i][1] * PAGE);
}

/* 8, then by 16 up to 128; from there four steps to each doubling. */
static uint32_t four_steps(uint32_t size, uint32_t step)
{
	return size == 16 ? 16 : size >= 128 && (size & (size - 1)) == 0 ? size / 4 : step;
}

static void add_jemalloc(struct fa_size_classes *classes)
{
	enum { PAGE = 4096, LARGEST = 14336 };

	for (uint32_t size = 8, step = 8; size <= LARGEST; size += step) {
		uint32_t span = PAGE;

		while (span % size)
			span += PAGE;
		add(classes, size, span);
		step = four_steps(size, step);
	}
}

static void add_mimalloc(struct fa_size_classes *classes)
{
	enum { PAGE = 65536, LARGEST = 16384 };

	for (uint32_t size = 8, step = 8; size <= LARGEST; size += step) {
		add(classes, size, PAGE);
		step = four_steps(size, step);
	}
}

/* AlignmentForSize() */
static uint32_t tcmalloc_step(uint32_t size)
{
	enum { PAGE = 8192, MAX = 256 * 1024 };
	uint32_t step = 8;

	if (size > MAX)
		step = PAGE;
	else if (size >= 128)
		step = (UINT32_C(1) << (31 - __builtin_clz(size))) / 8;
	else if (size >= 16)
		step = 16;
	return step < PAGE ? step : PAGE;
}

static void add_tcmalloc(struct fa_size_classes *classes)
{
	enum { PAGE = 8192, MAX = 256 * 1024, MOVED_BYTES = 65536, MOVED_MAX = 32 };

	for (uint32_t size = 8; size <= MAX; size += tcmalloc_step(size)) {
		uint32_t moved = MOVED_BYTES / size, span = 0;
		struct fa_size_class *last = classes->n ? &classes->classes[classes->n - 1] : NULL;

		/* NumMoveSize(): what goes between a thread's cache and the central list. */
		moved = (moved < 2 ? 2 : moved > MOVED_MAX ? MOVED_MAX : moved) / 4;
		do {
			span += PAGE;
			while (span % size > span >> 3) /* at most 1/8 is lost at the end */
				span += PAGE;
		} while (span / size < moved);
		if (last && last->span == span && last->objects == span / size) {
			last->size = size; /* the smaller class would save nothing */
			last->tail = span % size;
		} else {
			add(classes, size, span);
		}
	}
}

const char *fa_size_scheme_name(enum fa_size_scheme scheme)
{
	static const char *const names[FA_SIZE_SCHEMES] = {[FA_SIZES_GO] = "go",
							   [FA_SIZES_JEMALLOC] = "jemalloc",
							   [FA_SIZES_TCMALLOC] = "tcmalloc",
							   [FA_SIZES_MIMALLOC] = "mimalloc"};

	return scheme < FA_SIZE_SCHEMES ? names[scheme] : "unknown";
}

void fa_size_classes_init(struct fa_size_classes *classes, enum fa_size_scheme scheme)
{
	classes->n = 0;
	if (scheme == FA_SIZES_GO)
		add_go(classes);
	else if (scheme == FA_SIZES_JEMALLOC)
		add_jemalloc(classes);
	else if (scheme == FA_SIZES_MIMALLOC)
		add_mimalloc(classes);
	else
		add_tcmalloc(classes);
}

/* ---- questions --------------------------------------------------------------------------------
 */

const struct fa_size_class *fa_size_class_of(const struct fa_size_classes *classes, uint64_t size)
{
	size_t low = 0, high = classes->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (classes->classes[middle].size < size)
			low = middle + 1;
		else
			high = middle;
	}
	return low < classes->n ? &classes->classes[low] : NULL;
}

double fa_size_class_max_waste(const struct fa_size_classes *classes, size_t i)
{
	const struct fa_size_class *class = &classes->classes[i];
	uint64_t previous = i ? classes->classes[i - 1].size : 0;
	uint64_t lost = (class->size - previous - 1) * class->objects + class->tail;

	return (double)lost / class->span;
}

int64_t fa_size_class_merge(const struct fa_size_classes *classes, size_t first, size_t last,
			    const uint64_t *live, const uint64_t *spans)
{
	const struct fa_size_class *into = &classes->classes[last];
	uint64_t before = 0, blocks = 0;

	for (size_t i = first; i <= last; i++) {
		before += spans[i] * classes->classes[i].span;
		blocks += live[i];
	}
	return (int64_t)before -
	       (int64_t)((blocks + into->objects - 1) / into->objects * into->span);
}

/* ---- SLUB -------------------------------------------------------------------------------------
 */

enum { SLUB_OBJECTS_MAX = 32767 }; /* MAX_OBJS_PER_PAGE */

unsigned fa_slub_objects(const struct fa_slub *slub, unsigned order, uint32_t size)
{
	return (unsigned)((UINT64_C(1) << (slub->page_shift + order)) / size);
}

/* get_order(): the smallest order whose pages hold `bytes`. */
static unsigned order_for(const struct fa_slub *slub, uint64_t bytes)
{
	unsigned order = 0;

	while (UINT64_C(1) << (slub->page_shift + order) < bytes)
		order++;
	return order;
}

unsigned fa_slub_order(const struct fa_slub *slub, uint32_t size)
{
	/* fls(cpus) + 1, times 4: more processors share a slab among more per-cpu lists. */
	unsigned bits = slub->cpus ? 32 - (unsigned)__builtin_clz(slub->cpus) : 0;
	unsigned wanted = 4 * (bits + 1), most, least;

	if (!size)
		return UINT32_MAX;
	most = fa_slub_objects(slub, slub->max_order, size);
	most = most ? most : 1;
	wanted = wanted < most ? wanted : most;
	least = order_for(slub, (uint64_t)wanted * size);
	least = least > slub->min_order ? least : slub->min_order;
	if (fa_slub_objects(slub, least, size) > SLUB_OBJECTS_MAX)
		return order_for(slub, (uint64_t)size * SLUB_OBJECTS_MAX) - 1;
	/* The smallest slab of which no more than a fraction is left over, and the fraction grows.
	 */
	for (unsigned fraction = 16; fraction > 1; fraction /= 2)
		for (unsigned order = least; order <= slub->max_order; order++) {
			uint64_t bytes = UINT64_C(1) << (slub->page_shift + order);

			if (bytes % size <= bytes / fraction)
				return order;
		}
	least = order_for(slub, size);
	return least <= 10 ? least : UINT32_MAX; /* MAX_PAGE_ORDER */
}
