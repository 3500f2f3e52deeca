/* SPDX-License-Identifier: MIT */
/* A store in memory: see fake_store.h. */
#include "fake_store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "ft_error.h"

struct fake_store fake;

struct ft_writer {
	int unused;
};

void fake_reset(void)
{
	free(fake.events);
	free(fake.nodes);
	memset(&fake, 0, sizeof(fake));
}

int64_t fake_meta_int(const char *key)
{
	for (size_t i = 0; i < fake.n_metas; i++)
		if (strcmp(fake.metas[i].key, key) == 0)
			return fake.metas[i].value;
	return -1;
}

const char *fake_meta_text(const char *key)
{
	for (size_t i = 0; i < fake.n_metas; i++)
		if (strcmp(fake.metas[i].key, key) == 0)
			return fake.metas[i].text;
	return NULL;
}

static void copy(char *to, size_t size, const char *text)
{
	snprintf(to, size, "%s", text ? text : "");
}

struct ft_error *ft_writer_create(const char *path, struct ft_writer **ret)
{
	if (fake.create_errno)
		return ft_error_os(fake.create_errno, "%s", path);
	if (fake.n_exist) {
		fake.n_exist--;
		return ft_error_os(EEXIST, "%s", path);
	}
	copy(fake.path, sizeof(fake.path), path);
	fake.n_files++;
	*ret = calloc(1, sizeof(**ret));
	return *ret ? NULL : &ft_enomem;
}

void ft_writer_close(struct ft_writer *writer)
{
	free(writer);
}

struct ft_error *ft_writer_event(struct ft_writer *writer, const struct ft_event *event,
				 uint64_t *seq)
{
	if (fake.fail_events && fake.n_events >= fake.fail_events)
		return ft_error_os(ENOSPC, "the recording");
	if (fake.n_events == fake.events_capacity) {
		fake.events_capacity = fake.events_capacity ? fake.events_capacity * 2 : 1024;
		fake.events = realloc(fake.events, fake.events_capacity * sizeof(*fake.events));
		ck_assert_ptr_nonnull(fake.events);
	}
	/* The promises of the contract. */
	ck_assert_uint_le(event->stack, fake.n_nodes);
	if (fake.n_events)
		ck_assert_uint_ge(event->time_ns, fake.events[fake.n_events - 1].time_ns);
	fake.events[fake.n_events] = *event;
	fake.events[fake.n_events].seq = fake.n_events;
	if (seq)
		*seq = fake.n_events;
	fake.n_events++;
	return NULL;
}

struct ft_error *ft_writer_events(struct ft_writer *writer, const struct ft_event *events, size_t n)
{
	struct ft_error *error = NULL;

	for (size_t i = 0; i < n && !error; i++)
		error = ft_writer_event(writer, &events[i], NULL);
	return error;
}

struct ft_error *ft_writer_stack_node(struct ft_writer *writer, const struct ft_stack_node *node)
{
	ck_assert_uint_eq(node->id, fake.n_nodes + 1);
	ck_assert_uint_lt(node->parent, node->id);
	if (fake.n_nodes == fake.nodes_capacity) {
		fake.nodes_capacity = fake.nodes_capacity ? fake.nodes_capacity * 2 : 1024;
		fake.nodes = realloc(fake.nodes, fake.nodes_capacity * sizeof(*fake.nodes));
		ck_assert_ptr_nonnull(fake.nodes);
	}
	fake.nodes[fake.n_nodes++] = *node;
	return NULL;
}

static struct fake_meta *new_meta(const char *key)
{
	struct fake_meta *meta = &fake.metas[fake.n_metas++];

	ck_assert_uint_le(fake.n_metas, sizeof(fake.metas) / sizeof(fake.metas[0]));
	copy(meta->key, sizeof(meta->key), key);
	return meta;
}

struct ft_error *ft_writer_meta(struct ft_writer *writer, const char *key, const char *value)
{
	copy(new_meta(key)->text, sizeof(fake.metas[0].text), value);
	return NULL;
}

struct ft_error *ft_writer_meta_int(struct ft_writer *writer, const char *key, int64_t value)
{
	new_meta(key)->value = value;
	return NULL;
}

struct ft_error *ft_writer_process(struct ft_writer *writer, const struct ft_process_row *row)
{
	copy(fake.argv_json, sizeof(fake.argv_json), row->argv_json);
	copy(fake.parent, sizeof(fake.parent), row->parent_recording);
	copy(fake.exit_kind, sizeof(fake.exit_kind), row->exit_kind);
	fake.exit_code = row->exit_code;
	return NULL;
}

struct ft_error *ft_writer_thread(struct ft_writer *writer, const struct ft_thread_row *row)
{
	if (row->id < 1024) {
		fake.threads[row->id] = *row;
		copy(fake.thread_names[row->id], sizeof(fake.thread_names[0]), row->name);
	}
	return NULL;
}

