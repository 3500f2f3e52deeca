/* SPDX-License-Identifier: MIT */
/*
 * Bad frees, seen before the allocator sees them: see tr_suspect.h
 *
 * What glibc's heap looks like (malloc/malloc.c, malloc/arena.c; the same since 2.26): the main
 * heap is the program break's, other arenas are areas at multiples of 64 MiB that begin with a
 * struct heap_info, and large blocks are mappings of their own, with how far into them the chunk
 * begins in the word before its head.
 */
#include "tr_suspect.h"

#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <link.h>
#include <string.h>

#include "tr_maps.h"
#include "tr_real.h"
#include "tr_stack.h"

extern void *__libc_stack_end; /* the loader's: where the first thread's stack began */

enum {
	ARENA_LOG2 = 26, /* HEAP_MAX_SIZE on 64-bit machines */
	N_ARENAS = 1024,
	N_OTHERS = 8,
	CHUNK_MMAPPED = 2,
	PAGE = 4096,
	/* A program in which so many looks found nothing has a heap that we do not understand. */
	MAX_IN_VAIN = 1000,
	MAX_TOLD = 4096,
	/* No thread's stack is larger than this, as far as we look. */
	STACK_MAX = 64 << 20,
	PATH_ROOM = 512, /* on a stack that may be small */
};

struct tr_main_heap tr_main_heap;

/* Where arenas have been found: at >> ARENA_LOG2, in the place of its last bits. */
static _Atomic uint64_t arenas[N_ARENAS];

/* Mappings that the main heap went on in when the program break could not be moved. */
static struct {
	_Atomic uintptr_t low, bytes;
} others[N_OTHERS];
static _Atomic uint32_t n_others;

static _Atomic uint32_t n_in_vain, n_told;
static bool disabled;

void tr_suspect_init(void)
{
	const char *version = gnu_get_libc_version();
	unsigned major = 0, minor = 0;

	for (; *version >= '0' && *version <= '9'; version++)
		major = major * 10 + (unsigned)(*version - '0');
	if (*version == '.')
		for (version++; *version >= '0' && *version <= '9'; version++)
			minor = minor * 10 + (unsigned)(*version - '0');
	tr_main_heap.safe_linking = major > 2 || (major == 2 && minor >= 32);
}

/* ---- at first sight ---------------------------------------------------------------------------
 */

/* The part of the arena around `at` that can be read; false: there is none. */
static bool find_arena(uintptr_t at, uintptr_t *low, uintptr_t *bytes)
{
	struct heap_info {
		void *arena, *previous;
		size_t bytes, readable;
	};
	uintptr_t number = at >> ARENA_LOG2, base = number << ARENA_LOG2;
	const struct heap_info *info = (const struct heap_info *)base;

	if (!number ||
	    atomic_load_explicit(&arenas[number % N_ARENAS], memory_order_relaxed) != number)
		return false;
	*low = base + sizeof(*info) + 2 * sizeof(size_t);
	*bytes = info->bytes - (*low - base);
	return at - *low < *bytes && *bytes < (uintptr_t)1 << ARENA_LOG2;
}

/* A block with a mapping of its own, as munmap_chunk() wants it. */
static bool is_mmapped_chunk(uintptr_t at)
{
	uintptr_t in_page = at & (PAGE - 1);

	if (at < 2 * PAGE || at & 15 || (in_page & (in_page - 1)) || !tr_is_readable(at - 16))
		return false;

	uintptr_t before = ((const uintptr_t *)at)[-2], head = ((const uintptr_t *)at)[-1];
	uintptr_t begin = at - 16 - before, bytes = before + (head & ~(uintptr_t)TR_CHUNK_FLAGS);

	return head & CHUNK_MMAPPED && bytes && !((begin | bytes) & (PAGE - 1));
}

/* On the stack of the calling thread, if `here` is on it. */
static bool is_on_own_stack(uintptr_t at, uintptr_t here)
{
	uintptr_t tops[2] = {(uintptr_t)__libc_stack_end, (uintptr_t)__builtin_thread_pointer()};

	for (unsigned i = 0; i < 2; i++)
		if (tops[i] - here < STACK_MAX && at - here < tops[i] - here)
			return true;
	return false;
}

/* The module that `at` lies in, and is not the allocator's. */
static bool find_module(uintptr_t at, struct dl_find_object *object)
{
	struct dl_find_object allocator;

	if (_dl_find_object((void *)at, object) != 0 || !object->dlfo_link_map)
		return false;
	return tr_real.glibc || (_dl_find_object((void *)tr_real.malloc, &allocator) == 0 &&
				 allocator.dlfo_link_map != object->dlfo_link_map);
}

