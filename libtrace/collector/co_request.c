/* SPDX-License-Identifier: MIT */
/* Requests to a running session: see co_request.h. */
#include "co_request.h"

#include <inttypes.h>
#include <stdio.h>

#include "co_session.h"
#include "co_watch.h"

void co_request_add(struct co_session *session, struct co_request *request)
{
	struct co_request **last;

	request->next = NULL;
	pthread_mutex_lock(&session->lock);
	for (last = &session->requests; *last; last = &(*last)->next)
		;
	*last = request;
	pthread_mutex_unlock(&session->lock);
	atomic_fetch_add_explicit(&session->n_requests, 1, memory_order_release);
}

static struct co_request *first(struct co_session *session, bool take)
{
	struct co_request *request;

	if (!atomic_load_explicit(&session->n_requests, memory_order_acquire))
		return NULL;
	pthread_mutex_lock(&session->lock);
	request = session->requests;
	if (request && take)
		session->requests = request->next;
	pthread_mutex_unlock(&session->lock);
	if (request && take)
		atomic_fetch_sub_explicit(&session->n_requests, 1, memory_order_relaxed);
	return request;
}

uint64_t co_request_bound(struct co_session *session, uint64_t bound)
{
	const struct co_request *request = first(session, false);

	return request && request->stamp < bound ? request->stamp : bound;
}

void co_request_restamp(struct co_session *session, uint64_t now)
{
	pthread_mutex_lock(&session->lock);
	for (struct co_request *request = session->requests; request; request = request->next)
		if (request->stamp > now)
			request->stamp = now;
	pthread_mutex_unlock(&session->lock);
}

void co_request_finish(struct co_request *request, const char *error)
{
	if (error) {
		request->failed = true;
		snprintf(request->answer, sizeof(request->answer), "%s", error);
	}
	request->done(request->ctx, request);
}

void co_request_mark(struct co_session *session, const struct co_request *request, const char *kind)
{
	uint64_t time_ns = co_timebase_peek(&session->timebase, request->stamp);
	struct ft_mark_row row = {.seq = session->counters.n_events,
				  .kind = kind,
				  .label = request->label,
				  .time_ns = time_ns};

	/* Not before the last event that it comes after. */
	if (row.time_ns < session->timebase.last_ns)
		row.time_ns = session->timebase.last_ns;
	co_session_op(session, co_op_mark(&row));
}

static void pause_or_resume(struct co_session *session, struct co_request *request, bool pause)
{
	if (session->paused == pause) {
		co_request_finish(request, pause ? "it is paused already" : "it is not paused");
		return;
	}
	session->paused = pause;
	session->was_paused = true;
	co_request_mark(session, request, pause ? "pause" : "resume");
	co_request_finish(request, NULL);
}

static void flush(struct co_session *session, struct co_request *request)
{
	struct co_op *op = co_op_create(CO_OP_FLUSH, 0);

	if (!op) {
		co_request_finish(request, "out of memory");
		return;
	}
	op->request = request;
	co_session_op(session, op);
	co_session_flush(session);
}

static void tell(struct co_session *session, struct co_request *request)
{
	const struct co_counters *counters = &session->counters;
	const struct co_timeline *timeline = &session->timeline;
	struct co_sums sums = co_session_sums(session);

	snprintf(request->answer, sizeof(request->answer),
		 "{\"pid\":%d,\"time_ns\":%" PRIu64 ",\"events\":%" PRIu64
		 ",\"allocations\":%" PRIu64 ",\"frees\":%" PRIu64 ",\"live_bytes\":%" PRIu64
		 ",\"live_blocks\":%" PRIu64 ",\"peak_bytes\":%" PRIu64 ",\"lost_events\":%" PRIu64
		 ",\"unknown_frees\":%" PRIu64 ",\"paused\":%s,\"paused_events\":%" PRIu64
		 ",\"event_bytes\":%" PRIu64 "}",
		 (int)session->pid, co_timebase_peek(&session->timebase, request->stamp),
		 counters->n_events, sums.n_allocs, sums.n_frees, co_timeline_live(timeline),
		 co_timeline_live_blocks(timeline), sums.peak_bytes, counters->n_lost,
		 counters->n_unknown_frees, session->paused ? "true" : "false", counters->n_paused,
		 atomic_load_explicit(&session->file_bytes, memory_order_relaxed));
	co_request_finish(request, NULL);
}

bool co_request_serve(struct co_session *session, uint64_t bound)
{
	struct co_request *request;

	while ((request = first(session, false)) && request->stamp <= bound) {
		request = first(session, true);
		switch (request->verb) {
		case CO_CONTROL_MARK:
			co_request_mark(session, request, "user");
			co_request_finish(request, NULL);
			break;
		case CO_CONTROL_PAUSE:
		case CO_CONTROL_RESUME:
			pause_or_resume(session, request, request->verb == CO_CONTROL_PAUSE);
			break;
		case CO_CONTROL_FLUSH:
		case CO_CONTROL_MAX_SIZE: /* the write thread's, too */
			flush(session, request);
			break;
		case CO_CONTROL_ROTATE:
			if (request->prepared)
				co_end_rotate(session, request);
			else
				flush(session, request);
			break;
		case CO_CONTROL_STATS:
			tell(session, request);
			break;
		case CO_CONTROL_WATCH:
			request->result_fd = co_watch_write(session, request->stamp);
			co_request_finish(request, request->result_fd < 0 ? "out of memory" : NULL);
			break;
		default:
			co_request_finish(request, "an unknown request");
		}
	}
	return request != NULL;
}

void co_request_abandon(struct co_session *session)
{
	struct co_request *request;

	while ((request = first(session, true)))
		co_request_finish(request, "the program has ended");
}
