/* SPDX-License-Identifier: MIT */
/*
 * What the launcher says about recordings, on stderr
 */
#ifndef LA_REPORT_H
#define LA_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "co_notice.h"

struct la_report {
	pid_t program;
	uint32_t n_opened, n_done;
	struct co_notice best; /* DONE with the most allocations; kind 0: none yet */
	uint32_t n_failed;
	struct co_notice failed; /* the first one */
	uint64_t n_lost;
	bool self_check; /* there was one, and these are its figures: */
	uint64_t n_checked, n_differences, n_explained;
	struct co_notice state; /* the last STATE */
	bool progress_shown;
	bool is_tty;
};

void la_report_init(struct la_report *report);
void la_report_notice(struct la_report *report, const struct co_notice *notice);

/* A line that says what is waited for; on a terminal only. */
void la_report_progress(struct la_report *report);

/* The three lines at the end; one more with a self-check, and where a recording failed. */
void la_report_end(struct la_report *report, double seconds);

#endif
