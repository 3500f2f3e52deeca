/* SPDX-License-Identifier: MIT */
/*
 * Fitting the page into a size
 *
 * The document's size does not grow with the recording: series have a fixed length, lists a number
 * of rows. What can still make a page large is text: deep stacks and long names, in many rows.
 * Where the page is larger than it may be, stacks, names and lists are cut, step by step; rows that
 * go are added to what the section has for all others, so that sums stay. What was cut is in
 * `quality.coarsened`.
 */
#ifndef RP_FIT_H
#define RP_FIT_H

#include <stdint.h>

#include "fa_doc.h"
#include "ft_error.h"
#include "report.h"

#define RP_DEFAULT_BYTES (UINT64_C(8) << 20)

struct rp_fitted {
	uint64_t bytes; /* what the page is */
	/* The last step that was taken; 0: nothing was cut. */
	unsigned step;
	unsigned rows, frames, name_bytes; /* what is left at most; 0: all */
};

/* Cut the document until its page has at most `max_bytes`, or nothing more can be cut: `bytes` is
 * then larger. */
struct ft_error *rp_fit(struct fa_doc *doc, const struct rp_options *options, uint64_t max_bytes,
			struct rp_fitted *ret);

#endif
