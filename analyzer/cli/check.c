/* SPDX-License-Identifier: MIT */
/*
 * fraganalyze check: a gate for continuous integration
 *
 * Without a threshold whatever is `growing`, and every bad free, is an error. The exit status says
 * the rest: 1 for errors, 4 where nothing is wrong but something could not be judged.
 */
#include "check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ft_cleanup.h"

struct checker {
	const struct cli_options *options;
	struct cli_analysis now, old;
	bool has_old;
	struct fa_comparison comparison; /* with the baseline */
	struct ft_arena arena;		 /* texts */
	struct check_result result;
	bool failed; /* out of memory */
};

/* ---- the list ----------------------------------------------------------------------------------
 */

__attribute__((format(printf, 6, 7))) static void add(struct checker *c, const char *criterion,
						      const char *code, enum check_level level,
						      const struct check_place *place,
						      const char *format, ...)
{
	struct check_result *r = &c->result;
	char text[2048];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (r->n_findings == r->capacity) {
		size_t capacity = r->capacity ? r->capacity * 2 : 16;
		struct check_finding *list = realloc(r->findings, capacity * sizeof(*list));

		if (!list) {
			c->failed = true;
			return;
		}
		r->findings = list;
		r->capacity = capacity;
	}
	r->findings[r->n_findings] = (struct check_finding){
		.criterion = criterion,
		.code = code,
		.level = level,
		.text = ft_arena_strdup(&c->arena, text),
	};
	if (place)
		r->findings[r->n_findings].place = *place;
	c->failed |= !r->findings[r->n_findings].text;
	r->n_findings += !c->failed;
	r->n_errors += level == CHECK_ERROR;
	r->n_warnings += level == CHECK_WARNING;
}

static struct check_criterion *criterion(struct checker *c, const char *name, const char *title)
{
	struct check_criterion *ret = &c->result.criteria[c->result.n_criteria++];

	*ret = (struct check_criterion){.name = name, .title = title};
	return ret;
}

static void unjudged(struct checker *c, struct check_criterion *criterion, const char *why)
{
	criterion->unjudged = why;
	c->result.n_unjudged++;
}

/* ---- places ------------------------------------------------------------------------------------
 */

/* The frame of a stack that a finding is about: that of the function, else the first with a line.
 */
static struct check_place place_of(const struct fa_value *stack, const char *function)
{
	const struct fa_value *best = NULL;

	for (const struct fa_value *f = stack ? stack->first : NULL; f; f = f->next) {
		const char *name = fa_value_text(f, "function");

		if (function && name && !strcmp(name, function)) {
			best = f;
			break;
		}
		if (!best && fa_value_text(f, "file") && fa_value_u64(f, "line"))
			best = f;
	}
	if (!best)
		return (struct check_place){.function = function, .stack = stack};
	return (struct check_place){
		.function = fa_value_text(best, "function"),
		.file = fa_value_text(best, "file"),
		.line = fa_value_u64(best, "line"),
		.stack = stack,
	};
}

static const struct fa_value *row_of_site(const struct fa_value *leaks, uint64_t site)
{
	for (const struct fa_value *row = leaks ? leaks->first : NULL; row; row = row->next)
		if (fa_value_u64(row, "site") == site)
			return row;
	return NULL;
}

/* ---- growth ------------------------------------------------------------------------------------
 */

/* What the sites of a group grew by in the baseline; false when none of them grew. */
static bool grew_before(const struct checker *c, const struct fa_value *group, double *rate_high)
{
	const struct fa_value *sites = fa_value_get(group, "sites");
	bool grew = false;

	*rate_high = 0;
	for (const struct fa_value *s = sites ? sites->first : NULL; s && c->has_old; s = s->next) {
		const struct fa_difference *row =
			fa_comparison_find(&c->comparison, strtoull(s->text, NULL, 10));

		if (!row || !(row->a.growing || row->a.suspect))
			continue;
		grew = true;
		*rate_high += row->a.rate_high;
	}
	return grew;
}

/* "session_open grows by 18.6 KiB/s (18.3 KiB/s to 18.8 KiB/s), 93.8 KiB in 1000 blocks live at the
 * end" */
