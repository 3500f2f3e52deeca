/* SPDX-License-Identifier: MIT */
/*
 * fraganalyze top: a recording as it grows
 *
 * An account each refresh, and the screen or a text of it. A recording that has ended has but one;
 * what it grew by in its last minute comes from a replay.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "fa_top_screen.h"
#include "ft_cleanup.h"

enum {
	BATCH_SITES = 20,
	/* A text waits so long for names, and for the file they are in; a screen never does. */
	NAMES_MS = 20000,
	NAMES_POLL_MS = 200,
	ESCAPE_MS = 50 /* what follows Escape within this belongs to it */
};

#define MINUTE_NS UINT64_C(60000000000)

struct session {
	const struct cli_options *options;
	struct fa_top_source source;
	struct fa_top *top;
	struct fa_top_names *names;
	struct fa_top_view view;
};

static struct fa_top_scene scene_of(struct session *s)
{
	return (struct fa_top_scene){s->top, &s->source, s->names};
}

/* Names come from the file, which there may not be yet. */
static struct ft_error *open_names(struct session *s)
{
	if (s->names || !s->source.path[0] || access(s->source.path, F_OK) < 0)
		return NULL;
	return fa_top_names_create(s->source.path, &s->names);
}

/* ---- the last minute of what has ended ---------------------------------------------------------
 */

/* The account as it was when the engine's replay ended. */
static struct ft_error *apply_replayed(struct fa_engine *engine, struct fa_top *top)
{
	const struct fa_totals *t = fa_engine_totals(engine);
	size_t n = fa_engine_n_stacks(engine), n_sites = 0;
	ft_auto_free struct fa_top_site *sites = calloc(n, sizeof(*sites));
	struct fa_top_totals totals = {
		.begin_ns = fa_engine_to_ns(engine),
		.time_ns = fa_engine_to_ns(engine),
		.n_events = t->n_events,
		.n_allocs = t->n_allocs,
		.n_frees = t->n_frees,
		.bytes_allocated = t->bytes_allocated,
		.bytes_freed = t->bytes_freed,
		.live_blocks = t->live_blocks,
		.live_bytes = t->live_bytes,
		.rss = -1,
		.swap = -1,
		.tracer = -1,
	};

	if (!sites)
		return &ft_enomem;
	for (size_t i = 0; i < n; i++) {
		struct fa_site site;

		fa_engine_site(engine, (uint32_t)i, &site);
		if (site.allocations || site.live_blocks)
			sites[n_sites++] = (struct fa_top_site){.stack = (uint32_t)i,
								.n_allocs = site.allocations,
								.n_frees = site.frees,
								.live_blocks = site.live_blocks,
								.live_bytes = site.live_bytes};
	}
	return fa_top_apply(top, &totals, sites, n_sites);
}

static struct ft_error *replay_until(struct session *s, uint64_t to_ns, struct fa_top *top)
{
	struct fa_engine *engine = NULL;
	struct ft_reader *reader;
	struct ft_error *error;

	FT_TRY(ft_reader_open(s->source.path, FT_READER_NO_WAIT, &reader));
	error = cli_replay(s->options, reader, to_ns, &engine);
	if (!error)
		error = apply_replayed(engine, top);
	fa_engine_destroy(engine);
	ft_reader_close(reader);
	return error;
}

static struct ft_error *add_last_minute(struct session *s)
{
	const struct fa_top_totals *last = fa_top_totals(s->top);
	struct fa_top *top;
	struct ft_error *error;

	if (s->options->quick || last->time_ns < last->begin_ns + MINUTE_NS)
		return NULL;
	FT_TRY(fa_top_create(&top));
	error = replay_until(s, last->time_ns - MINUTE_NS, top);
	if (!error)
		error = fa_top_source_tables(&s->source, top);
	if (error) {
		fa_top_destroy(top);
		return error;
	}
	fa_top_destroy(s->top);
	s->top = top;
	return NULL;
}

/* ---- text --------------------------------------------------------------------------------------
 */

static unsigned delay_ms(const struct session *s)
{
	return (unsigned)(s->view.delay_s * 1000 + 0.5);
}

/* Names that are asked for by printing are there by the second time. */
static void print(struct session *s, struct ft_strbuf *out)
{
	struct fa_top_scene scene = scene_of(s);
	size_t max = s->options->top ? s->options->top : BATCH_SITES;

	for (int i = 0; i < 2; i++) {
		ft_strbuf_clear(out);
		if (s->options->json)
			fa_top_json(&s->view, &scene, max, out);
		else
			fa_top_print(&s->view, &scene, max, out);
		if (!s->names)
			break;
		if (i == 0)
			fa_top_names_wait(s->names, NAMES_MS);
	}
}