struct ft_error *ft_writer_module(struct ft_writer *writer, const struct ft_module_row *row)
{
	ck_assert_uint_ge(row->id, 1);
	if (row->id < 256) {
		fake.modules[row->id] = *row;
		copy(fake.module_paths[row->id], sizeof(fake.module_paths[0]), row->path);
		copy(fake.module_ids[row->id], sizeof(fake.module_ids[0]), row->build_id);
	}
	return NULL;
}

struct ft_error *ft_writer_timeline(struct ft_writer *writer, const struct ft_timeline_row *row)
{
	if (fake.n_timeline)
		ck_assert_uint_gt(row->time_ns, fake.timeline[fake.n_timeline - 1].time_ns);
	if (fake.n_timeline < sizeof(fake.timeline) / sizeof(fake.timeline[0]))
		fake.timeline[fake.n_timeline++] = *row;
	return NULL;
}

struct ft_error *ft_writer_site_total(struct ft_writer *writer, const struct ft_site_total_row *row)
{
	if (row->stack < 65536)
		fake.sites[row->stack] = *row;
	return NULL;
}

struct ft_error *ft_writer_sample(struct ft_writer *writer, const struct ft_sample_row *row)
{
	return NULL;
}

struct ft_error *ft_writer_mapping(struct ft_writer *writer, const struct ft_mapping_row *row)
{
	return NULL;
}

struct ft_error *ft_writer_residency(struct ft_writer *writer, const struct ft_residency_row *row)
{
	for (size_t i = 1; i < row->n_runs; i++)
		ck_assert_uint_ge(row->runs[i].start,
				  row->runs[i - 1].start +
					  row->runs[i - 1].n_pages * row->page_bytes);
	return NULL;
}

struct ft_error *ft_writer_mark(struct ft_writer *writer, const struct ft_mark_row *row)
{
	if (fake.n_marks < 64) {
		fake.marks[fake.n_marks] = *row;
		copy(fake.mark_labels[fake.n_marks++], sizeof(fake.mark_labels[0]), row->label);
	}
	return NULL;
}

struct ft_error *ft_writer_governor(struct ft_writer *writer, const struct ft_governor_row *row)
{
	return NULL;
}

struct ft_error *ft_writer_pool(struct ft_writer *writer, const struct ft_pool_row *row)
{
	if (fake.n_pools < 64) {
		fake.pools[fake.n_pools] = *row;
		copy(fake.pool_names[fake.n_pools++], sizeof(fake.pool_names[0]), row->name);
	}
	return NULL;
}

struct ft_error *ft_writer_map_call(struct ft_writer *writer, const struct ft_map_call_row *row)
{
	fake.n_map_calls++;
	return NULL;
}

struct ft_error *ft_writer_map_site(struct ft_writer *writer, const struct ft_map_site_row *row)
{
	fake.n_map_sites++;
	return NULL;
}

struct ft_error *ft_writer_error(struct ft_writer *writer, const struct ft_error_row *row)
{
	if (fake.n_errors < 64) {
		fake.errors[fake.n_errors] = *row;
		copy(fake.error_mappings[fake.n_errors++], sizeof(fake.error_mappings[0]),
		     row->mapping);
	}
	return NULL;
}

struct ft_error *ft_writer_loss(struct ft_writer *writer, const struct ft_loss_row *row)
{
	if (fake.n_losses < 256)
		fake.losses[fake.n_losses++] = *row;
	return NULL;
}

struct ft_error *ft_writer_clock(struct ft_writer *writer, const struct ft_clock_row *row)
{
	fake.n_clocks++;
	return NULL;
}

struct ft_error *ft_writer_child(struct ft_writer *writer, const struct ft_child_row *row)
{
	fake.n_children++;
	return NULL;
}

void ft_writer_discard(struct ft_writer *writer)
{
	fake.n_discarded++;
	free(writer);
}

struct ft_error *ft_writer_commit(struct ft_writer *writer, bool flush_chunk)
{
	fake.n_commits++;
	return NULL;
}

struct ft_error *ft_writer_set_ending(struct ft_writer *writer)
{
	return ft_writer_commit(writer, false);
}

struct ft_error *ft_writer_finish(struct ft_writer *writer)
{
	fake.finished = true;
	free(writer);
	return NULL;
}

uint64_t ft_writer_event_bytes(const struct ft_writer *writer)
{
	return 64 * fake.n_events;
}

struct ft_error *ft_writer_follow(struct ft_writer *writer, bool *ready)
{
	(void)writer;
	*ready = true;
	return NULL;
}

struct ft_error *ft_writer_continue(struct ft_writer *writer, struct ft_writer *from,
				    uint64_t begin_ns)
{
	(void)writer;
	(void)from;
	(void)begin_ns;
	return ft_error_create(FT_ERROR_USAGE, "this store has one recording");
}

struct ft_error *ft_writer_set_pages(struct ft_writer *writer,
				     const struct ft_page_counter *counter)
{
	return NULL;
}

void ft_writer_set_busy(struct ft_writer *writer, bool busy)
{
}

struct ft_error *ft_writer_catch_up(struct ft_writer *writer, bool *behind)
{
	*behind = false;
	return NULL;
}

struct ft_error *ft_writer_set_limits(struct ft_writer *writer, const struct ft_limits *limits)
{
	return NULL;
}