bool tr_is_suspect_elsewhere(const void *block, size_t given)
{
	uintptr_t at = (uintptr_t)block, low, bytes;
	struct dl_find_object object;

	if (disabled)
		return false;
	if (!tr_real.glibc)
		return at < PAGE || is_on_own_stack(at, (uintptr_t)__builtin_frame_address(0)) ||
		       find_module(at, &object);
	if (find_arena(at, &low, &bytes))
		return tr_chunk_is_suspect(at, given, low, bytes, TR_CHUNK_NON_MAIN);
	for (unsigned i = 0; i < N_OTHERS; i++) {
		low = atomic_load_explicit(&others[i].low, memory_order_relaxed);
		bytes = atomic_load_explicit(&others[i].bytes, memory_order_relaxed);
		if (at - low < bytes)
			return tr_chunk_is_suspect(at, given, low, bytes, 0);
	}
	return !is_mmapped_chunk(at);
}

/* ---- more closely -----------------------------------------------------------------------------
 */

struct finding {
	enum ft_wire_error kind;
	enum ft_wire_region region;
	uint64_t offset;
};

/* A block in memory of glibc's, which can be read: what is it that was odd? */
static bool judge_chunk(uintptr_t at, size_t given, uintptr_t low, uintptr_t bytes, uintptr_t kind,
			struct finding *finding)
{
	finding->region = FT_WIRE_REGION_HEAP;
	finding->kind = FT_WIRE_INVALID_FREE;
	if (at & 15)
		return true;

	uintptr_t head = ((const uintptr_t *)at)[-1];
	uintptr_t size = head & ~(uintptr_t)TR_CHUNK_FLAGS;

	if ((head & 14) != kind || size < TR_CHUNK_MIN || size > bytes + TR_CHUNK_MIN)
		return true;
	if (!tr_chunk_is_suspect(at, given, low, bytes, kind))
		return false;
	finding->kind = tr_chunk_is_suspect(at, TR_NO_SIZE, low, bytes, kind) ? FT_WIRE_SUSPECT
									      : FT_WIRE_BAD_SIZE;
	return true;
}

/* An anonymous mapping that nobody else owns. False: it is the heap's, and nothing is wrong. */
static bool judge_anonymous(uintptr_t at, size_t given, const struct tr_mapping *mapping,
			    struct finding *finding)
{
	uintptr_t base = at >> ARENA_LOG2 << ARENA_LOG2, low, bytes;
	uintptr_t head = 0;

	if (at - mapping->low >= 16 && !(at & 15))
		head = ((const uintptr_t *)at)[-1];

	/* An arena begins with the address of its state, which is in it or in an earlier one. */
	if (head & TR_CHUNK_NON_MAIN && base - mapping->low < mapping->high - mapping->low) {
		const uintptr_t *info = (const uintptr_t *)base;

		if (info[0] && info[2] <= (uintptr_t)1 << ARENA_LOG2 && !(info[2] & (PAGE - 1)) &&
		    at - base < info[2]) {
			uint64_t number = at >> ARENA_LOG2;

			atomic_store_explicit(&arenas[number % N_ARENAS], number,
					      memory_order_relaxed);
			if (!find_arena(at, &low, &bytes))
				return false;
			return tr_chunk_is_suspect(at, given, low, bytes, TR_CHUNK_NON_MAIN) &&
			       judge_chunk(at, given, low, bytes, TR_CHUNK_NON_MAIN, finding);
		}
	}

	/* The main heap may go on in a mapping, where its chunks look as they always do. */
	uintptr_t size = head & ~(uintptr_t)TR_CHUNK_FLAGS;

	if (!(head & 14) && size >= TR_CHUNK_MIN && size <= mapping->high - at + 16) {
		uint32_t i = atomic_fetch_add_explicit(&n_others, 1, memory_order_relaxed);

		low = mapping->low + 16;
		bytes = mapping->high - low;
		if (tr_chunk_is_suspect(at, given, low, bytes, 0))
			return judge_chunk(at, given, low, bytes, 0, finding);
		atomic_store_explicit(&others[i % N_OTHERS].bytes, 0, memory_order_relaxed);
		atomic_store_explicit(&others[i % N_OTHERS].low, low, memory_order_relaxed);
		atomic_store_explicit(&others[i % N_OTHERS].bytes, bytes, memory_order_relaxed);
		return false;
	}
	finding->kind = FT_WIRE_INVALID_FREE;
	finding->region = FT_WIRE_REGION_MMAP;
	return true;
}

/* Is there a thread whose stack is in the mapping? *serial: which. */
static bool is_stack(const struct tr_mapping *mapping, uint64_t *serial)
{
	uint32_t n = atomic_load_explicit(&tr_session.header->n_rings_used, memory_order_relaxed);

	for (uint32_t i = 0; i < n && i < tr_session.n_lanes; i++) {
		const struct tr_lane *lane = tr_lanes + i;
		uintptr_t at = atomic_load_explicit(&lane->stack_at, memory_order_relaxed);

		if (at - mapping->low < mapping->high - mapping->low &&
		    atomic_load_explicit(&lane->ended, memory_order_relaxed) == TR_LANE_OWNED) {
			*serial = lane->serial;
			return true;
		}
	}
	return false;
}

