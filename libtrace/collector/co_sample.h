/* SPDX-License-Identifier: MIT */
/*
 * The sampler: the program's memory as the kernel sees it, read from outside
 *
 * Every 100 ms the resident size, for the timeline. In larger steps all mappings, the pages of
 * those that can hold blocks, and the roll-up: 10 ms after the start, then a tenth of a second
 * apart that grows to one (a tenth of the age), never more than a hundredth of one processor, and
 * further apart the older the recording is (a 3600th of its age), so that a recording of a week is
 * not made of samples. Without the permission to read the page table the mappings' sizes are all
 * there is; the recording then says so (meta `residency`).
 */
#ifndef CO_SAMPLE_H
#define CO_SAMPLE_H

#include "co_roster.h"

/* Work until the roster stops: the body of the sampler thread. */
void co_sample_run(struct co_roster *roster);

/* Has the process let go of the segment (it has exec'ed something that is not traced)? */
bool co_sample_has_left(const struct co_session *session);

#endif