static int run_batch(struct session *s)
{
	/* What is no terminal gets one text, unless it was asked for more. */
	unsigned n = s->options->iterations			  ? s->options->iterations
		     : s->options->batch || isatty(STDOUT_FILENO) ? 0
								  : 1;
	ft_auto_strbuf struct ft_strbuf out = {0};

	for (unsigned i = 1;; i++) {
		struct ft_error *error = open_names(s);

		if (error)
			return cli_fail(error, CLI_FAILED);
		print(s, &out);
		if (i > 1 && !s->options->json)
			putchar('\n');
		fwrite(out.data, 1, out.len, stdout);
		if (fflush(stdout) || i == n || fa_top_is_over(s->source.state))
			return CLI_OK;
		nanosleep(&(struct timespec){.tv_sec = delay_ms(s) / 1000,
					     .tv_nsec = (long)(delay_ms(s) % 1000) * 1000000},
			  NULL);
		error = fa_top_source_read(&s->source, s->top);
		if (error)
			return cli_fail_input(error);
	}
}

/* ---- the screen --------------------------------------------------------------------------------
 */

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void draw(struct session *s)
{
	struct fa_top_scene scene = scene_of(s);
	ft_auto_strbuf struct ft_strbuf out = {0};

	fa_top_screen_size(&s->view.rows, &s->view.columns);
	fa_top_draw(&s->view, &scene, &out);
	if (!out.failed)
		fa_top_screen_show(out.data, out.len);
}

/* What goes wrong is said on the screen, which stays. */
static void refresh(struct session *s)
{
	struct ft_error *error = fa_top_source_read(&s->source, s->top);

	if (!error)
		error = open_names(s);
	if (error)
		snprintf(s->view.message, sizeof(s->view.message), "%s", error->message);
	ft_error_destroy(error);
}

/* Until the user or a signal ends it; returns the signal, 0, or -1: the terminal has gone. */
static int run_keys(struct session *s)
{
	uint64_t next = now_ms() + delay_ms(s);
	unsigned n = 1;

	for (;;) {
		enum fa_top_action action = FA_TOP_NOTHING;
		uint64_t now = now_ms(), wait = next > now ? next - now : 0;
		char keys[256];
		int signal, got;

		/* Names come in between. */
		if (wait > NAMES_POLL_MS)
			wait = NAMES_POLL_MS;
		if (s->view.n_escape)
			wait = ESCAPE_MS;
		got = fa_top_screen_wait((unsigned)wait, keys, sizeof(keys), &signal);
		if (got < 0)
			return signal ? signal : -1;
		if (got > 0)
			action = fa_top_keys(&s->view, keys, (size_t)got);
		else
			action = fa_top_keys_timeout(&s->view);
		if (action == FA_TOP_QUIT)
			return 0;
		if (action == FA_TOP_REFRESH || now_ms() >= next) {
			if (s->options->iterations && n++ == s->options->iterations)
				return 0;
			if (!s->view.paused)
				refresh(s);
			next = now_ms() + delay_ms(s);
		}
		draw(s);
	}
}

static int run_screen(struct session *s)
{
	struct ft_error *error = fa_top_screen_enter();
	int signal;

	if (!error) {
		error = open_names(s);
		draw(s);
	}
	if (error) {
		fa_top_screen_leave();
		return cli_fail(error, CLI_FAILED);
	}
	signal = run_keys(s);
	fa_top_screen_leave();
	if (signal > 0)
		fa_top_screen_end_by(signal);
	return signal ? CLI_FAILED : CLI_OK;
}

/* ---- whole -------------------------------------------------------------------------------------
 */

int verb_top(const struct cli_verb *verb, const struct cli_options *options)
{
	struct session s = {
		.options = options,
		.view = {.rows = 24,
			 .color = *term_on(STYLE_BOLD) != '\0',
			 .sort = options->has_top_sort ? options->top_sort : FA_TOP_MINUTE,
			 .delay_s = options->delay_s > 0 ? options->delay_s : 1},
	};
	bool screen =
		!options->batch && !options->json && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	struct ft_error *error;
	int status;

	if (options->filter)
		snprintf(s.view.filter, sizeof(s.view.filter), "%s", options->filter);
	error = fa_top_create(&s.top);
	if (!error)
		error = fa_top_source_open(&s.source, options->path, options->no_wait,
					   screen ? 0 : NAMES_MS, s.top);
	if (!error && fa_top_is_over(s.source.state))
		error = add_last_minute(&s);
	if (error) {
		fa_top_destroy(s.top);
		return cli_fail_input(error);
	}
	status = screen ? run_screen(&s) : run_batch(&s);
	fa_top_names_destroy(s.names);
	fa_top_destroy(s.top);
	return status;
}
