/* SPDX-License-Identifier: MIT */
/* From a file name to an analysis document: opening, progress, errors and their exit status. */
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

/* ---- errors ------------------------------------------------------------------------------------
 */

/* Of an analysis whose oldest events go while they are read. */
enum { MAX_TRIES = 8 };

static bool progress_shown;

/* A message takes the place of the progress line. */
static void clear_progress(void)
{
	if (progress_shown)
		fputs("\r\033[K", stderr);
	progress_shown = false;
}

void cli_warn(const char *format, ...)
{
	va_list args;

	clear_progress();
	fputs("fraganalyze: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

int cli_fail(struct ft_error *error, int status)
{
	if (error->kind == FT_ERROR_STOPPED)
		status = CLI_INTERRUPTED;
	else if (error->kind == FT_ERROR_USAGE)
		status = CLI_USAGE;
	cli_warn("%s", error->message);
	ft_error_destroy(error);
	return status;
}

int cli_fail_input(struct ft_error *error)
{
	return cli_fail(error, error->kind == FT_ERROR_NOMEM ? CLI_FAILED : CLI_INPUT);
}

/* ---- SIGINT ------------------------------------------------------------------------------------
 */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
	interrupted = 1;
}

bool cli_interrupted(void)
{
	return interrupted;
}

/* The second one kills, as always. */
void cli_catch_interrupt(void)
{
	struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};

	sigaction(SIGINT, &action, NULL);
}

/* ---- progress ----------------------------------------------------------------------------------
 */

struct progress {
	double start, last;
	bool show;
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* "[#####-----] 43 %  43.1 M/100 M events  6.2 M/s  ETA 0:09" */
static void draw_progress(const struct progress *p, uint64_t done, uint64_t total, double at)
{
	double share = (double)done / (double)total, passed = at - p->start;
	struct fa_text have, all, rate;
	unsigned eta = (unsigned)(passed * (1 - share) / share + 0.5);
	char bar[21];

	for (unsigned i = 0; i < 20; i++)
		bar[i] = i < (unsigned)(share * 20) ? '#' : '-';
	bar[20] = '\0';
	fprintf(stderr, "\r[%s] %2.0f %%  %s/%s events  %s/s  ETA %u:%02u\033[K", bar, share * 100,
		fa_format_count(done, &have), fa_format_count(total, &all),
		fa_format_count((uint64_t)((double)done / passed), &rate), eta / 60, eta % 60);
	fflush(stderr);
	progress_shown = true;
}

static bool on_progress(void *ctx, uint64_t done, uint64_t total)
{
	struct progress *p = ctx;
	double at;

	if (interrupted)
		return false;
	if (!p->show || !done || !total)
		return true;
	at = now();
	if (at - p->start < 0.5 || at - p->last < 0.1)
		return true;
	p->last = at;
	draw_progress(p, done, total, at);
	return true;
}

/* ---- analyse -----------------------------------------------------------------------------------
 */

struct ft_error *cli_open(const struct cli_options *options, struct ft_reader **ret)
{
	FT_TRY(ft_reader_open(options->path,
			      (options->no_wait ? FT_READER_NO_WAIT : 0) |
				      (options->sql ? FT_READER_ANY_KIND : 0),
			      ret));
	if (options->opened_before)
		return NULL;
	switch (ft_reader_state(*ret)) {
	case FT_STATE_COMPLETE:
		break;
	case FT_STATE_RECORDING:
		cli_warn("%s: still being recorded; this is what was there when it was opened",
			 options->path);
		break;
	case FT_STATE_CUT_OFF:
		cli_warn("%s: cut off: its writer ended before it could finish; analysing what is "
			 "there",
			 options->path);
		break;
	}
	return NULL;
}

/* A mark by its label: the first one of that label begins a window, the last one ends it. */
struct mark_search {
	const char *label;
	uint64_t first_ns, last_ns;
	bool found;
};

static struct ft_error *find_mark(void *ctx, const struct ft_mark_row *row)
{
	struct mark_search *search = ctx;

	if (!row->label || strcmp(row->label, search->label) != 0)
		return NULL;
	if (!search->found || row->time_ns < search->first_ns)
		search->first_ns = row->time_ns;
	if (!search->found || row->time_ns > search->last_ns)
		search->last_ns = row->time_ns;
	search->found = true;
	return NULL;
}

static struct ft_error *window_end(const char *option, const char *text, bool begins,
				   struct ft_reader *reader, uint64_t end_ns, uint64_t *ret)
{
	struct mark_search search = {.label = text};

