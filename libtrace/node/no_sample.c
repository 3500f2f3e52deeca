/* SPDX-License-Identifier: MIT */
/*
 * One sample: each text of the kernel, parsed, as rows
 *
 * Figures are written when they have changed, free blocks always. Where debugfs has the indices,
 * buddyinfo is read again behind them: a zone whose line is still the same is `steady`, and only
 * there index and line belong together.
 */
#include <stdio.h>
#include <string.h>

#include "no_files.h"
#include "no_recorder.h"

enum { STEADY_TRIES = 3 };

/* Of vmstat's many keys those that say something of fragmentation, or of what could be done. */
static const char *const vmstat_prefixes[] = {
	"compact_",	 "thp_",	   "pgmigrate_",
	"allocstall_",	 "pgalloc_",	   "pgscan_direct",
	"pgscan_kswapd", "pgsteal_direct", "pgsteal_kswapd",
	"drop_",	 "nr_free_pages",  "nr_slab_",
	"nr_anon_pages", "nr_file_pages",  "nr_dirty",
	"nr_mapped",	 "nr_shmem",	   "nr_unevictable",
	"nr_mlock",	 "nr_page_table",  "nr_kernel_stack",
	"nr_inactive_",	 "nr_active_",	   "kswapd_",
	"pageoutrun",	 "oom_kill",	   "workingset_refault_",
	"balloon_",	 "nr_kernel_misc",
};

static const char *const meminfo_keys[] = {
	"MemTotal", "MemFree",	    "MemAvailable", "Buffers", "Cached", "SwapTotal",	 "SwapFree",
	"Dirty",    "SReclaimable", "SUnreclaim",   "Shmem",   "Mapped", "AnonHugePages"};

static const char *const sysctls[] = {
	"compaction_proactiveness",    "extfrag_threshold",	 "min_free_kbytes",
	"watermark_boost_factor",      "watermark_scale_factor", "defrag_mode",
	"vfs_cache_pressure",	       "nr_hugepages",		 "swappiness",
	"compact_unevictable_allowed",
};

static void on_buddy(void *ctx, const struct no_orders_line *line)
{
	struct no_recorder *r = ctx;
	struct no_zone *zone = no_zone_find(r, &line->zone);

	if (zone)
		memcpy(zone->orders[r->pass], line->n, sizeof(line->n));
}

static bool read_buddy(struct no_recorder *r, unsigned pass)
{
	if (!no_source_read(r, NO_BUDDYINFO))
		return false;
	r->pass = pass;
	no_parse_buddyinfo(ft_strbuf_text(&r->text), r->text.len, on_buddy, r);
	return true;
}

static struct ft_error *write_free(struct no_recorder *r, uint64_t time_ns, unsigned pass)
{
	for (size_t i = 0; i < r->n_zones; i++) {
		struct ft_node_free_row row = {.time_ns = time_ns, .zone = r->zones[i].row.id};

		for (size_t o = 0; o < NO_ORDERS; o++)
			row.n[o] = (uint64_t)r->zones[i].orders[pass][o];
		FT_TRY(ft_node_writer_free(r->writer, &row));
	}
	return NULL;
}

struct ft_error *no_sample_free(struct no_recorder *r)
{
	uint64_t time_ns = no_now(r);

	return read_buddy(r, 0) ? write_free(r, time_ns, 0) : r->error;
}

/* ---- indices --------------------------------------------------------------------------------- */

struct index_rows {
	struct no_recorder *r;
	struct ft_node_index_row rows[NO_ZONES_MAX * 2];
	size_t n;
	const char *kind;
};

static void on_index(void *ctx, const struct no_orders_line *line)
{
	struct index_rows *rows = ctx;
	struct no_zone *zone = no_zone_find(rows->r, &line->zone);

	if (!zone || rows->n == NO_ZONES_MAX * (size_t)2)
		return;
	rows->rows[rows->n] = (struct ft_node_index_row){.zone = zone->row.id, .kind = rows->kind};
	memcpy(rows->rows[rows->n++].milli, line->n, sizeof(line->n));
}