static const char *describe(const struct fa_value *group, const char *verb, char *out, size_t size)
{
	struct fa_text rate, low, high, bytes, blocks;
	char end[96] = "all of it freed at the end";

	if (fa_value_u64(group, "blocks"))
		snprintf(end, sizeof(end), "%s in %s blocks live at the end",
			 fa_format_bytes(fa_value_u64(group, "bytes"), &bytes),
			 fa_format_count(fa_value_u64(group, "blocks"), &blocks));
	snprintf(out, size, "%.600s %s by %s (%s to %s), %s", fa_value_text(group, "name"), verb,
		 fa_format_rate(fa_value_f64(group, "rate_bytes_per_s"), &rate),
		 fa_format_rate(fa_value_f64(group, "rate_low"), &low),
		 fa_format_rate(fa_value_f64(group, "rate_high"), &high), end);
	return out;
}

/* Returns the rate that counts against the limit, having added the finding. */
static double check_group(struct checker *c, const struct fa_value *leaks,
			  const struct fa_value *group)
{
	const struct fa_value *first = fa_value_get(group, "sites");
	const struct fa_value *row =
		first && first->first ? row_of_site(leaks, strtoull(first->first->text, NULL, 10))
				      : NULL;
	struct check_place place =
		place_of(fa_value_get(row, "stack"), fa_value_text(group, "name"));
	bool growing = !strcmp(fa_value_text(group, "verdict"), "growing");
	double rate = fa_value_f64(group, "rate_bytes_per_s"), before = 0;
	double limit = c->options->max_growth;
	struct fa_text a;
	char text[1024];

	describe(group, growing ? "grows" : "may grow", text, sizeof(text));
	if (grew_before(c, group, &before)) {
		if (!growing || fa_value_f64(group, "rate_low") <= before) {
			add(c, "growth", "known", CHECK_NOTE, &place, "%s; as in the baseline",
			    text);
			return 0;
		}
		snprintf(text + strlen(text), sizeof(text) - strlen(text),
			 "; at most %s in the baseline", fa_format_rate(before, &a));
	}
	if (!growing)
		add(c, "growth", "suspect", CHECK_WARNING, &place,
		    "%s; only one of two tests says so", text);
	else if (c->options->has_max_growth && rate <= limit)
		add(c, "growth", "growing", CHECK_NOTE, &place, "%s; within the limit of %s", text,
		    c->options->max_growth_text);
	else if (c->options->has_max_growth)
		add(c, "growth", "growing", CHECK_ERROR, &place, "%s; the limit is %s", text,
		    c->options->max_growth_text);
	else
		add(c, "growth", "growing", CHECK_ERROR, &place, "%s", text);
	return growing ? rate : 0;
}

static void check_growth(struct checker *c)
{
	const struct fa_value *section = cli_section(&c->now, "leaks");
	const struct fa_value *leaks = fa_value_get(section, "leaks");
	const struct fa_value *groups = fa_value_get(section, "groups");
	const struct fa_value *process = fa_value_get(section, "process");
	const char *verdict = fa_value_text(process, "verdict");
	struct check_criterion *own = criterion(c, "growth", "No call site grows");
	double sum = 0, limit = c->options->max_growth;
	size_t before = c->result.n_errors;
	struct fa_text a;

	for (const struct fa_value *g = groups ? groups->first : NULL; g; g = g->next)
		sum += check_group(c, leaks, g);
	if (c->options->has_max_growth && sum > limit && c->result.n_errors == before)
		add(c, "growth", "growing", CHECK_ERROR, NULL,
		    "all sites that grow together grow by %s; the limit is %s",
		    fa_format_rate(sum, &a), c->options->max_growth_text);
	if (verdict && !strcmp(verdict, "unsure")) {
		/* Who asks for a limit wants to know; who does not may have a short test. */
		if (c->options->has_max_growth)
			unjudged(c, own, "the run is too short to judge growth");
		else
			add(c, "growth", "unsure", CHECK_NOTE, NULL,
			    "the run is too short to judge growth");
	} else if (c->options->has_max_growth &&
		   !fa_value_is_null(fa_value_get(process, "resolvable_bytes_per_s")) &&
		   fa_value_f64(process, "resolvable_bytes_per_s") > limit) {
		add(c, "growth", "unresolved", CHECK_NOTE, NULL,
		    "growth of the heap as a whole would show from %s on, which is above the limit "
		    "of %s: a longer run sees more",
		    fa_format_rate(fa_value_f64(process, "resolvable_bytes_per_s"), &a),
		    c->options->max_growth_text);
	}
}

