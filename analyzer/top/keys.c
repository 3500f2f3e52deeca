/* SPDX-License-Identifier: MIT */
/* What keys do to the view of `top`: see fa_top_view.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fa_top_view.h"

const char *const fa_top_sort_names[] = {"live", "blocks", "minute", "start", "allocs", NULL};

bool fa_top_parse_delay(const char *text, double *ret)
{
	char *end;
	double value;

	if (strspn(text, "0123456789.") != strlen(text))
		return false;
	value = strtod(text, &end);
	if (!*text || *end || value * 1000 < FA_TOP_MIN_DELAY_MS || value > FA_TOP_MAX_DELAY_S)
		return false;
	*ret = value;
	return true;
}

static void say(struct fa_top_view *view, const char *text)
{
	snprintf(view->message, sizeof(view->message), "%s", text);
}

/* ---- the line that is typed --------------------------------------------------------------------
 */

static void begin_prompt(struct fa_top_view *view, enum fa_top_prompt prompt)
{
	view->prompt = prompt;
	view->typed[0] = '\0';
}

static enum fa_top_action end_prompt(struct fa_top_view *view)
{
	enum fa_top_prompt prompt = view->prompt;

	view->prompt = FA_TOP_NO_PROMPT;
	if (prompt == FA_TOP_ASK_FILTER) {
		memcpy(view->filter, view->typed, sizeof(view->filter));
		view->skip = 0;
	} else if (view->typed[0] && !fa_top_parse_delay(view->typed, &view->delay_s)) {
		say(view, "a delay is a number of seconds from 0.1 to 3600");
	}
	return FA_TOP_REDRAW;
}

/* A character of several bytes goes as one. */
static void erase(struct fa_top_view *view)
{
	size_t len = strlen(view->typed);

	while (len && ((unsigned char)view->typed[len - 1] & 0xc0) == 0x80)
		len--;
	view->typed[len ? len - 1 : 0] = '\0';
}

static enum fa_top_action type(struct fa_top_view *view, unsigned char c)
{
	size_t len = strlen(view->typed);

	switch (c) {
	case '\r':
	case '\n':
		return end_prompt(view);
	case 0x7f:
	case '\b':
		erase(view);
		return FA_TOP_REDRAW;
	case 0x15: /* ^U */
		view->typed[0] = '\0';
		return FA_TOP_REDRAW;
	default:
		if (c < ' ' || len + 1 >= sizeof(view->typed))
			return FA_TOP_NOTHING;
		view->typed[len] = (char)c;
		view->typed[len + 1] = '\0';
		return FA_TOP_REDRAW;
	}
}

/* ---- commands ----------------------------------------------------------------------------------
 */

static enum fa_top_action sort_by(struct fa_top_view *view, int sort)
{
	view->sort = (enum fa_top_sort)((sort + FA_TOP_N_SORTS) % FA_TOP_N_SORTS);
	view->skip = 0;
	return FA_TOP_REDRAW;
}

static enum fa_top_action scroll(struct fa_top_view *view, long by)
{
	if (by < 0 && view->skip < (size_t)-by)
		view->skip = 0;
	else
		view->skip += (size_t)by;
	return FA_TOP_REDRAW;
}

static long page(const struct fa_top_view *view)
{
	return view->rows > FA_TOP_HEAD + 1 ? (long)view->rows - FA_TOP_HEAD - 1 : 1;
}

