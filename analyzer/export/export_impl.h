/* SPDX-License-Identifier: MIT */
/* What the formats share: a walk over all stacks, tables of what is written once. */
#ifndef FA_EXPORT_IMPL_H
#define FA_EXPORT_IMPL_H

#include "fa_export.h"
#include "fa_json_read.h"
#include "ft_arena.h"
#include "ft_map.h"
#include "ft_strbuf.h"

/* ---- stacks ------------------------------------------------------------------------------------
 */

/* One stack that allocated, or has live blocks. Frames are innermost first, redacted; where none is
 * known there is one that says so. */
struct fa_export_stack {
	uint32_t id;
	struct fa_site site;
	const struct fa_frame *frames;
	size_t n_frames;
	uint64_t value[FA_N_METRICS];
};

struct fa_export_walk {
	const struct fa_export_source *source;
	size_t next, room;
	struct fa_frame *frames;
	struct ft_error *error; /* why the walk ended early, or NULL */
};
void fa_export_walk_init(struct fa_export_walk *walk, const struct fa_export_source *source);
bool fa_export_next(struct fa_export_walk *walk, struct fa_export_stack *ret);
/* Release what the walk owns; returns its error. */
struct ft_error *fa_export_walk_end(struct fa_export_walk *walk);

/* How many metrics the recording knows: all but the last in a sample. */
unsigned fa_export_n_metrics(const struct fa_export_source *source);

/* The text of a frame: its function, or where it is. Either the frame's own, or in `buffer`. */
enum { FA_EXPORT_TEXT = 512 };
const char *fa_export_frame_text(const struct fa_frame *frame, char buffer[FA_EXPORT_TEXT]);

/* ---- tables ------------------------------------------------------------------------------------
 */

/* Things that are written once and referred to by number, from 0 in the order of their coming. */
struct fa_intern {
	struct ft_map by_hash;
	struct ft_arena arena;
	struct fa_interned {
		const void *data;
		size_t len;
	} * entries;
	size_t n, room;
};
/* The number of `data`; *created (may be NULL) tells whether it is new. False: out of memory. */
bool fa_intern_put(struct fa_intern *table, const void *data, size_t len, uint32_t *ret,
		   bool *created);
bool fa_intern_text(struct fa_intern *table, const char *text, uint32_t *ret);
void fa_intern_deinit(struct fa_intern *table);

/* ---- output ------------------------------------------------------------------------------------
 */

/* Write what the buffer holds, and empty it. */
struct ft_error *fa_export_flush(struct ft_strbuf *buf, FILE *out);
/* The same once it holds more than fits well in a cache. */
struct ft_error *fa_export_flush_some(struct ft_strbuf *buf, FILE *out);

/* A column of the document; n is 0 where it is not there. */
uint64_t fa_export_column(const struct fa_export_source *source, const char *name,
			  const uint64_t **ret);

/* Section summary of the document, parsed into the arena. */
struct ft_error *fa_export_summary(const struct fa_export_source *source, struct ft_arena *arena,
				   const struct fa_value **ret);

/* ---- the formats -------------------------------------------------------------------------------
 */

#define FA_EXPORT_WRITER(name)                                       \
	struct ft_error *name(const struct fa_export_source *source, \
			      const struct fa_export_options *options, FILE *out)
FA_EXPORT_WRITER(fa_export_folded);
FA_EXPORT_WRITER(fa_export_speedscope);
FA_EXPORT_WRITER(fa_export_pprof);
FA_EXPORT_WRITER(fa_export_gperftools);
FA_EXPORT_WRITER(fa_export_massif);
FA_EXPORT_WRITER(fa_export_csv);
FA_EXPORT_WRITER(fa_export_json);
FA_EXPORT_WRITER(fa_export_perfetto);

#endif