static bool is_steady(const struct no_recorder *r, uint32_t zone)
{
	const struct no_zone *z = &r->zones[zone - 1];

	return memcmp(z->orders[0], z->orders[1], sizeof(z->orders[0])) == 0;
}

/* buddyinfo, the indices, and buddyinfo again. */
static struct ft_error *sample_orders(struct no_recorder *r)
{
	struct index_rows rows = {.r = r};
	bool steady = false;

	for (unsigned i = 0; i < STEADY_TRIES && !steady; i++) {
		r->time_ns = no_now(r);
		rows.n = 0;
		if (!read_buddy(r, 0))
			return ft_error_create(FT_ERROR_INPUT, "/proc/buddyinfo can't be read");
		rows.kind = "unusable";
		if (!no_source_read(r, NO_UNUSABLE))
			break;
		no_parse_extfrag(ft_strbuf_text(&r->text), r->text.len, on_index, &rows);
		rows.kind = "extfrag";
		if (no_source_read(r, NO_EXTFRAG))
			no_parse_extfrag(ft_strbuf_text(&r->text), r->text.len, on_index, &rows);
		read_buddy(r, 1);
		steady = true;
		for (size_t z = 0; z < r->n_zones; z++)
			steady = steady && is_steady(r, (uint32_t)z + 1);
	}
	FT_TRY(write_free(r, r->time_ns, 0));
	for (size_t i = 0; i < rows.n; i++) {
		rows.rows[i].time_ns = r->time_ns;
		rows.rows[i].steady = is_steady(r, rows.rows[i].zone);
		FT_TRY(ft_node_writer_index(r->writer, &rows.rows[i]));
	}
	return NULL;
}

/* ---- figures --------------------------------------------------------------------------------- */

static void on_zone(void *ctx, const struct no_zone_name *name, const char *key, uint64_t value)
{
	static const char *const kept[] = {"free",
					   "boost",
					   "min",
					   "low",
					   "high",
					   "managed",
					   "present",
					   "pcp.count",
					   "pcp.batch",
					   "pcp.high",
					   "nr_free_pages_blocks",
					   "cma",
					   "nr_free_cma"};
	struct no_recorder *r = ctx;
	struct no_zone *zone = no_zone_find(r, name);
	char source[NO_NAME + 32];

	if (!zone)
		return;
	if (!strcmp(key, "start_pfn"))
		zone->row.start_pfn = value;
	else if (!strcmp(key, "spanned"))
		zone->row.spanned = value;
	else if (!strcmp(key, "present"))
		zone->row.present = value;
	else if (!strcmp(key, "managed"))
		zone->row.managed = value;
	snprintf(source, sizeof(source), "zone %u", zone->row.id);
	for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++)
		if (!strcmp(key, kept[i]))
			no_figure(r, source, key, (int64_t)value);
}

static void on_vmstat(void *ctx, const char *key, int64_t value)
{
	for (size_t i = 0; i < sizeof(vmstat_prefixes) / sizeof(*vmstat_prefixes); i++)
		if (!strncmp(key, vmstat_prefixes[i], strlen(vmstat_prefixes[i]))) {
			no_figure(ctx, "vmstat", key, value);
			return;
		}
}

static void on_meminfo(void *ctx, const char *key, int64_t value)
{
	for (size_t i = 0; i < sizeof(meminfo_keys) / sizeof(*meminfo_keys); i++)
		if (!strcmp(key, meminfo_keys[i]))
			no_figure(ctx, "meminfo", key, value * 1024);
}

static void on_pressure(void *ctx, const char *key, int64_t value)
{
	no_figure(ctx, "pressure", key, value);
}

/* ---- what is dear ---------------------------------------------------------------------------- */