/* ---- the rest ----------------------------------------------------------------------------------
 */

static void check_maximum(struct checker *c, const char *name, const char *title, const char *what,
			  uint64_t value, uint64_t limit)
{
	struct fa_text a, b;

	criterion(c, name, title);
	if (value > limit)
		add(c, name, name, CHECK_ERROR, NULL, "%s was %s; the limit is %s", what,
		    fa_format_bytes(value, &a), fa_format_bytes(limit, &b));
}

static void check_memory(struct checker *c)
{
	const struct fa_value *summary = cli_section(&c->now, "summary");
	const struct fa_value *totals = fa_value_get(summary, "totals");
	const struct fa_value *rss = fa_value_get(summary, "rss");

	if (c->options->has_max_live)
		check_maximum(c, "max_live", "Live memory stays below its limit",
			      "the highest live memory", fa_value_u64(totals, "peak_bytes"),
			      c->options->max_live);
	if (!c->options->has_max_rss)
		return;
	if (fa_value_is_null(rss))
		unjudged(c, criterion(c, "max_rss", "RSS stays below its limit"),
			 "RSS was not sampled");
	else
		check_maximum(c, "max_rss", "RSS stays below its limit", "the highest RSS",
			      fa_value_u64(rss, "max"), c->options->max_rss);
}

static uint64_t count_errors(const struct fa_value *section)
{
	const struct fa_value *errors = fa_value_get(section, "errors");
	uint64_t n = fa_value_u64(section, "more");

	for (const struct fa_value *e = errors ? errors->first : NULL; e; e = e->next)
		n += fa_value_u64(e, "count");
	return n;
}

static void check_errors(struct checker *c)
{
	const struct fa_value *section = cli_section(&c->now, "errors");
	const struct fa_value *errors = fa_value_get(section, "errors");
	uint64_t n = count_errors(section), allowed = c->options->max_errors;

	criterion(c, "errors", "No bad frees");
	if (c->has_old) {
		uint64_t known = count_errors(cli_section(&c->old, "errors"));

		allowed = known > allowed ? known : allowed;
	}
	for (const struct fa_value *e = errors ? errors->first : NULL; e; e = e->next) {
		struct check_place place = place_of(fa_value_get(e, "stack"), NULL);
		struct fa_text at, times;

		add(c, "errors", "bad_free", n > allowed ? CHECK_ERROR : CHECK_NOTE, &place,
		    "%s of 0x%" PRIx64 " at %s%s%s%s%s", fa_value_text(e, "kind"),
		    fa_value_u64(e, "address"), fa_format_time(fa_value_u64(e, "time_ns"), &at),
		    place.function ? " in " : "", place.function ? place.function : "",
		    fa_value_u64(e, "count") > 1 ? ", times " : "",
		    fa_value_u64(e, "count") > 1 ? fa_format_count(fa_value_u64(e, "count"), &times)
						 : "");
	}
	if (fa_value_u64(section, "more"))
		add(c, "errors", "bad_free", n > allowed ? CHECK_ERROR : CHECK_NOTE, NULL,
		    "%" PRIu64 " more bad frees", fa_value_u64(section, "more"));
}

static void check_complete(struct checker *c)
{
	const struct fa_value *summary = cli_section(&c->now, "summary");
	uint64_t lost = fa_value_u64(fa_value_get(summary, "totals"), "lost_events");
	struct check_criterion *own = criterion(c, "recording", "The recording is complete");
	const char *state = fa_value_text(fa_value_get(summary, "recording"), "state");

	if (state && !strcmp(state, "cut_off"))
		unjudged(c, own, "the recording was cut off");
	else if (state && !strcmp(state, "recording"))
		unjudged(c, own, "the program is still being recorded");
	else if (lost)
		unjudged(c, own, "events were lost while recording");
}

