/* SPDX-License-Identifier: MIT */
/* Scenes: see scene.h. */
#include "scene.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void must(struct ft_error *error)
{
	if (error)
		ck_abort_msg("%s", error->message);
}

uint32_t scene_stack(uint32_t site)
{
	return site + 2; /* 1 is main */
}

static uint64_t site_pc(uint32_t site)
{
	return SCENE_MODULE_BASE + 0x1000 + site * UINT64_C(16);
}

void scene_begin(struct scene *s)
{
	*s = (struct scene){0};
	strcpy(s->path, "/tmp/fa-scene-XXXXXX");

	int fd = mkstemp(s->path);

	ck_assert_int_ge(fd, 0);
	close(fd);
	unlink(s->path);
	ft_arena_init(&s->arena);
	must(ft_writer_create(s->path, &s->writer));
	must(ft_writer_module(s->writer, &(struct ft_module_row){
						 .id = 1,
						 .path = "/opt/scene/bin/scene",
						 .bias = SCENE_MODULE_BASE,
						 .start = SCENE_MODULE_BASE,
						 .end = SCENE_MODULE_BASE + 0x100000,
						 .unload_ns = FT_TIME_NONE,
					 }));
	must(ft_writer_stack_node(s->writer,
				  &(struct ft_stack_node){1, 0, SCENE_MODULE_BASE + 0x100}));
	for (uint32_t i = 0; i < SCENE_SITES; i++)
		must(ft_writer_stack_node(s->writer,
					  &(struct ft_stack_node){scene_stack(i), 1, site_pc(i)}));
	for (uint32_t i = 1; i <= 4; i++) {
		char name[16];

		snprintf(name, sizeof(name), "thread-%u", i);
		must(ft_writer_thread(s->writer, &(struct ft_thread_row){.id = i,
									 .tid = 100 + i,
									 .name = name,
									 .end_ns = FT_TIME_NONE}));
	}
}

void scene_event(struct scene *s, const struct ft_event *event)
{
	struct ft_event copy = *event;
	uint64_t seq;

	copy.time_ns = s->now_ns;
	must(ft_writer_event(s->writer, &copy, &seq));
	s->n_events++;
}

void scene_alloc(struct scene *s, uint64_t address, uint64_t size, uint32_t site, uint32_t thread)
{
	scene_event(s, &(struct ft_event){.kind = FT_EVENT_ALLOC,
					  .api = FT_API_MALLOC,
					  .address = address,
					  .size = size,
					  .usable = (size + 8 + 15) / 16 * 16 + 8,
					  .stack = scene_stack(site),
					  .thread = thread});
}

void scene_free(struct scene *s, uint64_t address, uint32_t thread)
{
	scene_event(s, &(struct ft_event){.kind = FT_EVENT_FREE,
					  .api = FT_API_FREE,
					  .address = address,
					  .thread = thread});
}

void scene_realloc(struct scene *s, uint64_t from, uint64_t to, uint64_t size, uint32_t site,
		   uint32_t thread)
{
	scene_event(s, &(struct ft_event){.kind = FT_EVENT_REALLOC,
					  .api = FT_API_REALLOC,
					  .address = to,
					  .old_address = from,
					  .size = size,
					  .usable = (size + 8 + 15) / 16 * 16 + 8,
					  .stack = scene_stack(site),
					  .thread = thread});
}

void scene_finish(struct scene *s, bool cut)
{
	must(ft_writer_process(s->writer, &(struct ft_process_row){
						  .pid = 4711,
						  .ppid = 1,
						  .exe = "/opt/scene/bin/scene-1.2",
						  .argv_json = "[\"scene\",\"--flag=</script>\"]",
						  .fork_ns = FT_TIME_NONE,
						  .end_ns = cut ? FT_TIME_NONE : s->now_ns,
						  .exit_kind = cut ? NULL : "exit",
					  }));
	if (cut) {
		must(ft_writer_commit(s->writer, true));
		ft_writer_close(s->writer);
	} else {
		must(ft_writer_finish(s->writer));
	}
	s->writer = NULL;
}

void scene_name(struct scene *s, uint32_t site, const char *function)
{
	struct ft_symbol_writer *writer;

	must(ft_symbol_writer_open(s->path, &writer));
	must(ft_symbol_writer_add(writer, &(struct ft_symbol_row){
						  .module = 1,
						  .offset = site_pc(site) - SCENE_MODULE_BASE,
						  .function = function,
						  .file = "scene.c",
						  .line = 10 + site,
					  }));
	must(ft_symbol_writer_commit(writer));
	ft_symbol_writer_close(writer);
}

void scene_analyse(struct scene *s, const char *const *passes, uint64_t from_ns, uint64_t to_ns)
{
	struct fa_options options = {.from_ns = from_ns, .to_ns = to_ns};

	must(ft_reader_open(s->path, 0, &s->reader));
	must(fa_engine_create(s->reader, &options, &s->engine));
	for (size_t i = 0; passes ? passes[i] != NULL : fa_all_passes[i] != NULL; i++)
		must(fa_engine_add(s->engine, passes ? fa_pass_find(passes[i]) : fa_all_passes[i]));
	must(fa_engine_run(s->engine));
	must(fa_doc_create(&s->doc));
	must(fa_engine_emit(s->engine, s->doc));
	must(fa_doc_check(s->doc));
}

const struct fa_value *scene_section(struct scene *s, const char *name)
{
	const char *text = fa_doc_section(s->doc, name);
	const struct fa_value *value;

	ck_assert_ptr_nonnull(text);
	must(fa_json_parse(&s->arena, text, &value));
	return value;
}

const struct fa_column *scene_column(struct scene *s, const char *name)
{
	const struct fa_column *column = fa_doc_column_find(s->doc, name);

	ck_assert_ptr_nonnull(column);
	return column;
}

uint64_t scene_u64(const struct fa_column *column, size_t index)
{
	ck_assert_uint_lt(index, column->n);
	return ((const uint64_t *)column->data)[index];
}

const struct fa_value *scene_row(const struct fa_value *array, const char *key, uint64_t value)
{
	for (const struct fa_value *row = array ? array->first : NULL; row; row = row->next)
		if (!fa_value_is_null(fa_value_get(row, key)) && fa_value_u64(row, key) == value)
			return row;
	return NULL;
}

void scene_analysis_end(struct scene *s)
{
	fa_doc_destroy(s->doc);
	fa_engine_destroy(s->engine);
	ft_reader_close(s->reader);
	s->doc = NULL;
	s->engine = NULL;
	s->reader = NULL;
}

void scene_end(struct scene *s)
{
	char side[80];

	scene_analysis_end(s);
	ft_arena_deinit(&s->arena);
	unlink(s->path);
	snprintf(side, sizeof(side), "%s-wal", s->path);
	unlink(side);
	snprintf(side, sizeof(side), "%s-shm", s->path);
	unlink(side);
}

uint64_t scene_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(0x2545f4914f6cdd1d);
}