	if (!text || cli_parse_time(text, end_ns, ret))
		return NULL;
	FT_TRY(ft_reader_marks(reader, find_mark, &search));
	if (!search.found)
		return ft_error_create(
			FT_ERROR_USAGE,
			"--%s: '%s' is neither a time such as 10s, 1h30m or -10m nor "
			"the label of a mark in this recording",
			option, text);
	*ret = begins ? search.first_ns : search.last_ns;
	return NULL;
}

static struct ft_error *set_window(const struct cli_options *options, struct ft_reader *reader,
				   struct fa_options *ret)
{
	uint64_t end_ns;

	FT_TRY(fa_recording_end(reader, &end_ns));
	ret->to_ns = UINT64_MAX;
	FT_TRY(window_end("from", options->from, true, reader, end_ns, &ret->from_ns));
	FT_TRY(window_end("to", options->to, false, reader, end_ns, &ret->to_ns));
	if (options->from && ret->from_ns > end_ns)
		return ft_error_create(FT_ERROR_USAGE, "--from: the recording ends before %s",
				       options->from);
	if (ret->to_ns < ret->from_ns || ret->to_ns == 0)
		return ft_error_create(FT_ERROR_USAGE, "--to: the window ends before it begins");
	return NULL;
}

/* ---- does the layout matter? -------------------------------------------------------------------
 */

struct gap {
	uint64_t live, rss;
};

static struct ft_error *last_sample(void *ctx, const struct ft_timeline_row *row)
{
	struct gap *gap = ctx;

	if (row->rss >= 0)
		*gap = (struct gap){.live = row->usable_bytes, .rss = (uint64_t)row->rss};
	return NULL;
}

/* Rebuilding the layout costs twice what the rest of a summary does. It has something to say where
 * much more is resident than live. */
static bool has_gap(struct ft_reader *reader)
{
	struct gap gap = {0};

	ft_error_destroy(ft_reader_timeline(reader, last_sample, &gap));
	return gap.rss > 2 * gap.live && gap.rss - gap.live > (UINT64_C(16) << 20);
}

static struct ft_error *run_engine(const struct cli_options *options, const char *const *passes,
				   struct cli_analysis *a)
{
	struct progress progress = {
		.start = now(),
		.show = !options->quiet && isatty(STDERR_FILENO),
	};
	struct fa_options engine_options = {
		.max_sites = options->top,
		.at_end = options->at != NULL,
		.no_keyframes = options->no_keyframes,
		.rolled_events = options->rolled_events,
		.n_threads = options->jobs,
		.suppressions = a->suppressions,
		.per_mark = options->per,
		.limit_bytes = options->limit_bytes,
		.min_block = options->min_block,
		.arena_bytes = options->arena_bytes,
		.unmovable = options->unmovable,
		.n_unmovable = options->n_unmovable,
		.tables_only = options->quick,
		.progress = on_progress,
		.progress_ctx = &progress,
	};

	FT_TRY(set_window(options, a->reader, &engine_options));
	FT_TRY(fa_engine_create(a->reader, &engine_options, &a->engine));

