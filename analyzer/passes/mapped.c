/* SPDX-License-Identifier: MIT */
/*
 * Mapped: memory that the program took from the kernel itself, by the calls that did so
 *
 * mmap, mremap, brk and sbrk with what they have mapped and nobody has unmapped; munmap and madvise
 * with what they were about. None of it is blocks of the allocator's: it is in no other section but
 * `mappings`. Figures are those of the whole recording, whatever the window is.
 */
#include <string.h>
#include <sys/mman.h>

#include "fa_doc.h"
#include "fa_engine.h"

enum { LISTED = 100 };

struct mapped {
	uint64_t calls, live_bytes, live_ranges;
	uint64_t n_other, other_live_bytes;
	size_t n;
};

static const char *advice_name(int64_t advice)
{
	/* As the kernel has them, whatever this machine's headers know. */
	static const char *const names[] = {
		[0] = "NORMAL",		  [1] = "RANDOM",	  [2] = "SEQUENTIAL",
		[3] = "WILLNEED",	  [4] = "DONTNEED",	  [8] = "FREE",
		[9] = "REMOVE",		  [10] = "DONTFORK",	  [11] = "DOFORK",
		[12] = "MERGEABLE",	  [13] = "UNMERGEABLE",	  [14] = "HUGEPAGE",
		[15] = "NOHUGEPAGE",	  [16] = "DONTDUMP",	  [17] = "DODUMP",
		[18] = "WIPEONFORK",	  [19] = "KEEPONFORK",	  [20] = "COLD",
		[21] = "PAGEOUT",	  [22] = "POPULATE_READ", [23] = "POPULATE_WRITE",
		[24] = "DONTNEED_LOCKED", [25] = "COLLAPSE",
	};

	return advice >= 0 && advice < (int64_t)(sizeof(names) / sizeof(names[0])) ? names[advice]
										   : NULL;
}

/* What an mmap() asks for. */
static const char *kind_of(const struct ft_map_site_row *row)
{
	if (row->prot < 0 || row->flags < 0)
		return NULL;
	if (!(row->flags & MAP_ANONYMOUS))
		return "file";
	if (row->prot == PROT_NONE)
		return "reserved";
	return row->flags & MAP_SHARED ? "shared" : "anonymous";
}

static struct ft_error *emit_site(void *ctx, const struct ft_map_site_row *row)
{
	struct fa_pass *pass = ((void **)ctx)[0];
	struct fa_json *json = ((void **)ctx)[1];
	struct mapped *m = ((void **)ctx)[2];
	struct fa_engine *engine = fa_pass_engine(pass);
	bool has_stack = row->stack && row->stack < fa_engine_n_stacks(engine);

	m->calls += row->n_calls;
	m->live_bytes += row->live_bytes;
	m->live_ranges += row->live_ranges;
	if (m->n++ >= LISTED) {
		m->n_other++;
		m->other_live_bytes += row->live_bytes;
		return NULL;
	}
	fa_json_object_begin(json);
	fa_json_kv_string(json, "call", row->call);
	fa_json_kv_string(json, "kind", kind_of(row));
	fa_json_kv_string(json, "advice",
			  strcmp(row->call, "madvise") == 0 ? advice_name(row->flags) : NULL);
	fa_json_kv_u64(json, "calls", row->n_calls);
	fa_json_kv_u64(json, "bytes", row->bytes);
	fa_json_kv_u64(json, "live_bytes", row->live_bytes);
	fa_json_kv_u64(json, "live_ranges", row->live_ranges);
	fa_json_kv_u64(json, "peak_bytes", row->peak_bytes);
	fa_json_kv_string(json, "name", has_stack ? fa_engine_site_name(engine, row->stack) : NULL);
	fa_json_key(json, "stack");
	if (has_stack)
		fa_engine_emit_stack(engine, row->stack, json);
	else
		fa_json_null(json);
	fa_json_object_end(json);
	return NULL;
}

static struct ft_error *mapped_emit(const struct fa_pass *pass, struct fa_doc *doc)
{
	struct ft_reader *reader = fa_engine_reader(fa_pass_engine(pass));
	struct fa_json *json = fa_doc_begin(doc, "mapped");
	int64_t peak = ft_reader_meta_int(reader, "mapped_peak_bytes", -1);
	struct mapped m = {0};
	void *ctx[] = {(void *)(uintptr_t)pass, json, &m};

	fa_json_key(json, "sites");
	fa_json_array_begin(json);
	FT_TRY(ft_reader_map_sites(reader, emit_site, ctx));
	fa_json_array_end(json);
	fa_json_key(json, "other");
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "sites", m.n_other);
	fa_json_kv_u64(json, "live_bytes", m.other_live_bytes);
	fa_json_object_end(json);
	fa_json_kv_u64(json, "calls", m.calls);
	fa_json_kv_u64(json, "live_bytes", m.live_bytes);
	fa_json_kv_u64(json, "live_ranges", m.live_ranges);
	if (peak >= 0)
		fa_json_kv_i64(json, "peak_bytes", peak);
	else
		fa_json_kv_null(json, "peak_bytes");
	fa_doc_end(doc);
	return NULL;
}

const struct fa_pass_ops fa_pass_mapped = {
	.name = "mapped",
	.summary = "memory that the program mapped itself, by call",
	.emit = mapped_emit,
};
