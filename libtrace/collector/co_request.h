/* SPDX-License-Identifier: MIT */
/*
 * What a user asks of a running recording
 *
 * The main thread takes a request in (co_control.h) and hands it to the session; the drain thread
 * does it at its stamp: all events before it are written, none after. A flush goes on to the
 * write thread. Whoever is done with it hands it back by `done`.
 *
 * A rotation makes the round twice: first the write thread prepares (the next file, and which
 * blocks live) while the recording goes on, then the drain thread closes the account of the one
 * recording and opens that of the next, at the stamp of the second round.
 *
 * Paused, a recording takes up no new blocks: births are left out, and so are the deaths of blocks
 * whose birth was. Deaths of recorded blocks are recorded: nothing looks live that is not.
 */
#ifndef CO_REQUEST_H
#define CO_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "co_control.h"

struct co_session;

struct co_request {
	struct co_request *next;
	int fd;	   /* the connection; the main thread's */
	pid_t pid; /* the process that is meant */
	enum co_control_verb verb;
	uint64_t stamp;
	char label[sizeof(((struct co_control_request *)NULL)->text) + 1];
	bool failed;
	bool prepared; /* a rotation: handed back by the write thread, to be added once more */
	char *closed;  /* a rotation: path of the recording that is closed; free() it */
	int result_fd; /* what goes with the answer, or -1; closed after it */
	char answer[sizeof(((struct co_control_answer *)NULL)->text)];
	void (*done)(void *ctx, struct co_request *request); /* any thread; takes it back */
	void *ctx;
};

/* Hand over; from the main thread, before co_session_end(). */
void co_request_add(struct co_session *session, struct co_request *request);

/* For the drain thread: the bound that the next request sets; and do those that are due at it.
 * Returns true when there are more. */
uint64_t co_request_bound(struct co_session *session, uint64_t bound);

/* The clock has gone back to `now`: what was asked for before is asked for now. */
void co_request_restamp(struct co_session *session, uint64_t now);
bool co_request_serve(struct co_session *session, uint64_t bound);

/* A mark at the request's stamp. */
void co_request_mark(struct co_session *session, const struct co_request *request,
		     const char *kind);

/* The session is over: what is still there has failed. */
void co_request_abandon(struct co_session *session);

/* Any thread: fail or succeed, and hand back. `error` NULL: done. */
void co_request_finish(struct co_request *request, const char *error);

#endif
