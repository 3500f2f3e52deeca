/* SPDX-License-Identifier: MIT */
/*
 * A store that keeps everything in memory and checks what the real one may rely on
 *
 * It takes the place of ft-store at link time. One recording at a time is looked at: the last that
 * was created; tests with several look at their paths.
 */
#ifndef FAKE_STORE_H
#define FAKE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fragtrace/store.h"

struct fake_meta {
	char key[64], text[256];
	int64_t value;
};

struct fake_store {
	struct ft_event *events;
	size_t n_events, events_capacity;
	struct ft_stack_node *nodes; /* nodes[i].id == i + 1 */
	size_t n_nodes, nodes_capacity;
	struct ft_timeline_row timeline[65536];
	size_t n_timeline;
	struct ft_thread_row threads[1024]; /* by id; names in thread_names */
	char thread_names[1024][32];
	struct ft_module_row modules[256]; /* by id, without strings */
	char module_paths[256][512], module_ids[256][80];
	struct ft_site_total_row sites[65536]; /* by stack id */
	struct ft_mark_row marks[64];
	char mark_labels[64][256];
	size_t n_marks;
	struct ft_loss_row losses[256];
	size_t n_losses;
	struct ft_error_row errors[64]; /* mappings in error_mappings */
	char error_mappings[64][256];
	struct ft_pool_row pools[64]; /* names in pool_names */
	char pool_names[64][256];
	size_t n_pools, n_map_calls, n_map_sites;
	size_t n_errors;
	struct fake_meta metas[64];
	size_t n_metas;
	char argv_json[8192], parent[512], exit_kind[32];
	int64_t exit_code;
	char path[4096];
	size_t n_clocks, n_commits, n_files, n_children, n_discarded;
	bool finished;

	int create_errno;   /* ft_writer_create() fails with this */
	size_t n_exist;	    /* so many first creations fail with EEXIST */
	size_t fail_events; /* ft_writer_event() fails after so many; 0: never */
};

/* Global, because the writer's interface has no room for it. */
extern struct fake_store fake;

void fake_reset(void);
int64_t fake_meta_int(const char *key); /* -1 when it was not written */
const char *fake_meta_text(const char *key);

#endif
