/* SPDX-License-Identifier: MIT */
/*
 * Between the launcher and its collector
 *
 * One struct a message on a SOCK_SEQPACKET pair; both come from one build. The launcher says how
 * its program ended and, by closing its end, that it no longer listens; the collector then still
 * works until the last image has ended.
 */
#ifndef CO_NOTICE_H
#define CO_NOTICE_H

#include <stdint.h>

enum co_notice_kind {
	CO_NOTICE_EXITED = 1, /* launcher: pid, status as of waitpid() */
	CO_NOTICE_OPENED,     /* collector: pid, text = path of the recording */
	CO_NOTICE_FAILED,     /* collector: pid, text = why there is no recording */
	CO_NOTICE_DONE,	      /* collector: pid, text = path, totals: complete, symbols included */
	CO_NOTICE_STATE,      /* collector: the counts; sent when they change and after EXITED */
};

struct co_notice {
	uint32_t kind;
	int32_t pid;
	int32_t status;
	uint32_t n_running;   /* images that live */
	uint32_t n_finishing; /* images that have ended and are not complete yet */
	uint32_t exited_seen; /* STATE: sent after EXITED was read */
	uint32_t n_threads;
	uint32_t n_parts; /* DONE: recordings of this image; `text` is the last one */
	uint64_t n_allocs, n_frees, n_lost;
	uint64_t peak_bytes, live_bytes, live_blocks;
	uint64_t sample_bytes; /* DONE: the totals are estimates from a sample at this rate; 0: not
				*/
	uint64_t n_checked, n_differences, n_explained; /* DONE: the self-check's stacks */
	uint32_t self_check;				/* DONE: there was one */
	char text[4096];
};

#endif
