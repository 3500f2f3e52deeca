/* SPDX-License-Identifier: MIT */
/*
 * The HTML report: one self-contained file from one analysis document
 *
 * The file opens from disk without a server or network: a strict content security policy, a floor
 * that reads without JavaScript, the document's sections in one boot block, its columns in chunks
 * of their own, and the front end (reports/web) as one inlined script. The layout and the chunk
 * format are in reports/FORMAT.md.
 *
 * Same document and options: the same bytes out.
 */
#ifndef RP_REPORT_H
#define RP_REPORT_H

#include <stdbool.h>
#include <stdio.h>

#include "fa_doc.h"
#include "ft_error.h"

struct rp_options {
	const char *lang; /* "en" or "zh": the floor's language and the front end's default */
};

/* Write the report; `options` may be NULL. `out` is flushed, not closed. */
struct ft_error *rp_report_write(const struct fa_doc *doc, const struct rp_options *options,
				 FILE *out);

/* Whether this build carries the interactive front end, or writes the floor alone. */
bool rp_report_has_front_end(void);

#endif