	/* An empty list is all of them; "?frag" is frag if it may have something to say. */
	for (size_t i = 0; passes[0] ? passes[i] != NULL : fa_all_passes[i] != NULL; i++) {
		const struct fa_pass_ops *ops =
			passes[0] ? fa_pass_find(passes[i]) : fa_all_passes[i];

		if (!ops && passes[0] && passes[i][0] == '?' && has_gap(a->reader))
			ops = fa_pass_find(passes[i] + 1);
		if (!ops)
			continue;

		const char *refusal = passes[0] ? fa_engine_refuses(a->engine, ops) : NULL;

		/* Other sections say why they are empty; to the verb's own question this is the
		 * answer. */
		if (refusal && i == 0)
			return ft_error_create(FT_ERROR_INPUT, "%s: %s: %s", options->path,
					       ops->name, refusal);
		if (!refusal || passes[i][0] != '?')
			FT_TRY(fa_engine_add(a->engine, ops));
	}
	FT_TRY(fa_engine_run(a->engine));
	FT_TRY(fa_doc_create(&a->doc));
	FT_TRY(fa_engine_emit(a->engine, a->doc));
	return fa_doc_check(a->doc);
}

struct ft_error *cli_replay(const struct cli_options *options, struct ft_reader *reader,
			    uint64_t to_ns, struct fa_engine **ret)
{
	struct progress progress = {
		.start = now(),
		.show = !options->quiet && isatty(STDERR_FILENO),
	};
	struct fa_options engine_options = {
		.to_ns = to_ns,
		.progress = on_progress,
		.progress_ctx = &progress,
	};
	struct ft_error *error;

	cli_catch_interrupt();
	FT_TRY(fa_engine_create(reader, &engine_options, ret));
	error = fa_engine_run(*ret);
	clear_progress();
	return error;
}

static struct ft_error *read_suppressions(const struct cli_options *options,
					  struct fa_suppressions **ret)
{
	if (!options->n_suppressions)
		return NULL;
	FT_TRY(fa_suppressions_create(ret));
	for (unsigned i = 0; i < options->n_suppressions; i++)
		FT_TRY(fa_suppressions_read(*ret, options->suppressions[i]));
	return NULL;
}

static struct ft_error *analyse_once(const struct cli_options *options, const char *const *passes,
				     struct cli_analysis *ret)
{
	*ret = (struct cli_analysis){0};
	ft_arena_init(&ret->arena);
	FT_TRY(read_suppressions(options, &ret->suppressions));
	FT_TRY(cli_open(options, &ret->reader));
	return run_engine(options, passes, ret);
}

/* The oldest events of a recording with a budget may have gone while they were read. */
static bool is_worth_another_try(const struct cli_analysis *a, const struct ft_error *error)
{
	return a->reader && ft_reader_may_fold(a->reader) &&
	       (error->kind == FT_ERROR_BUSY || error->kind == FT_ERROR_INPUT);
}

/* All events are there: keyframes only save time, and what is wrong may be one of them. */
static bool may_do_without_keyframes(const struct cli_options *options,
				     const struct cli_analysis *a, const struct ft_error *error)
{
	return error->kind == FT_ERROR_INPUT && a->engine && fa_engine_has_resumed(a->engine) &&
	       !options->no_keyframes && !ft_reader_first_seq(a->reader);
}

int cli_analyse(const struct cli_options *options, const char *const *passes,
		struct cli_analysis *ret)
{
	struct cli_options again = *options;
	struct ft_error *error;

	cli_catch_interrupt();
	for (int tries = 1;; tries++) {
		error = analyse_once(&again, passes, ret);
		if (!error)
			break;

		bool folded = is_worth_another_try(ret, error);
		bool without = !folded && may_do_without_keyframes(&again, ret, error);

		cli_analysis_deinit(ret);
		if (tries == MAX_TRIES || (!folded && !without))
			return cli_fail_input(error);
		if (without) {
			cli_warn("%s; trying without keyframes", error->message);
			again.no_keyframes = true;
		}
		ft_error_destroy(error);
		again.no_wait = again.opened_before = true;
	}
	clear_progress();
	return CLI_OK;
}

/* ---- at a moment -------------------------------------------------------------------------------
 */

/* When the heap was largest, as a time that cli_parse_time() reads exactly. */
static int find_peak(const struct cli_options *options, char *buffer, size_t size)
{
	static const char *const passes[] = {"summary", NULL};
	struct cli_analysis a;
	int status = cli_analyse(options, passes, &a);

	if (status != CLI_OK)
		return status;

	uint64_t ns = fa_value_u64(fa_value_get(cli_section(&a, "summary"), "totals"), "peak_ns");

	snprintf(buffer, size, "%" PRIu64 ".%09" PRIu64 "s", ns / 1000000000, ns % 1000000000);
	cli_analysis_deinit(&a);
	return CLI_OK;
}

static int find_moment(const struct cli_options *typed, struct cli_options *moment, char *peak,
		       size_t size)
{
	*moment = *typed;
	if (typed->at && typed->to) {
		fputs("fraganalyze: --at and --to exclude each other\n", stderr);
		return CLI_USAGE;
	}
	if (!typed->at)
		return CLI_OK;
	moment->to = typed->at;
	if (strcmp(typed->at, "peak") != 0)
		return CLI_OK;

	struct cli_options all = *typed;

	all.at = NULL;
	moment->no_wait = true; /* waited for, and warned of, the first time */
	moment->to = peak;
	return find_peak(&all, peak, size);
}

int cli_analyse_moment(const struct cli_options *options, const char *const *passes,
		       struct cli_analysis *ret)
{
	struct cli_options moment;
	char peak[48];
	int status = find_moment(options, &moment, peak, sizeof(peak));

