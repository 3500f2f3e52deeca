/* SPDX-License-Identifier: MIT */
/*
 * The view of `top`: what is on the screen, and what keys do to it
 *
 * Pure but for the names that it asks for: text goes into a buffer, keys come as bytes. Names are
 * untrusted; no line is wider than the screen, whatever they are.
 */
#ifndef FA_TOP_VIEW_H
#define FA_TOP_VIEW_H

#include "fa_top.h"
#include "fa_top_names.h"
#include "fa_top_source.h"
#include "ft_strbuf.h"

enum { FA_TOP_LINE = 128, FA_TOP_HEAD = 7 /* lines above the sites */ };

enum fa_top_prompt { FA_TOP_NO_PROMPT, FA_TOP_ASK_FILTER, FA_TOP_ASK_DELAY };

/* What is shown and how: the user's. */
struct fa_top_view {
	unsigned rows, columns; /* of the screen; columns 0: lines are as long as they are */
	bool color;
	enum fa_top_sort sort;
	bool ascending;
	size_t skip; /* sites that were scrolled past */
	char filter[FA_TOP_LINE];
	double delay_s;
	bool paused, help;
	enum fa_top_prompt prompt;
	char typed[FA_TOP_LINE];
	char message[FA_TOP_LINE];
	/* Internal: an escape sequence that has begun. */
	char escape[16];
	unsigned n_escape;
};

/* What is shown; `names` may be NULL: there is no file. */
struct fa_top_scene {
	struct fa_top *top;
	struct fa_top_source *source;
	struct fa_top_names *names;
};

enum { FA_TOP_MIN_DELAY_MS = 100, FA_TOP_MAX_DELAY_S = 3600 };
/* "0.5", "2": seconds within those bounds. */
bool fa_top_parse_delay(const char *text, double *ret);

/* Words for the orders: "live", "blocks", "minute", "start", "allocs", NULL. */
extern const char *const fa_top_sort_names[];

enum fa_top_action {
	FA_TOP_NOTHING,
	FA_TOP_REDRAW,
	FA_TOP_REFRESH, /* read the next account now */
	FA_TOP_QUIT
};

/* Bytes that were typed; the most that follows of them. */
enum fa_top_action fa_top_keys(struct fa_top_view *view, const char *bytes, size_t n);
/* No more came of what looked like the begin of an escape sequence: it was the key Escape. */
enum fa_top_action fa_top_keys_timeout(struct fa_top_view *view);

/* The screen, from its first line on: at most view->rows lines; what an earlier picture has left
 * behind and below them is cleared. Scrolls back a view that is past its end. */
void fa_top_draw(struct fa_top_view *view, const struct fa_top_scene *scene, struct ft_strbuf *out);

/* The same as plain text, with at most `max` sites and without what only a screen needs. */
void fa_top_print(struct fa_top_view *view, const struct fa_top_scene *scene, size_t max,
		  struct ft_strbuf *out);

/* The same as one line of JSON. */
void fa_top_json(struct fa_top_view *view, const struct fa_top_scene *scene, size_t max,
		 struct ft_strbuf *out);

#endif
