/* SPDX-License-Identifier: MIT */
/*
 * gperftools' heap profile as text, with its symbols: what `google-pprof` reads
 *
 *	--- symbol
 *	binary=/usr/bin/program
 *	0x1234 function
 *	---
 *	heap profile: LIVE: BYTES [ALL: BYTES] @ heapprofile
 *	LIVE: BYTES [ALL: BYTES] @ ADDRESS ...
 *
 * A frame is known by an address alone, and inlined functions share theirs: each frame gets an
 * address of our own. The reader takes one off all but the innermost, so that both have the name.
 */
#include <inttypes.h>

#include "export_impl.h"
#include "fa_json_read.h"

enum { FIRST_ADDRESS = 0x1000, ADDRESS_STEP = 0x10 };

static struct ft_error *add_frame(struct fa_intern *names, const struct fa_frame *frame,
				  struct ft_strbuf *buf)
{
	char text[FA_EXPORT_TEXT];
	uint32_t id;

	if (!fa_intern_text(names, fa_export_frame_text(frame, text), &id))
		return &ft_enomem;
	ft_strbuf_addf(buf, " 0x%" PRIx64, FIRST_ADDRESS + (uint64_t)id * ADDRESS_STEP);
	return NULL;
}

/* The stacks come after the names that they need: they are kept until then. */
static struct ft_error *add_stacks(const struct fa_export_source *source, struct fa_intern *names,
				   struct fa_site *total, struct ft_strbuf *buf)
{
	struct fa_export_stack stack;
	struct fa_export_walk walk;
	struct ft_error *error = NULL, *walked;

	fa_export_walk_init(&walk, source);
	while (!error && fa_export_next(&walk, &stack)) {
		const struct fa_site *s = &stack.site;

		ft_strbuf_addf(buf, "%" PRIu64 ": %" PRIu64 " [%" PRIu64 ": %" PRIu64 "] @",
			       s->live_blocks, s->live_bytes, s->allocations, s->bytes_allocated);
		for (size_t i = 0; i < stack.n_frames && !error; i++)
			error = add_frame(names, &stack.frames[i], buf);
		ft_strbuf_addc(buf, '\n');
		total->live_blocks += s->live_blocks;
		total->live_bytes += s->live_bytes;
		total->allocations += s->allocations;
		total->bytes_allocated += s->bytes_allocated;
	}
	walked = fa_export_walk_end(&walk);
	return error ? error : walked;
}

static struct ft_error *write_all(const struct fa_export_source *source,
				  const struct fa_intern *names, const struct fa_site *total,
				  struct ft_strbuf *stacks, FILE *out)
{
	ft_auto_arena struct ft_arena arena;
	ft_auto_strbuf struct ft_strbuf buf;
	const struct fa_value *summary;
	const char *exe;

	ft_arena_init(&arena);
	ft_strbuf_init(&buf);
	FT_TRY(fa_export_summary(source, &arena, &summary));
	exe = fa_value_text(fa_value_get(summary, "program"), "exe");
	ft_strbuf_addf(&buf, "--- symbol\nbinary=%s\n", exe ? exe : "(unknown)");
	for (uint64_t i = 0; i < names->n; i++)
		for (uint64_t less = 0; less < 2; less++) {
			ft_strbuf_addf(&buf, "0x%016" PRIx64 " %.*s\n",
				       FIRST_ADDRESS + i * ADDRESS_STEP - less,
				       (int)names->entries[i].len,
				       (const char *)names->entries[i].data);
			FT_TRY(fa_export_flush_some(&buf, out));
		}
	ft_strbuf_addf(&buf,
		       "---\nheap profile: %" PRIu64 ": %" PRIu64 " [%" PRIu64 ": %" PRIu64
		       "] @ heapprofile\n",
		       total->live_blocks, total->live_bytes, total->allocations,
		       total->bytes_allocated);
	FT_TRY(fa_export_flush(&buf, out));
	return fa_export_flush(stacks, out);
}

FA_EXPORT_WRITER(fa_export_gperftools)
{
	struct fa_intern names = {0};
	struct fa_site total = {0};
	ft_auto_strbuf struct ft_strbuf stacks;
	struct ft_error *error;

	ft_strbuf_init(&stacks);
	error = add_stacks(source, &names, &total, &stacks);
	if (!error)
		error = write_all(source, &names, &total, &stacks, out);
	fa_intern_deinit(&names);
	return error;
}
