/* SPDX-License-Identifier: MIT */
/* The drain thread: see co_drain.h. */
#include "co_drain.h"

#include <stdlib.h>

#define NAP_MIN_NS INT64_C(1000000)

/* One pass over all sessions; those that are finished leave the roster. */
static enum co_pass_result pass_all(struct co_roster *roster, const struct co_roster_copy *copy)
{
	enum co_pass_result most = CO_PASS_IDLE;

	for (uint32_t i = 0; i < copy->n; i++) {
		struct co_session *session = copy->sessions[i];
		enum co_pass_result result;

		if (session->finished)
			continue;
		result = co_session_pass(session);
		if (session->finished)
			co_roster_remove(roster, session);
		if (result > most)
			most = result;
	}
	return most;
}

/* The doorbells before the pass: what rings during it is then not missed. */
static const uint32_t *read_doorbells(const struct co_roster_copy *copy, uint32_t **bells,
				      uint32_t *capacity)
{
	if (copy->n > *capacity) {
		uint32_t *grown = realloc(*bells, copy->n * sizeof(*grown));

		if (!grown)
			return NULL;
		*bells = grown;
		*capacity = copy->n;
	}
	for (uint32_t i = 0; i < copy->n; i++)
		(*bells)[i] = atomic_load_explicit(&copy->sessions[i]->segment.header->doorbell,
						   memory_order_acquire);
	return *bells;
}

void co_drain_run(struct co_roster *roster)
{
	struct co_roster_copy copy = {0};
	uint32_t *bells = NULL, capacity = 0;
	int64_t nap = NAP_MIN_NS;

	while (!atomic_load_explicit(&roster->stopping, memory_order_acquire)) {
		const uint32_t *doorbells;

		co_roster_refresh(roster, &copy);
		doorbells = read_doorbells(&copy, &bells, &capacity);

		switch (pass_all(roster, &copy)) {
		case CO_PASS_MORE:
			nap = NAP_MIN_NS;
			continue;
		case CO_PASS_SOME:
			nap = NAP_MIN_NS;
			break;
		case CO_PASS_IDLE:
			nap = nap * 2 < CO_NAP_NS ? nap * 2 : CO_NAP_NS;
			break;
		}
		co_roster_nap(roster, &copy, doorbells, copy.n ? nap : 1000 * NAP_MIN_NS);
	}
	free(bells);
	co_roster_copy_deinit(&copy);
}
