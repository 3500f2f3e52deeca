/* SPDX-License-Identifier: MIT */
/*
 * A scene: a recording written event by event with a virtual clock, and its analysis
 *
 * Failures end the test. Site n is a stack of one frame of its own, called by a common `main`;
 * names come from scene_name().
 */
#ifndef SCENE_H
#define SCENE_H

#include "fa_doc.h"
#include "fa_engine.h"
#include "fa_json_read.h"
#include "fragtrace/store.h"

#define MS  UINT64_C(1000000)
#define SEC UINT64_C(1000000000)

enum { SCENE_SITES = 256, SCENE_MODULE_BASE = 0x400000 };

struct scene {
	char path[64];
	struct ft_writer *writer;
	uint64_t now_ns, n_events;
	/* once analysed */
	struct ft_reader *reader;
	struct fa_engine *engine;
	struct fa_doc *doc;
	struct ft_arena arena;
};

void scene_begin(struct scene *s); /* process, one module, SCENE_SITES stacks, threads 1..4 */
void scene_event(struct scene *s, const struct ft_event *event); /* at now_ns */
void scene_alloc(struct scene *s, uint64_t address, uint64_t size, uint32_t site, uint32_t thread);
void scene_free(struct scene *s, uint64_t address, uint32_t thread);
void scene_realloc(struct scene *s, uint64_t from, uint64_t to, uint64_t size, uint32_t site,
		   uint32_t thread);

uint32_t scene_stack(uint32_t site); /* the stack id of a site, 1.. */

/* End the process at now_ns and close the recording; with `cut` as a killed writer does. */
void scene_finish(struct scene *s, bool cut);
/* Name the frame of a site; before the analysis, after scene_finish(). */
void scene_name(struct scene *s, uint32_t site, const char *function);

/* Run passes (NULL-terminated names; NULL: all) over the window. */
void scene_analyse(struct scene *s, const char *const *passes, uint64_t from_ns, uint64_t to_ns);
const struct fa_value *scene_section(struct scene *s, const char *name);
const struct fa_column *scene_column(struct scene *s, const char *name);
uint64_t scene_u64(const struct fa_column *column, size_t index);
/* The row of `array` whose `key` is the number `value`, or NULL. */
const struct fa_value *scene_row(const struct fa_value *array, const char *key, uint64_t value);

void scene_analysis_end(struct scene *s); /* so that it can be analysed again */
void scene_end(struct scene *s);

/* xorshift64*: the same on every machine. */
uint64_t scene_random(uint64_t *state);

#endif
