/* SPDX-License-Identifier: MIT */
/*
 * CSV: a row a site, or a row a moment (RFC 4180; lines end with a newline alone)
 *
 * All sites, not the first ones. A field that begins with a character that spreadsheets take for a
 * formula is quoted like any other: names are data, and what opens the file has to be told so.
 */
#include <inttypes.h>

#include "export_impl.h"

static void add_quoted(struct ft_strbuf *buf, const char *text)
{
	for (; *text; text++) {
		if (*text == '"')
			ft_strbuf_addc(buf, '"');
		ft_strbuf_addc(buf, *text);
	}
}

/* "outermost;...;innermost" */
static void add_stack(struct ft_strbuf *buf, const struct fa_export_stack *stack)
{
	char text[FA_EXPORT_TEXT];

	ft_strbuf_addc(buf, '"');
	for (size_t i = stack->n_frames; i-- > 0;) {
		add_quoted(buf, fa_export_frame_text(&stack->frames[i], text));
		if (i)
			ft_strbuf_addc(buf, ';');
	}
	ft_strbuf_addc(buf, '"');
}

/* Where the frame that titles the site is: "file:line", empty where unknown. */
static void add_place(struct ft_strbuf *buf, const struct fa_export_source *source, uint32_t stack)
{
	struct fa_frame frame = {0};
	const char *file;

	if (fa_engine_user_frames(source->engine, stack, &frame, 1) < 1 || !frame.file) {
		ft_strbuf_adds(buf, "\"\"");
		return;
	}
	file = source->redact ? fa_redact_path(source->redact, frame.file) : frame.file;
	ft_strbuf_addc(buf, '"');
	add_quoted(buf, file);
	ft_strbuf_addf(buf, ":%" PRIi64 "\"", frame.line);
}

static void add_site(struct ft_strbuf *buf, const struct fa_export_source *source,
		     const struct fa_export_stack *stack)
{
	const struct fa_site *s = &stack->site;
	const char *name = fa_engine_site_name(source->engine, stack->id);

	ft_strbuf_addf(buf, "%" PRIu32 ",\"", stack->id);
	add_quoted(buf, source->redact ? fa_redact_text(source->redact, name) : name);
	ft_strbuf_addf(buf,
		       "\",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64
		       ",%" PRIu64,
		       s->live_bytes, s->live_blocks, s->peak_bytes, s->peak_blocks,
		       s->bytes_allocated, s->allocations, s->frees);
	if (fa_export_n_metrics(source) == FA_N_METRICS)
		ft_strbuf_addf(buf, ",%" PRIu64 ",%" PRIu64 ",", s->temporary, s->temporary_bytes);
	else
		ft_strbuf_adds(buf, ",,,");
	add_place(buf, source, stack->id);
	ft_strbuf_addc(buf, ',');
	add_stack(buf, stack);
	ft_strbuf_addc(buf, '\n');
}

static struct ft_error *write_sites(const struct fa_export_source *source, struct ft_strbuf *buf,
				    FILE *out)
{
	struct fa_export_stack stack;
	struct fa_export_walk walk;
	struct ft_error *error = NULL;

	ft_strbuf_adds(buf,
		       "site,name,live_bytes,live_blocks,peak_bytes,peak_blocks,allocated_bytes,"
		       "allocations,frees,temporary,temporary_bytes,place,stack\n");
	fa_export_walk_init(&walk, source);
	while (!error && fa_export_next(&walk, &stack)) {
		add_site(buf, source, &stack);
		error = fa_export_flush_some(buf, out);
	}

	struct ft_error *walked = fa_export_walk_end(&walk);

	return error ? error : walked;
}

/* The resident size beside the heap: the last sample up to each moment, empty before the first. */
static struct ft_error *write_timeline(const struct fa_export_source *source, struct ft_strbuf *buf,
				       FILE *out)
{
	static const char *const names[] = {"live_bytes",      "live_blocks", "usable_bytes",
					    "allocated_bytes", "allocations", "peak_bytes",
					    "low_bytes"};
	enum { N = sizeof(names) / sizeof(*names) };
	const uint64_t *time, *rss_time, *rss, *series[N];
	uint64_t n = fa_export_column(source, "timeline.time_ns", &time), r = 0;
	uint64_t n_rss = fa_export_column(source, "rss.time_ns", &rss_time);
	char column[64];

	if (fa_export_column(source, "rss.bytes", &rss) != n_rss)
		n_rss = 0;
	ft_strbuf_adds(buf, "time_ns");
	for (size_t i = 0; i < N; i++) {
		snprintf(column, sizeof(column), "timeline.%s", names[i]);
		if (fa_export_column(source, column, &series[i]) != n)
			n = 0;
		ft_strbuf_addf(buf, ",%s", names[i]);
	}
	ft_strbuf_adds(buf, ",rss_bytes\n");
	for (uint64_t t = 0; t < n; t++) {
		ft_strbuf_addf(buf, "%" PRIu64, time[t]);
		for (size_t i = 0; i < N; i++)
			ft_strbuf_addf(buf, ",%" PRIu64, series[i][t]);
		while (r < n_rss && rss_time[r] <= time[t])
			r++;
		if (r)
			ft_strbuf_addf(buf, ",%" PRIu64 "\n", rss[r - 1]);
		else
			ft_strbuf_adds(buf, ",\n");
		FT_TRY(fa_export_flush_some(buf, out));
	}
	return NULL;
}

FA_EXPORT_WRITER(fa_export_csv)
{
	ft_auto_strbuf struct ft_strbuf buf;

	ft_strbuf_init(&buf);
	FT_TRY((options->timeline ? write_timeline : write_sites)(source, &buf, out));
	return fa_export_flush(&buf, out);
}
