/* SPDX-License-Identifier: MIT */
/* Frees that seem to come too early: see co_early.h. */
#include "co_early.h"

#include <string.h>

void co_early_take(struct co_early *early, uint32_t i, struct co_record *record, uint32_t *ring)
{
	*record = early->held[i].record;
	*ring = early->held[i].ring;
	early->n--;
	memmove(&early->held[i], &early->held[i + 1], (early->n - i) * sizeof(early->held[0]));
}

bool co_early_find(struct co_early *early, uint64_t address, struct co_record *record,
		   uint32_t *ring)
{
	for (uint32_t i = 0; i < early->n; i++)
		if (early->held[i].record.address == address) {
			co_early_take(early, i, record, ring);
			return true;
		}
	return false;
}