static enum fa_top_action command(struct fa_top_view *view, unsigned char c)
{
	if (c >= '1' && c < '1' + FA_TOP_N_SORTS)
		return sort_by(view, c - '1');
	switch (c) {
	case 'q':
	case 'Q':
		return FA_TOP_QUIT;
	case 's':
	case '>':
		return sort_by(view, (int)view->sort + 1);
	case '<':
		return sort_by(view, (int)view->sort - 1);
	case 'r':
	case 'R':
		view->ascending = !view->ascending;
		view->skip = 0;
		return FA_TOP_REDRAW;
	case 'p':
	case 'P':
	case ' ':
		view->paused = !view->paused;
		return view->paused ? FA_TOP_REDRAW : FA_TOP_REFRESH;
	case 'f':
	case '/':
		begin_prompt(view, FA_TOP_ASK_FILTER);
		return FA_TOP_REDRAW;
	case '=':
		view->filter[0] = '\0';
		view->skip = 0;
		return FA_TOP_REDRAW;
	case 'd':
		begin_prompt(view, FA_TOP_ASK_DELAY);
		return FA_TOP_REDRAW;
	case 'h':
	case 'H':
	case '?':
		view->help = true;
		return FA_TOP_REDRAW;
	case 'j':
		return scroll(view, 1);
	case 'k':
		return scroll(view, -1);
	case 'g':
		view->skip = 0;
		return FA_TOP_REDRAW;
	case 0x0c: /* ^L */
		return FA_TOP_REDRAW;
	default:
		return FA_TOP_NOTHING;
	}
}

/* ---- bytes -------------------------------------------------------------------------------------
 */

/* A whole escape sequence, without the escape. */
static enum fa_top_action escaped(struct fa_top_view *view, const char *sequence)
{
	static const struct {
		const char *sequence;
		char key; /* that does the same; 0: see below */
		int pages;
	} keys[] = {{"[A", 'k', 0}, {"OA", 'k', 0}, {"[B", 'j', 0}, {"OB", 'j', 0}, {"[C", '>', 0},
		    {"OC", '>', 0}, {"[D", '<', 0}, {"OD", '<', 0}, {"[5~", 0, -1}, {"[6~", 0, 1},
		    {"[H", 'g', 0}, {"OH", 'g', 0}, {"[1~", 'g', 0}};

	if (view->prompt)
		return FA_TOP_NOTHING;
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		if (strcmp(keys[i].sequence, sequence) != 0)
			continue;
		if (keys[i].key)
			return command(view, (unsigned char)keys[i].key);
		return scroll(view, keys[i].pages * page(view));
	}
	return FA_TOP_NOTHING;
}

enum fa_top_action fa_top_keys_timeout(struct fa_top_view *view)
{
	if (!view->n_escape)
		return FA_TOP_NOTHING;
	view->n_escape = 0;
	if (!view->prompt)
		return view->help ? (view->help = false, FA_TOP_REDRAW) : FA_TOP_NOTHING;
	view->prompt = FA_TOP_NO_PROMPT;
	return FA_TOP_REDRAW;
}

/* Of an escape sequence: "[", parameters, and a letter or "~"; or "O" and a letter. */
static enum fa_top_action escape(struct fa_top_view *view, unsigned char c)
{
	unsigned n = view->n_escape - 1; /* without the escape itself */

	if (n == 0 && c != '[' && c != 'O') {
		enum fa_top_action action = fa_top_keys_timeout(view), next;
		char one = (char)c;

		next = fa_top_keys(view, &one, 1);
		return next > action ? next : action;
	}
	if (n + 1 < sizeof(view->escape)) {
		view->escape[n] = (char)c;
		view->escape[n + 1] = '\0';
	}
	view->n_escape++;
	if (n == 0 || (view->escape[0] == '[' && (c < 0x40 || c > 0x7e)))
		return FA_TOP_NOTHING;
	view->n_escape = 0;
	if (view->help) {
		view->help = false;
		return FA_TOP_REDRAW;
	}
	return escaped(view, view->escape);
}

enum fa_top_action fa_top_keys(struct fa_top_view *view, const char *bytes, size_t n)
{
	enum fa_top_action most = FA_TOP_NOTHING;

	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)bytes[i];
		enum fa_top_action action;

		view->message[0] = '\0';
		if (view->n_escape) {
			action = escape(view, c);
		} else if (c == 0x1b) {
			view->n_escape = 1;
			view->escape[0] = '\0';
			action = FA_TOP_NOTHING;
		} else if (view->prompt) {
			action = type(view, c);
		} else if (view->help) {
			view->help = false;
			action = c == 'q' ? FA_TOP_QUIT : FA_TOP_REDRAW;
		} else {
			action = command(view, c);
		}
		if (action > most)
			most = action;
	}
	return most;
}
