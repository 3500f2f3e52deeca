/* SPDX-License-Identifier: MIT */
/* The list of sessions: see co_roster.h. */
#include "co_roster.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Since Linux 5.16; glibc 2.35's kernel headers may be older. */
#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif
#define WAITV_MAX   128
#define WAITV_32BIT 2

struct waitv {
	uint64_t val, uaddr;
	uint32_t flags, reserved;
};

void co_roster_init(struct co_roster *roster)
{
	*roster = (struct co_roster){0};
	pthread_mutex_init(&roster->lock, NULL);
}

void co_roster_deinit(struct co_roster *roster)
{
	for (uint32_t i = 0; i < roster->n; i++)
		co_session_unref(roster->sessions[i]);
	free(roster->sessions);
	pthread_mutex_destroy(&roster->lock);
}

void co_roster_wake(struct co_roster *roster)
{
	atomic_fetch_add_explicit(&roster->generation, 1, memory_order_release);
	co_futex_wake(&roster->generation);
}

void co_roster_stop(struct co_roster *roster)
{
	atomic_store_explicit(&roster->stopping, 1, memory_order_release);
	co_roster_wake(roster);
}

bool co_roster_add(struct co_roster *roster, struct co_session *session)
{
	bool added = false;

	pthread_mutex_lock(&roster->lock);
	if (roster->n == roster->capacity) {
		uint32_t capacity = roster->capacity ? roster->capacity * 2 : 16;
		struct co_session **grown =
			realloc(roster->sessions, capacity * sizeof(struct co_session *));

		if (grown) {
			roster->sessions = grown;
			roster->capacity = capacity;
		}
	}
	if (roster->n < roster->capacity) {
		roster->sessions[roster->n++] = co_session_ref(session);
		added = true;
	}
	pthread_mutex_unlock(&roster->lock);
	co_roster_wake(roster);
	return added;
}

void co_roster_remove(struct co_roster *roster, struct co_session *session)
{
	bool removed = false;

	pthread_mutex_lock(&roster->lock);
	for (uint32_t i = 0; i < roster->n && !removed; i++) {
		if (roster->sessions[i] != session)
			continue;
		roster->sessions[i] = roster->sessions[--roster->n];
		removed = true;
	}
	pthread_mutex_unlock(&roster->lock);
	if (removed)
		co_session_unref(session);
	co_roster_wake(roster);
}

void co_roster_copy_deinit(struct co_roster_copy *copy)
{
	for (uint32_t i = 0; i < copy->n; i++)
		co_session_unref(copy->sessions[i]);
	free(copy->sessions);
	*copy = (struct co_roster_copy){0};
}

bool co_roster_refresh(struct co_roster *roster, struct co_roster_copy *copy)
{
	uint32_t generation = atomic_load_explicit(&roster->generation, memory_order_acquire);
	struct co_session **sessions;
	uint32_t n = 0;

	if (copy->valid && generation == copy->generation)
		return false;

	pthread_mutex_lock(&roster->lock);
	sessions = malloc((roster->n + 1) * sizeof(struct co_session *));
	for (; sessions && n < roster->n; n++)
		sessions[n] = co_session_ref(roster->sessions[n]);
	pthread_mutex_unlock(&roster->lock);
	if (!sessions)
		return false; /* the old copy serves until there is memory */

	co_roster_copy_deinit(copy);
	*copy = (struct co_roster_copy){
		.sessions = sessions, .n = n, .generation = generation, .valid = true};
	return true;
}

static void plain_nap(struct co_roster *roster, const struct co_roster_copy *copy, int64_t ns)
{
	struct timespec timeout = {ns / 1000000000, ns % 1000000000};

	syscall(SYS_futex, &roster->generation, FUTEX_WAIT, copy->generation, &timeout, NULL, 0);
}

void co_roster_nap(struct co_roster *roster, const struct co_roster_copy *copy,
		   const uint32_t *doorbells, int64_t ns)
{
	static _Atomic bool no_waitv;
	struct waitv waits[WAITV_MAX];
	struct timespec until;
	unsigned n = 0;

	if (!doorbells || atomic_load_explicit(&no_waitv, memory_order_relaxed)) {
		/* Nobody can ring: sleep shorter. */
		plain_nap(roster, copy, doorbells && ns > 5000000 ? 5000000 : ns);
		return;
	}
	waits[n++] = (struct waitv){.val = copy->generation,
				    .uaddr = (uint64_t)(uintptr_t)&roster->generation,
				    .flags = WAITV_32BIT};
	for (uint32_t i = 0; i < copy->n && n < WAITV_MAX; i++)
		waits[n++] = (struct waitv){
			.val = doorbells[i],
			.uaddr = (uint64_t)(uintptr_t)&copy->sessions[i]->segment.header->doorbell,
			.flags = WAITV_32BIT};
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (until.tv_nsec + ns) / 1000000000;
	until.tv_nsec = (until.tv_nsec + ns) % 1000000000;
	if (syscall(SYS_futex_waitv, waits, n, 0, &until, CLOCK_MONOTONIC) < 0 &&
	    errno != ETIMEDOUT && errno != EAGAIN && errno != EINTR)
		atomic_store_explicit(&no_waitv, true, memory_order_relaxed);
}
