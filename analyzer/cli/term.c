/* SPDX-License-Identifier: MIT */
/* The terminal: width, colour, bars, and untrusted text. */
#include <inttypes.h>
#include <langinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli.h"
#include "fa_name.h"

static struct {
	unsigned width;
	bool color, utf8, plain_bytes;
} term;

static bool env_set(const char *name)
{
	const char *value = getenv(name);

	return value && *value;
}

static bool want_color(enum cli_color color)
{
	const char *kind = getenv("TERM"), *force = getenv("CLICOLOR_FORCE");

	if (color != COLOR_AUTO)
		return color == COLOR_ALWAYS;
	if (env_set("NO_COLOR"))
		return false;
	if (force && *force && strcmp(force, "0") != 0)
		return true;
	return isatty(STDOUT_FILENO) && kind && strcmp(kind, "dumb") != 0;
}

void term_init(const struct cli_options *options)
{
	struct winsize size;

	term.plain_bytes = options->plain_bytes;
	term.color = want_color(options->color);
	term.utf8 = !options->ascii && !strcmp(nl_langinfo(CODESET), "UTF-8");
	if (!isatty(STDOUT_FILENO))
		term.width = 0;
	else if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 40)
		term.width = size.ws_col;
	else
		term.width = 80;
}

unsigned term_width(void)
{
	return term.width;
}

const char *term_on(enum term_style style)
{
	static const char *const codes[] = {"",		  "\033[1m",	"\033[2m",
					    "\033[1;31m", "\033[1;33m", "\033[1;32m"};

	return term.color ? codes[style] : "";
}

const char *term_off(void)
{
	return term.color ? "\033[0m" : "";
}

enum term_style term_severity_style(const char *severity)
{
	if (!severity)
		return STYLE_PLAIN;
	if (!strcmp(severity, "high"))
		return STYLE_RED;
	if (!strcmp(severity, "medium") || !strcmp(severity, "low"))
		return STYLE_YELLOW;
	if (!strcmp(severity, "ok"))
		return STYLE_GREEN;
	return STYLE_PLAIN;
}

/* ---- text --------------------------------------------------------------------------------------
 */

/* Length of the UTF-8 sequence at `s`; one that was cut ends where the text does. */
static size_t char_length(const char *s)
{
	size_t n = 1;

	while (n < 4 && ((unsigned char)s[n] & 0xc0) == 0x80)
		n++;
	return n;
}

/* C0, DEL, C1 and the bidirectional formatting characters, with which a name could move the cursor
 * or reorder the line. */
static bool is_control(const char *s)
{
	const unsigned char *c = (const unsigned char *)s;

	if (c[0] < 0x20 || c[0] == 0x7f)
		return true;
	if (c[0] == 0xc2 && c[1] < 0xa0)
		return true;
	return c[0] == 0xe2 && ((c[1] == 0x80 && (c[2] == 0x8e || c[2] == 0x8f ||
						  (c[2] >= 0xaa && c[2] <= 0xae))) ||
				(c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9));
}

static void put_char(const char *s)
{
	if (is_control(s))
		putchar('?');
	else
		fwrite(s, 1, char_length(s), stdout);
}

static size_t text_length(const char *text)
{
	size_t n = 0;

	for (; *text; text += char_length(text))
		n++;
	return n;
}

void term_text(const char *text, unsigned width)
{
	size_t n;

	if (!text)
		text = "-";
	n = text_length(text);

	bool cut = width && n > width;
	size_t shown = cut ? (width > 3 ? width - 3 : width) : n;

	for (size_t i = 0; i < shown; i++, text += char_length(text))
		put_char(text);
	if (cut && width > 3)
		fputs("...", stdout);
}

void term_name(const char *function, unsigned width)
{
	struct ft_strbuf name;

	/* In a pipe nothing is cut. */
	if (!function || !term.width) {
		term_text(function, width);
		return;
	}
	ft_strbuf_init(&name);
	fa_name_short(function, &name);
	term_text(name.failed ? function : ft_strbuf_text(&name), width);
	ft_strbuf_deinit(&name);
}

/* Break a text into lines, and say how many. */
static unsigned wrap(const char *text, unsigned first_column, unsigned indent, bool print)
{
	unsigned width = term.width ? term.width : 80, column = first_column, blanks = 0;
	unsigned lines = 1;

	while (*text) {
		size_t word = 0, n = 0;

		while (text[word] && text[word] != ' ') {
			word += char_length(text + word);
			n++;
		}
		/* Blanks wait for the word behind them: none is left at the end of a line. */
		if (column > indent && column + blanks + n > width) {
			if (print)
				printf("\n%*s", (int)indent, "");
			column = indent;
			lines++;
		} else {
			if (print)
				printf("%*s", (int)blanks, "");
			column += blanks;
		}
		for (const char *end = text + word; text < end; text += char_length(text))
			if (print)
				put_char(text);
		column += (unsigned)n;
		for (blanks = 0; *text == ' '; text++)
			blanks++;
	}
	if (print)
		putchar('\n');
	return lines;
}

void term_wrapped(const char *text, unsigned first_column, unsigned indent)
{
	wrap(text, first_column, indent, true);
}

unsigned term_wrapped_lines(const char *text, unsigned first_column, unsigned indent)
{
	return wrap(text, first_column, indent, false);
}