/* The program break may have moved since we looked. */
static bool judge_main_heap(uintptr_t at, size_t given, uintptr_t begin, struct finding *finding,
			    bool *bad)
{
	uintptr_t end = (uintptr_t)tr_sys(SYS_brk, 0);
	uintptr_t low = begin + 16, bytes = end - low;

	if (begin >= end || at - low >= bytes)
		return false;
	atomic_store_explicit(&tr_main_heap.bytes, 0, memory_order_relaxed);
	atomic_store_explicit(&tr_main_heap.low, low, memory_order_relaxed);
	atomic_store_explicit(&tr_main_heap.bytes, bytes, memory_order_relaxed);
	*bad = tr_chunk_is_suspect(at, given, low, bytes, 0) &&
	       judge_chunk(at, given, low, bytes, 0, finding);
	return true;
}

static bool starts_with(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* False: it is a block like others. `path` gets the mapping's, if that is to be named. */
static bool judge(uintptr_t at, size_t given, struct finding *finding, char *path, size_t room)
{
	uintptr_t low = atomic_load_explicit(&tr_main_heap.low, memory_order_relaxed);
	uintptr_t bytes = atomic_load_explicit(&tr_main_heap.bytes, memory_order_relaxed);
	struct tr_mapping mapping;
	struct dl_find_object object;
	bool bad;

	*finding = (struct finding){.kind = FT_WIRE_INVALID_FREE};
	path[0] = '\0';
	if (tr_real.glibc) {
		if (at - low < bytes)
			return judge_chunk(at, given, low, bytes, 0, finding);
		if (low && judge_main_heap(at, given, low - 16, finding, &bad))
			return bad;
		if (find_arena(at, &low, &bytes))
			return judge_chunk(at, given, low, bytes, TR_CHUNK_NON_MAIN, finding);
	}
	if (!tr_read_mapping(at, &mapping, path, room)) {
		finding->region = mapping.known ? FT_WIRE_REGION_UNMAPPED : FT_WIRE_REGION_UNKNOWN;
		return mapping.known;
	}
	if (starts_with(path, "[heap]") && tr_real.glibc)
		return judge_main_heap(at, given, mapping.low, finding, &bad) && bad;
	if (find_module(at, &object)) {
		finding->region =
			mapping.perms[2] == 'x' ? FT_WIRE_REGION_CODE : FT_WIRE_REGION_DATA;
		finding->offset = at - object.dlfo_link_map->l_addr;
		/* Its uninitialised data has a mapping without a name. */
		if (path[0] != '/' &&
		    !tr_read_mapping((uintptr_t)object.dlfo_map_start, &mapping, path, room))
			path[0] = '\0';
		return true;
	}
	/* Huge pages of the allocator's look like files. */
	if (path[0] == '/' && !starts_with(path, "/anon_hugepage")) {
		finding->region = FT_WIRE_REGION_FILE;
		finding->offset = at - mapping.low + mapping.offset;
		return true;
	}
	if (starts_with(path, "[stack") || is_stack(&mapping, &finding->offset)) {
		finding->region = FT_WIRE_REGION_STACK;
		if (!is_stack(&mapping, &finding->offset))
			finding->offset = 0;
		return true;
	}
	if (path[0] == '[' && !starts_with(path, "[anon") && !starts_with(path, "[heap")) {
		finding->region = FT_WIRE_REGION_OTHER;
		finding->offset = at - mapping.low;
		return true;
	}
	/* What else another allocator has is its own affair. */
	if (!tr_real.glibc || path[0] == '/' || starts_with(path, "[heap"))
		return false;
	if (mapping.perms[0] != 'r') {
		finding->region = FT_WIRE_REGION_MMAP;
		return true;
	}
	finding->offset = at - mapping.low;
	return judge_anonymous(at, given, &mapping, finding);
}

void tr_suspect(struct tr_lane *lane, enum ft_api api, const void *block, size_t given,
		uint64_t stamp, const void *frame)
{
	enum { HEAD = 5 };
	struct finding finding;
	char path[PATH_ROOM];

	if (!judge((uintptr_t)block, given, &finding, path, sizeof(path))) {
		/* Arenas are found so, and the heap as it grows: that is not in vain. */
		if (tr_is_suspect(block, given) &&
		    atomic_fetch_add_explicit(&n_in_vain, 1, memory_order_relaxed) > MAX_IN_VAIN)
			disabled = true;
		return;
	}
	if (atomic_fetch_add_explicit(&n_told, 1, memory_order_relaxed) >= MAX_TOLD)
		return;

	/* Its nodes, modules and raw frames come before it. */
	uint32_t stack = tr_stack(lane, frame, stamp);
	size_t bytes = strlen(path);
	unsigned words = (unsigned)(HEAD + (bytes + 7) / 8);
	uint64_t *w = tr_reserve(lane, words, stamp);

	if (!w)
		return;
	w[words - 1] = 0;
	memcpy(w + HEAD, path, bytes);
	w[4] = finding.kind == FT_WIRE_BAD_SIZE ? given : finding.offset;
	w[3] = (uint64_t)finding.kind | (uint64_t)finding.region << 8 | (uint64_t)bytes << 16;
	w[2] = (uint64_t)(uintptr_t)block;
	w[1] = stamp;
	w[0] = ft_wire_head(FT_WIRE_ERROR, api, 0, words, stack);
	tr_publish(lane, words, stamp);
}
