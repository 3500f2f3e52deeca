/* SPDX-License-Identifier: MIT */
/*
 * Which bytes a block really takes
 *
 * The allocator decides what lies around the bytes that a program asked for. glibc keeps 8 bytes of
 * header in front of each block, which is why its usable sizes are 8 more than a multiple of 16; a
 * block without that mark was not laid out by glibc, whatever is said of the allocator. Inlined
 * into the loops of those who follow events.
 */
#ifndef FA_PLACE_H
#define FA_PLACE_H

#include <string.h>

#include "fa_layout.h"
#include "fragtrace/event.h"

/* The allocator that a module of this path brings; NULL: none. */
static inline const char *fa_place_allocator(const char *path)
{
	static const char *const names[] = {"jemalloc", "tcmalloc", "mimalloc"};
	const char *base = path ? strrchr(path, '/') : NULL;

	if (!base || strncmp(base, "/lib", 4) != 0)
		return NULL;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strncmp(base + 4, names[i], strlen(names[i])) == 0)
			return names[i];
	return NULL;
}

enum { FA_GLIBC_HEADER = 8, FA_GLIBC_MMAP_HEADER = 16, FA_GLIBC_MIN_USABLE = 24 };

/* The place of a block that is alive: `flags` are FT_EVENT_F_... of its birth. */
static inline struct fa_place fa_place_of(bool is_glibc, uint64_t address, uint64_t size,
					  uint64_t usable, uint8_t flags)
{
	struct fa_place place = {
		.start = address & ~UINT64_C(7),
		.own_mapping = is_glibc && flags & FT_EVENT_F_MMAPPED,
		.tag = flags & FT_EVENT_F_NON_MAIN ? FA_TAG_ARENA : FA_TAG_MAIN,
	};

	if (place.own_mapping) {
		place.start -= FA_GLIBC_MMAP_HEADER;
	} else if (is_glibc) {
		/* Equal sizes: exact or unknown; the rule gives the right answer for both. */
		if (usable == size) {
			usable =
				((usable + FA_GLIBC_HEADER + 15) & ~UINT64_C(15)) - FA_GLIBC_HEADER;
			if (usable < FA_GLIBC_MIN_USABLE)
				usable = FA_GLIBC_MIN_USABLE;
		}
		if (usable % 16 == 8 && usable >= FA_GLIBC_MIN_USABLE && !(address & 15))
			place.start -= FA_GLIBC_HEADER;
	}
	if (!usable)
		usable = 8;
	place.end = (address + usable + 7) & ~UINT64_C(7);
	return place;
}

#endif