	return status == CLI_OK ? cli_analyse(&moment, passes, ret) : status;
}

/* ---- at a glance -------------------------------------------------------------------------------
 */

bool cli_glance(const struct cli_options *options, struct cli_analysis *ret)
{
	static const char *const passes[] = {"summary", NULL};
	struct cli_options quick = *options;
	struct ft_error *error;

	*ret = (struct cli_analysis){0};
	ft_arena_init(&ret->arena);
	quick.quick = true;
	/* Warnings and errors are for the analysis that follows. */
	error = ft_reader_open(options->path, FT_READER_NO_WAIT, &ret->reader);
	if (!error)
		error = run_engine(&quick, passes, ret);
	/* What a forked child inherited is not in its own tables. */
	if (!error && !fa_engine_inheritance(ret->engine)->forked)
		return true;
	ft_error_destroy(error);
	cli_analysis_deinit(ret);
	return false;
}

void cli_analysis_deinit(struct cli_analysis *analysis)
{
	fa_doc_destroy(analysis->doc);
	fa_engine_destroy(analysis->engine);
	ft_reader_close(analysis->reader);
	fa_suppressions_destroy(analysis->suppressions);
	ft_arena_deinit(&analysis->arena);
	*analysis = (struct cli_analysis){0};
}

const struct fa_value *cli_section(struct cli_analysis *analysis, const char *name)
{
	const char *text = fa_doc_section(analysis->doc, name);
	const struct fa_value *value = NULL;

	/* What our own writer wrote parses, or memory has run out. */
	if (text)
		ft_error_destroy(fa_json_parse(&analysis->arena, text, &value));
	return value;
}

int cli_redact(const struct cli_options *options, struct cli_analysis *analysis,
	       struct fa_redactor **ret)
{
	struct ft_error *error;

	*ret = NULL;
	if (!options->redact)
		return CLI_OK;
	error = fa_redactor_create(options->redact, ret);
	if (!error)
		error = fa_redact_doc(*ret, analysis->doc);
	if (!error)
		return CLI_OK;
	fa_redactor_destroy(*ret);
	*ret = NULL;
	return cli_fail(error, CLI_FAILED);
}

struct fa_side cli_side(struct cli_analysis *analysis)
{
	return (struct fa_side){
		.engine = analysis->engine,
		.summary = cli_section(analysis, "summary"),
		.leaks = cli_section(analysis, "leaks"),
	};
}

void cli_print_document(const struct cli_analysis *analysis)
{
	const char *name;

	fputs("{\"schema\":1", stdout);
	for (size_t i = 0; (name = fa_doc_section_name(analysis->doc, i)); i++)
		printf(",\"%s\":%s", name, fa_doc_section(analysis->doc, name));
	puts("}");
}

void cli_print_json_columns(const struct cli_analysis *analysis, const char *section,
			    const char *const *prefixes)
{
	const char *text = fa_doc_section(analysis->doc, section);
	ft_auto_strbuf struct ft_strbuf out;
	const struct fa_column *column;
	struct fa_json json;

	ft_strbuf_init(&out);
	fa_json_init(&json, &out);
	fa_json_object_begin(&json);
	for (size_t c = 0; (column = fa_doc_column_at(analysis->doc, c)); c++) {
		bool wanted = false;

		for (size_t p = 0; prefixes[p] && !wanted; p++)
			wanted = strncmp(column->name, prefixes[p], strlen(prefixes[p])) == 0;
		if (!wanted)
			continue;
		fa_json_key(&json, column->name);
		fa_json_array_begin(&json);
		for (size_t i = 0; i < column->n; i++)
			fa_column_emit(&json, column, i);
		fa_json_array_end(&json);
	}
	fa_json_object_end(&json);
	ft_strbuf_addc(&out, 0);
	printf("{\"schema\":1,%.*s,\"columns\":%s}\n",
	       text && strlen(text) > 2 ? (int)strlen(text) - 2 : 0, text ? text + 1 : "",
	       out.data ? out.data : "{}");
}

void cli_print_json(const struct cli_analysis *analysis, const char *section)
{
	const char *text = fa_doc_section(analysis->doc, section);

	/* The section is an object: its members follow ours. */
	if (!text || !strcmp(text, "{}"))
		puts("{\"schema\":1}");
	else
		printf("{\"schema\":1,%s\n", text + 1);
}
