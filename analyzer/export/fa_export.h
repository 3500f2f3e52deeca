/* SPDX-License-Identifier: MIT */
/*
 * Exports: a recording's analysis in the formats of other tools
 *
 * Each format is a file of its own with one function that streams: memory is needed for the names
 * and stacks that it lists once, not for the result. Figures are those of the analysis document:
 * the sums over all stacks are its totals. Nothing is folded or left out, unless the format's
 * consumer says that it does (massif's threshold).
 *
 * The same analysis and options give the same bytes.
 */
#ifndef FA_EXPORT_H
#define FA_EXPORT_H

#include <stdbool.h>
#include <stdio.h>

#include "fa_doc.h"
#include "fa_engine.h"
#include "fa_redact.h"

enum fa_metric {
	FA_METRIC_LEAKED,    /* bytes live at the end of the window */
	FA_METRIC_PEAK,	     /* bytes that were live when the whole heap was at its peak */
	FA_METRIC_ALLOCATED, /* bytes */
	FA_METRIC_COUNT,     /* allocations */
	FA_METRIC_TEMPORARY, /* blocks; unknown in a sampled recording */
	FA_N_METRICS
};
const char *fa_metric_name(enum fa_metric metric);

/* What is exported; all of it borrowed. */
struct fa_export_source {
	struct fa_engine *engine;   /* has run */
	const struct fa_doc *doc;   /* of it, redacted if anything is; see fa_export_format */
	struct fa_redactor *redact; /* for the names that the engine gives; NULL: as they are */
};

struct fa_export_options {
	enum fa_metric metric; /* of formats that hold one; that others show first */
	bool timeline;	       /* csv: moments instead of sites */
};

struct fa_export_format {
	const char *name;	   /* "folded", ... */
	bool binary;		   /* not for a terminal */
	const char *const *passes; /* that must have run; empty: all */
	struct ft_error *(*write)(const struct fa_export_source *source,
				  const struct fa_export_options *options, FILE *out);
};
extern const struct fa_export_format fa_export_formats[];		/* ends with a NULL name */
const struct fa_export_format *fa_export_format_find(const char *name); /* or NULL */

#endif