static void on_type(void *ctx, const struct no_orders_line *line)
{
	struct no_recorder *r = ctx;
	struct no_zone *zone = no_zone_find(r, &line->zone);
	struct ft_node_free_row row = {.time_ns = r->time_ns, .type = line->type};

	if (!zone)
		return;
	row.zone = zone->row.id;
	for (size_t o = 0; o < NO_ORDERS; o++)
		row.n[o] = (uint64_t)line->n[o];
	no_keep(r, ft_node_writer_free(r->writer, &row));
}

static void on_block(void *ctx, const struct no_block_line *line)
{
	struct no_recorder *r = ctx;
	struct no_zone *zone = no_zone_find(r, &line->zone);
	struct ft_node_block_row row = {.time_ns = r->time_ns, .type = line->type, .n = line->n};

	if (!zone)
		return;
	row.zone = zone->row.id;
	no_keep(r, ft_node_writer_block(r->writer, &row));
}

static void on_slab(void *ctx, const struct no_slab_line *line)
{
	struct no_recorder *r = ctx;
	const struct ft_node_slab_row row = {.time_ns = r->time_ns,
					     .cache = line->cache,
					     .active_objects = line->active_objects,
					     .objects = line->objects,
					     .object_bytes = line->object_bytes,
					     .objects_per_slab = line->objects_per_slab,
					     .pages_per_slab = line->pages_per_slab,
					     .slabs = line->slabs};
	uint64_t key = 1, state, *last;
	bool created;

	for (const char *c = line->cache; *c; c++)
		key = ft_hash_u64(key ^ (unsigned char)*c);
	state = ft_hash_u64(line->active_objects) ^ ft_hash_u64(~line->objects) ^
		ft_hash_u64(line->slabs << 32);
	last = ft_map_put(&r->last, key, &created);
	if (!last) {
		no_keep(r, &ft_enomem);
		return;
	}
	if (!created && *last == state)
		return;
	*last = state;
	no_keep(r, ft_node_writer_slab(r->writer, &row));
}

static void sample_sysctls(struct no_recorder *r)
{
	for (size_t i = 0; i < sizeof(sysctls) / sizeof(*sysctls); i++) {
		struct ft_strbuf *text = &r->text;
		char path[96], key[64];
		long long value;

		snprintf(path, sizeof(path), "/proc/sys/vm/%s", sysctls[i]);
		snprintf(key, sizeof(key), "vm.%s", sysctls[i]);
		if (no_file_read(path, text) == 0 &&
		    sscanf(ft_strbuf_text(text), "%lld", &value) == 1)
			no_figure(r, "sysctl", key, value);
	}
}

static struct ft_error *sample_full(struct no_recorder *r)
{
	uint64_t pageblock_order = 0;

	if (no_source_read(r, NO_PAGETYPEINFO)) {
		no_parse_pagetypeinfo(ft_strbuf_text(&r->text), r->text.len, on_type, on_block, r,
				      &pageblock_order);
		if (pageblock_order && pageblock_order < 32)
			FT_TRY(ft_node_writer_meta_int(r->writer, "pageblock_order",
						       (int64_t)pageblock_order));
	}
	if (no_source_read(r, NO_SLABINFO))
		no_parse_slabinfo(ft_strbuf_text(&r->text), r->text.len, on_slab, r);
	sample_sysctls(r);
	return r->error;
}

struct ft_error *no_sample(struct no_recorder *r, bool full)
{
	if (no_source_read(r, NO_ZONEINFO)) {
		r->time_ns = no_now(r);
		no_parse_zoneinfo(ft_strbuf_text(&r->text), r->text.len, on_zone, r);
	}
	FT_TRY(sample_orders(r));
	if (no_source_read(r, NO_VMSTAT))
		no_parse_keys(ft_strbuf_text(&r->text), r->text.len, on_vmstat, r);
	if (no_source_read(r, NO_MEMINFO))
		no_parse_keys(ft_strbuf_text(&r->text), r->text.len, on_meminfo, r);
	if (no_source_read(r, NO_PRESSURE))
		no_parse_pressure(ft_strbuf_text(&r->text), r->text.len, on_pressure, r);
	r->n_samples++;
	return full && !r->error ? sample_full(r) : r->error;
}