static void report_suppressed(struct checker *c)
{
	const struct fa_value *suppressed =
		fa_value_get(cli_section(&c->now, "leaks"), "suppressed");
	uint64_t frees = fa_value_u64(cli_section(&c->now, "errors"), "suppressed");
	struct fa_text bytes;

	if (fa_value_is_null(suppressed))
		return;
	add(c, "growth", "suppressed", CHECK_NOTE, NULL,
	    "suppressed: %s of %" PRIu64 " site%s, %" PRIu64 " bad free%s",
	    fa_format_bytes(fa_value_u64(suppressed, "bytes"), &bytes),
	    fa_value_u64(suppressed, "sites"), fa_value_u64(suppressed, "sites") == 1 ? "" : "s",
	    frees, frees == 1 ? "" : "s");
}

/* ---- run ---------------------------------------------------------------------------------------
 */

static int analyse(struct checker *c, const char *const *passes)
{
	struct cli_options own = *c->options;
	struct fa_side a, b;
	struct ft_error *error;
	int status = cli_analyse(&own, passes, &c->now);

	if (status != CLI_OK || !c->options->baseline)
		return status;
	own.path = c->options->baseline;
	status = cli_analyse(&own, passes, &c->old);
	if (status != CLI_OK)
		return status;
	c->has_old = true;
	a = cli_side(&c->old);
	b = cli_side(&c->now);
	error = fa_compare(&a, &b, &c->comparison);
	return error ? cli_fail(error, CLI_FAILED) : CLI_OK;
}

static void judge(struct checker *c)
{
	const struct fa_value *summary = cli_section(&c->now, "summary");
	struct check_result *r = &c->result;

	r->path = c->options->path;
	r->program = fa_value_text(fa_value_get(summary, "program"), "name");
	r->duration_ns = fa_value_u64(summary, "duration_ns");
	check_growth(c);
	check_memory(c);
	check_errors(c);
	check_complete(c);
	report_suppressed(c);
	r->status = r->n_errors					  ? CLI_FAILED
		    : r->n_unjudged && !c->options->allow_partial ? CLI_PARTIAL
								  : CLI_OK;
}

/* To a new file beside it, which then takes its place: a reader never sees half of it. */
static int write_file(const char *path, const struct ft_strbuf *text)
{
	ft_auto_strbuf struct ft_strbuf temporary = {0};
	FILE *file;
	bool failed;

	ft_strbuf_addf(&temporary, "%s.%ld.tmp", path, (long)getpid());
	if (temporary.failed)
		return cli_fail(&ft_enomem, CLI_FAILED);
	file = fopen(temporary.data, "we");
	if (!file)
		return cli_fail(ft_error_os(errno, "cannot write %s", path), CLI_FAILED);
	failed = fwrite(text->data, 1, text->len, file) != text->len;
	if ((fclose(file) | (int)failed) || rename(temporary.data, path) < 0) {
		struct ft_error *error = ft_error_os(errno, "cannot write %s", path);

		unlink(temporary.data);
		return cli_fail(error, CLI_FAILED);
	}
	return CLI_OK;
}

static int write_result(const struct checker *c)
{
	static void (*const formats[])(const struct check_result *, struct ft_strbuf *) = {
		[FORMAT_TEXT] = check_write_text,
		[FORMAT_MARKDOWN] = check_write_markdown,
		[FORMAT_JUNIT] = check_write_junit,
		[FORMAT_SARIF] = check_write_sarif,
	};
	const struct cli_options *o = c->options;
	ft_auto_strbuf struct ft_strbuf out = {0};

	if (o->json)
		check_write_json(&c->result, &out);
	else
		formats[o->format](&c->result, &out);
	if (out.failed || c->failed)
		return cli_fail(&ft_enomem, CLI_FAILED);
	if (o->output && strcmp(o->output, "-") != 0)
		return write_file(o->output, &out);
	fputs(ft_strbuf_text(&out), stdout);
	return CLI_OK;
}

int verb_check(const struct cli_verb *verb, const struct cli_options *options)
{
	struct checker c = {.options = options};
	int status;

	ft_arena_init(&c.arena);
	status = analyse(&c, verb->passes);
	if (status == CLI_OK) {
		judge(&c);
		status = write_result(&c);
	}
	if (status == CLI_OK)
		status = c.result.status;
	fa_comparison_deinit(&c.comparison);
	cli_analysis_deinit(&c.old);
	cli_analysis_deinit(&c.now);
	free(c.result.findings);
	ft_arena_deinit(&c.arena);
	return status;
}
