/* SPDX-License-Identifier: MIT */
/* Deaths that are still to come: see co_late.h. */
#include "co_late.h"

enum { SWEEP_MIN = 1024 };

void co_late_init(struct co_late *late)
{
	ft_map_init(&late->births);
	ft_map_init(&late->counts);
	late->sweep_at = SWEEP_MIN;
}

void co_late_deinit(struct co_late *late)
{
	ft_map_deinit(&late->births);
	ft_map_deinit(&late->counts);
}

static void forget(struct co_late *late, uint64_t address)
{
	ft_map_remove(&late->births, address, NULL);
	ft_map_remove(&late->counts, address, NULL);
}

/* Drop what is too old. The maps move when something is removed: collect, then remove, some at a
 * time. */
static void sweep(struct co_late *late, uint64_t oldest)
{
	uint64_t old[256];
	size_t n;

	do {
		size_t cursor = 0;
		uint64_t address, birth;

		n = 0;
		while (n < 256 && ft_map_next(&late->births, &cursor, &address, &birth))
			if (birth < oldest)
				old[n++] = address;
		for (size_t i = 0; i < n; i++)
			forget(late, old[i]);
	} while (n == 256);

	late->sweep_at = 2 * ft_map_count(&late->births);
	if (late->sweep_at < SWEEP_MIN)
		late->sweep_at = SWEEP_MIN;
}

void co_late_expect(struct co_late *late, uint64_t address, uint64_t birth, uint64_t age)
{
	uint64_t *stamp, *count;

	if (ft_map_count(&late->births) >= late->sweep_at)
		sweep(late, birth > age ? birth - age : 0);

	stamp = ft_map_put(&late->births, address, NULL);
	count = ft_map_put(&late->counts, address, NULL);
	if (!stamp || !count) {
		forget(late, address);
		return;
	}
	*stamp = birth;
	++*count;
}

bool co_late_take_slow(struct co_late *late, uint64_t address, uint64_t stamp)
{
	const uint64_t *birth = ft_map_get(&late->births, address);
	uint64_t *count;

	if (!birth || stamp >= *birth)
		return false;
	count = ft_map_get(&late->counts, address);
	if (count && *count > 1)
		--*count;
	else
		forget(late, address);
	return true;
}
