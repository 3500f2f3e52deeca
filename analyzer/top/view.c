/* SPDX-License-Identifier: MIT */
/* The screen of `top`: see fa_top_view.h. */
#include "fa_top_view.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

#include "fa_format.h"
#include "fa_name.h"
#include "view_impl.h"

#define REVERSE "\033[7m"
#define BOLD	"\033[1m"
#define RED	"\033[1;31m"
#define YELLOW	"\033[33m"
#define PLAIN	"\033[0m"

/* ---- lines -------------------------------------------------------------------------------------
 */

/* A line that is being written; what does not fit into `max` columns (0: all fits) is left out. */
struct line {
	struct ft_strbuf *out;
	const struct fa_top_view *view;
	unsigned n, max;
	bool cut;
};

/* Columns that a character takes, and the bytes of it; a byte that is none, and what moves the
 * cursor or turns the text around, is shown as "?". */
static unsigned put_char(struct line *line, const char *at)
{
	wchar_t c = 0;
	mbstate_t state = {0};
	size_t n = mbrtowc(&c, at, strlen(at), &state);
	int width = n == 0 || n > 8 ? -1 : wcwidth(c);

	if (n == 0 || n > 8)
		n = 1;
	if ((c >= 0x200e && c <= 0x200f) || (c >= 0x202a && c <= 0x202e) ||
	    (c >= 0x2066 && c <= 0x2069))
		width = -1;
	line->cut = line->max && line->n + (unsigned)(width < 0 ? 1 : width) > line->max;
	if (line->cut)
		return (unsigned)n;
	if (width < 0)
		ft_strbuf_addc(line->out, '?');
	else
		ft_strbuf_add(line->out, at, n);
	line->n += (unsigned)(width < 0 ? 1 : width);
	return (unsigned)n;
}

static void put(struct line *line, const char *text)
{
	while (*text && !line->cut)
		text += put_char(line, text);
}

__attribute__((format(printf, 2, 3))) static void putf(struct line *line, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	put(line, text);
}

static void style(const struct line *line, const char *code)
{
	if (line->view->color)
		ft_strbuf_adds(line->out, code);
}

static struct line begin(const struct fa_top_view *view, struct ft_strbuf *out)
{
	return (struct line){.out = out, .view = view, .max = view->columns};
}

/* Clear what an earlier picture has left behind the line. Where it is full there is nothing, and a
 * terminal whose cursor waits at the last column would clear that. */
static void end(const struct line *line)
{
	style(line, PLAIN);
	if (line->n < line->max)
		ft_strbuf_adds(line->out, "\033[K");
}

/* ---- figures -----------------------------------------------------------------------------------
 */

/* Three digits and a letter, "1.23G": at most 5 columns. Counts (base 1000) have all their digits
 * as long as there are no more than that. */
static void compact(double value, double base, char out[16])
{
	static const char units[] = " KMGTPE";
	unsigned unit = 0;

	if (base != 1000 || value >= 99999.5)
		for (; value >= (base == 1024 ? 1023.5 : 999.5) && unit < 6; unit++)
			value /= base;
	if (unit == 0)
		snprintf(out, 16, "%.0f", value);
	else
		snprintf(out, 16, "%.*f%c",
			 value >= 99.95	  ? 0
			 : value >= 9.995 ? 1
					  : 2,
			 value, units[unit]);
}

