/* SPDX-License-Identifier: MIT */
/* Threads that are alike: the same start routine, and the same name but for its numbers ("conn-17"
 * and "conn-4"). Equal for those, and as a rule different for others. */
#ifndef FT_THREAD_KIND_H
#define FT_THREAD_KIND_H

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>

#include "ft_map.h"

/* `name` may be NULL. */
static inline uint64_t ft_thread_kind(uint64_t start_function, const char *name)
{
	uint64_t hash = ft_hash_u64(start_function + 1);
	bool in_number = false;

	for (; name && *name; name++) {
		bool digit = isdigit((unsigned char)*name);

		if (!digit || !in_number)
			hash = (hash ^ (digit ? '#' : (unsigned char)*name)) *
			       UINT64_C(0x100000001b3);
		in_number = digit;
	}
	return hash;
}

#endif