void term_spark(const uint64_t *values, size_t n, uint64_t max, unsigned width)
{
	static const char *const bars[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
	static const char ascii[] = " .:-=+*%#";

	for (unsigned column = 0; column < width && n; column++) {
		size_t from = n * column / width, to = n * (column + 1) / width;
		uint64_t high = 0;

		if (to <= from)
			to = from + 1;
		for (size_t i = from; i < to && i < n; i++)
			high = values[i] > high ? values[i] : high;

		/* Only nothing is shown as nothing. */
		unsigned level = max ? (unsigned)((double)high / (double)max * 8 + 0.5) : 0;

		if (!level && high)
			level = 1;
		if (level > 8)
			level = 8;
		if (term.utf8)
			fputs(bars[level], stdout);
		else
			putchar(ascii[level]);
	}
}

const char *term_error(const struct fa_value *row, const char *key, int width, struct fa_text *out)
{
	struct fa_text text;
	double percent;

	out->s[0] = '\0';
	if (!fa_value_get(row, key))
		return out->s;
	if (fa_value_is_null(fa_value_get(row, key))) {
		snprintf(out->s, sizeof(out->s), "%*s", width, "-");
		return out->s;
	}
	percent = 100 * fa_value_f64(row, key);
	snprintf(text.s, sizeof(text.s), percent < 10 ? "+-%.1f %%" : "+-%.0f %%", percent);
	snprintf(out->s, sizeof(out->s), "%*s", width, text.s);
	return out->s;
}

void term_estimated(const struct fa_value *section)
{
	struct fa_text rate;

	if (fa_value_true(section, "estimated"))
		printf("Estimates from a sample of one block per %s; +- is one standard error.\n",
		       fa_format_bytes(fa_value_u64(section, "sample_bytes"), &rate));
}

const char *term_bytes(uint64_t bytes, struct fa_text *out)
{
	if (!term.plain_bytes)
		return fa_format_bytes(bytes, out);
	snprintf(out->s, sizeof(out->s), "%" PRIu64, bytes);
	return out->s;
}

const char *term_rate(double bytes_per_s, struct fa_text *out)
{
	if (!term.plain_bytes)
		return fa_format_rate(bytes_per_s, out);
	snprintf(out->s, sizeof(out->s), "%.1f/s", bytes_per_s);
	return out->s;
}

/* ---- stacks ------------------------------------------------------------------------------------
 */

static const char *base_name(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;

	return slash ? slash + 1 : path;
}

void term_frame(const struct fa_value *frame, unsigned width)
{
	const char *function = fa_value_text(frame, "function");
	const char *file = fa_value_text(frame, "file");
	const char *module = base_name(fa_value_text(frame, "module"));
	uint64_t line = fa_value_u64(frame, "line");
	ft_auto_strbuf struct ft_strbuf name = {0};
	char place[512], text[4096];

	if (function && term.width) {
		fa_name_short(function, &name);
		function = name.failed ? function : ft_strbuf_text(&name);
	}

	if (module)
		snprintf(place, sizeof(place), "%s+0x%" PRIx64, module,
			 fa_value_u64(frame, "offset"));
	else
		snprintf(place, sizeof(place), "0x%" PRIx64, fa_value_u64(frame, "offset"));
	if (function && file && line)
		snprintf(text, sizeof(text), "%s at %s:%" PRIu64 "%s", function,
			 term.width ? base_name(file) : file, line,
			 fa_value_true(frame, "inlined") ? " (inlined)" : "");
	else
		snprintf(text, sizeof(text), "%s%s%s%s", function ? function : "",
			 function ? " (" : "", place, function ? ")" : "");
	term_text(text, width);
}

/* Whether two frames are the same function, as recursion shows it. */
static bool same_function(const struct fa_value *a, const struct fa_value *b)
{
	const char *x = fa_value_text(a, "function"), *y = fa_value_text(b, "function");
	const char *p = fa_value_text(a, "module"), *q = fa_value_text(b, "module");

	if (x && y)
		return !strcmp(x, y);
	return !x && !y && fa_value_u64(a, "offset") == fa_value_u64(b, "offset") &&
	       (p ? q && !strcmp(p, q) : !q);
}

static const struct fa_value *skip_frames(const struct fa_value *frame, size_t n)
{
	while (frame && n-- > 0)
		frame = frame->next;
	return frame;
}

enum { CYCLE_MAX = 8, CYCLE_MIN_TURNS = 3 };

/*
 * How often the `period` frames from `frame` on follow each other. Recursion through the same
 * functions counts, whatever the lines.
 */
static size_t turns_of(const struct fa_value *frame, size_t period)
{
	const struct fa_value *behind = skip_frames(frame, period);
	size_t same = 0;

	for (; behind && same_function(frame, behind); frame = frame->next, behind = behind->next)
		same++;
	return same / period + 1;
}

static void print_frame(const struct fa_value *frame, size_t number)
{
	printf("      %s#%zu%s ", term_on(STYLE_DIM), number, term_off());
	term_frame(frame, term.width > 20 ? term.width - 10 : 0);
	putchar('\n');
}

void term_stack(const struct fa_value *stack, size_t max)
{
	const struct fa_value *frame = stack ? stack->first : NULL;
	size_t number = 0, shown = 0;

	while (frame) {
		size_t period = 1, turns = 1;

		if (shown >= max) {
			printf("      ... %zu more\n", stack->n - number);
			return;
		}
		for (size_t p = 1; p <= CYCLE_MAX && turns < CYCLE_MIN_TURNS; p++) {
			turns = turns_of(frame, p);
			period = p;
		}
		if (turns < CYCLE_MIN_TURNS)
			period = turns = 1;
		for (size_t i = 0; i < period; i++, shown++, frame = frame->next)
			print_frame(frame, number + i);
		number += period;
		if (turns > 1) {
			if (period == 1)
				printf("      ... the same %zu times more\n", turns - 1);
			else
				printf("      ... these %zu frames %zu times more\n", period,
				       turns - 1);
			frame = skip_frames(frame, (turns - 1) * period);
			number += (turns - 1) * period;
		}
	}
}