/* "+1.23K/s", at most 8 columns; by the minute, hour or day where a second has less than a KiB. */
static void compact_rate(double per_second, char out[24])
{
	static const struct {
		double seconds;
		char name;
	} spans[] = {{1, 's'}, {60, 'm'}, {3600, 'h'}, {86400, 'd'}};
	unsigned span = 0;
	char size[16];

	if (fabs(per_second) * 86400 < 0.5) {
		snprintf(out, 24, "0");
		return;
	}
	while (span < 3 && fabs(per_second) * spans[span].seconds < 1023.5)
		span++;
	compact(fabs(per_second) * spans[span].seconds, 1024, size);
	snprintf(out, 24, "%c%s/%c", per_second < 0 ? '-' : '+', size, spans[span].name);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* ---- the head ----------------------------------------------------------------------------------
 */

static void put_state(struct line *line, const struct fa_top_scene *scene)
{
	const struct fa_top_source *source = scene->source;

	switch (source->state) {
	case FA_TOP_RECORDING:
		if (line->view->paused)
			put(line, "view paused");
		else
			put(line, source->paused ? "recording paused" : "recording");
		break;
	case FA_TOP_FILE:
		put(line, line->view->paused ? "view paused" : "sites up to 30 s old");
		break;
	case FA_TOP_ROTATED:
		style(line, BOLD);
		putf(line, "closed; goes on in %s",
		     source->next[0] ? base_name(source->next) : "the next file");
		break;
	case FA_TOP_CUT_OFF:
		style(line, RED);
		put(line, "cut off: the recorder died");
		break;
	case FA_TOP_GONE:
		style(line, BOLD);
		put(line, "ended; it left no file");
		break;
	case FA_TOP_ENDED:
		style(line, BOLD);
		put(line, "ended");
		if (!strcmp(source->exit_kind, "exit") && source->exit_code >= 0)
			putf(line, ", status %" PRId64, source->exit_code);
		else if (!strcmp(source->exit_kind, "signal"))
			putf(line, " by signal %" PRId64, source->exit_code);
		break;
	}
	style(line, PLAIN);
}

static void head_title(struct line *line, const struct fa_top_scene *scene)
{
	const struct fa_top_totals *t = fa_top_totals(scene->top);
	const struct fa_top_source *source = scene->source;
	struct fa_text age;

	putf(line, "fragtrace top: %s", source->program[0] ? source->program : "-");
	if (source->pid)
		putf(line, " [%d]", (int)source->pid);
	if (source->path[0])
		putf(line, "  %s", base_name(source->path));
	putf(line, "  %s  ", fa_format_time(t->time_ns - t->begin_ns, &age));
	put_state(line, scene);
}

static void head_live(struct line *line, const struct fa_top_scene *scene)
{
	const struct fa_top_totals *t = fa_top_totals(scene->top);
	struct fa_top_rates rates;
	struct fa_text bytes, blocks, peak, rate;

	fa_top_rates(scene->top, &rates);
	putf(line, "Live     %s in %s blocks   peak %s", fa_format_bytes(t->live_bytes, &bytes),
	     fa_format_count(t->live_blocks, &blocks), fa_format_bytes(t->peak_bytes, &peak));
	if (rates.minute_s > 0)
		putf(line, "   %s%s over %.0f s", rates.live > 0 ? "+" : "",
		     fa_format_rate(rates.live, &rate), rates.minute_s);
}

static void head_resident(struct line *line, const struct fa_top_scene *scene)
{
	const struct fa_top_totals *t = fa_top_totals(scene->top);
	struct fa_top_rates rates;
	struct fa_text text;

	fa_top_rates(scene->top, &rates);
	if (t->rss < 0) {
		put(line, "Resident not sampled");
		return;
	}
	putf(line, "Resident %s", fa_format_bytes((uint64_t)t->rss, &text));
	if (t->rss > 0)
		putf(line, "   live %.0f %% of it", 100.0 * (double)t->live_bytes / (double)t->rss);
	if (rates.rss_known)
		putf(line, "   %s%s", rates.rss > 0 ? "+" : "", fa_format_rate(rates.rss, &text));
	if (t->swap > 0)
		putf(line, "   swapped %s", fa_format_bytes((uint64_t)t->swap, &text));
	if (t->tracer >= 0)
		putf(line, "   tracer %s", fa_format_bytes((uint64_t)t->tracer, &text));
}

static void head_events(struct line *line, const struct fa_top_scene *scene)
{
	const struct fa_top_totals *t = fa_top_totals(scene->top);
	struct fa_top_rates rates;
	struct fa_text text;

	fa_top_rates(scene->top, &rates);
	putf(line, "Events   %s", fa_format_count(t->n_events, &text));
	if (rates.known && !fa_top_is_over(scene->source->state)) {
		putf(line, "   %s/s", fa_format_count((uint64_t)rates.events, &text));
		putf(line, "   allocations %s/s", fa_format_count((uint64_t)rates.allocs, &text));
		putf(line, "   frees %s/s", fa_format_count((uint64_t)rates.frees, &text));
	}
	if (!t->n_lost)
		return;
	put(line, "   ");
	style(line, RED);
	putf(line, "lost %s", fa_format_count(t->n_lost, &text));
	style(line, PLAIN);
}

static void head_sites(struct line *line, const struct fa_top_scene *scene, unsigned n_naming)
{
	const struct fa_top_view *view = line->view;
	struct fa_text text;

	putf(line, "Sites    %zu", fa_top_n_sites(scene->top));
	if (view->filter[0])
		putf(line, "   filter '%s'", view->filter);
	else
		putf(line, ", %zu grow", fa_top_n_growing(scene->top));
	if (view->skip)
		putf(line, "   from number %zu on", view->skip + 1);
	if (scene->source->sample_bytes)
		putf(line, "   estimates: one block per %s",
		     fa_format_bytes(scene->source->sample_bytes, &text));
	if (n_naming)
		putf(line, "   naming %u", n_naming);
}

/* What is typed, or what is to be said. */
static void head_prompt(struct line *line)
{
	const struct fa_top_view *view = line->view;

	if (view->prompt == FA_TOP_ASK_FILTER)
		putf(line, "Show sites whose name has: %s_", view->typed);
	else if (view->prompt == FA_TOP_ASK_DELAY)
		putf(line, "Seconds between refreshes (%g): %s_", view->delay_s, view->typed);
	else
		put(line, view->message);
}

/* ---- sites -------------------------------------------------------------------------------------
 */

static const struct {
	const char *title;
	int width;
	unsigned from; /* columns of the screen: a narrow one leaves room for names */
} columns[FA_TOP_N_SORTS] = {
	{"LIVE", 7, 0}, {"BLOCKS", 7, 45}, {"1 MIN", 9, 0}, {"START", 9, 70}, {"ALLOC/s", 8, 60}};

static bool is_shown(const struct fa_top_view *view, int column)
{
	return !view->columns || view->columns >= columns[column].from || (int)view->sort == column;
}

static void put_titles(struct line *line)
{
	const struct fa_top_view *view = line->view;

	style(line, REVERSE);
	for (int i = 0; i < FA_TOP_N_SORTS; i++) {
		char title[16];
		bool chosen = (int)view->sort == i;

		if (!is_shown(view, i))
			continue;
		/* The order is not said by looks alone. */
		snprintf(title, sizeof(title), "%s%s",
			 !chosen	   ? ""
			 : view->ascending ? "^"
					   : "*",
			 columns[i].title);
		putf(line, "%*s ", columns[i].width, title);
	}
	put(line, " SITE");
	/* The bar goes to the edge. */
	while (view->color && line->max && line->n < line->max)
		put(line, " ");
	style(line, PLAIN);
}

static void put_name(struct line *line, const struct fa_top_scene *scene, uint32_t stack)
{
	const struct fa_top_name *name =
		scene->names ? fa_top_names_get(scene->names, stack) : NULL;
	ft_auto_strbuf struct ft_strbuf brief = {0};

	if (!name) {
		putf(line, "stack %" PRIu32, stack);
		return;
	}
	/* In a pipe nothing is cut. */
	if (line->max)
		fa_name_short(name->function, &brief);
	put(line, line->max && !brief.failed ? ft_strbuf_text(&brief) : name->function);
	if (name->file)
		putf(line, "  %s:%" PRId64, line->max ? base_name(name->file) : name->file,
		     name->line);
}

static void put_site(struct line *line, const struct fa_top_scene *scene,
		     const struct fa_top_row *row)
{
	struct fa_top_rates rates;
	char text[FA_TOP_N_SORTS][24] = {[FA_TOP_MINUTE] = "-", [FA_TOP_ALLOCS] = "-"};

	fa_top_rates(scene->top, &rates);
	compact((double)row->site->live_bytes, 1024, text[FA_TOP_LIVE]);
	compact((double)row->site->live_blocks, 1000, text[FA_TOP_BLOCKS]);
	compact_rate(row->start, text[FA_TOP_START]);
	if (rates.minute_s > 0)
		compact_rate(row->minute, text[FA_TOP_MINUTE]);
	if (rates.known)
		compact(row->allocs, 1000, text[FA_TOP_ALLOCS]);
	for (int i = 0; i < FA_TOP_N_SORTS; i++) {
		bool grows = i == FA_TOP_MINUTE && rates.minute_s > 0 && row->minute > 0;

		if (!is_shown(line->view, i))
			continue;
		if (grows)
			style(line, YELLOW);
		putf(line, "%*s ", columns[i].width, text[i]);
		if (grows)
			style(line, PLAIN);
	}
	put(line, " ");
	put_name(line, scene, row->site->stack);
}

/* ---- a filter ----------------------------------------------------------------------------------
 */

struct search {
	const struct fa_top_scene *scene;
	const char *text;
	unsigned n_naming;
};

static bool accept(void *ctx, const struct fa_top_row *row)
{
	struct search *search = ctx;
	struct fa_top_names *names = search->scene->names;
	const struct fa_top_name *name = names ? fa_top_names_get(names, row->site->stack) : NULL;

	if (!name) {
		search->n_naming++;
		return false;
	}
	return strcasestr(name->function, search->text) ||
	       (name->file && strcasestr(name->file, search->text));
}

size_t fa_top_view_rows(struct fa_top_view *view, const struct fa_top_scene *scene,
			struct fa_top_row *rows, size_t max, unsigned *n_naming)
{
	struct search search = {.scene = scene, .text = view->filter};
	fa_top_accept *accepts = view->filter[0] ? accept : NULL;
	size_t n = fa_top_rank(scene->top, view->sort, view->ascending, accepts, &search,
			       view->skip, rows, max);

	/* Scrolled past the end: back to where something is. */
	while (!n && view->skip) {
		view->skip = view->skip > max ? view->skip - max : 0;
		n = fa_top_rank(scene->top, view->sort, view->ascending, accepts, &search,
				view->skip, rows, max);
	}
	*n_naming = search.n_naming;
	return n;
}

/* ---- help --------------------------------------------------------------------------------------
 */

static const char *const help[] = {
	"fragtrace top: a recording as it grows",
	"",
	"  LIVE    bytes that the site has allocated and that are not freed",
	"  BLOCKS  how many blocks that is",
	"  1 MIN   growth of LIVE over the last minute (or since you look on)",
	"  START   growth since the recording began",
	"  ALLOC/s allocations a second since the last refresh",
	"          K M G are powers of 1024 of bytes, of 1000 otherwise; /s /m /h /d: a",
	"          second, minute, hour, day",
	"",
	"  s > <   next, previous column to sort by (also arrows; 1 to 5: that column)",
	"  r       reverse the order",
	"  f /     show sites whose function or file has a text;  = shows all again",
	"  p space pause the view (the recording goes on)",
	"  d       seconds between refreshes",
	"  j k     scroll (also arrows, PgUp, PgDn);  g to the top",
	"  h ?     this text;  q  quit",
	"",
	"Any key goes back.",
};

static unsigned put_help(struct fa_top_view *view, struct ft_strbuf *out)
{
	unsigned n = sizeof(help) / sizeof(*help), i = 0;

	for (; i < n && i < view->rows; i++) {
		struct line line = begin(view, out);

		if (i)
			ft_strbuf_adds(out, "\r\n");
		else
			style(&line, BOLD);
		put(&line, help[i]);
		end(&line);
	}
	return i;
}

/* ---- whole -------------------------------------------------------------------------------------
 */

static void put_head(struct line *line, const struct fa_top_scene *scene, unsigned number,
		     unsigned n_naming)
{
	switch (number) {
	case 0:
		head_title(line, scene);
		break;
	case 1:
		head_live(line, scene);
		break;
	case 2:
		head_resident(line, scene);
		break;
	case 3:
		head_events(line, scene);
		break;
	case 4:
		head_sites(line, scene, n_naming);
		break;
	case 5:
		head_prompt(line);
		break;
	default:
		put_titles(line);
		break;
	}
}

static unsigned put_screen(struct fa_top_view *view, const struct fa_top_scene *scene,
			   struct ft_strbuf *out)
{
	size_t max = view->rows > FA_TOP_HEAD ? view->rows - FA_TOP_HEAD : 0, n = 0;
	struct fa_top_row *rows = calloc(max ? max : 1, sizeof(*rows));
	unsigned n_naming = 0, i = 0;

	if (rows && max)
		n = fa_top_view_rows(view, scene, rows, max, &n_naming);
	for (; i < view->rows && i < FA_TOP_HEAD + n; i++) {
		struct line line = begin(view, out);

		if (i)
			ft_strbuf_adds(out, "\r\n");
		if (i < FA_TOP_HEAD)
			put_head(&line, scene, i, n_naming);
		else
			put_site(&line, scene, &rows[i - FA_TOP_HEAD]);
		end(&line);
	}
	free(rows);
	return i;
}

void fa_top_draw(struct fa_top_view *view, const struct fa_top_scene *scene, struct ft_strbuf *out)
{
	unsigned n = view->help ? put_help(view, out) : put_screen(view, scene, out);

	if (n < view->rows)
		ft_strbuf_adds(out, "\r\n\033[J");
}

void fa_top_print(struct fa_top_view *view, const struct fa_top_scene *scene, size_t max,
		  struct ft_strbuf *out)
{
	struct fa_top_row *rows = calloc(max ? max : 1, sizeof(*rows));
	unsigned n_naming = 0;
	size_t n = rows ? fa_top_view_rows(view, scene, rows, max, &n_naming) : 0;

	for (unsigned i = 0; i < FA_TOP_HEAD; i++) {
		struct line line = begin(view, out);

		if (i == FA_TOP_HEAD - 2)
			continue; /* nothing is asked of a pipe */
		put_head(&line, scene, i, n_naming);
		ft_strbuf_addc(out, '\n');
	}
	for (size_t i = 0; i < n; i++) {
		struct line line = begin(view, out);

		put_site(&line, scene, &rows[i]);
		ft_strbuf_addc(out, '\n');
	}
	free(rows);
}
