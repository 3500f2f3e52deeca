/* SPDX-License-Identifier: MIT */
/*
 * The floor: the verdict, the numbers and the first leaks as plain HTML
 *
 * It is what a reader without JavaScript, a mail gateway's preview and a screen's first paint show.
 * Every text of the recording is hostile: it goes through rp_html_text().
 */
#ifndef RP_FLOOR_H
#define RP_FLOOR_H

#include <stdio.h>

#include "fa_doc.h"
#include "ft_error.h"

enum rp_lang { RP_EN, RP_ZH };

/*
 * Write text (UTF-8) so that it can neither leave its place in the markup nor reorder it: & < > " '
 * as entities, control and bidirectional formatting characters as visible \uXXXX.
 */
void rp_html_text(FILE *out, const char *text);

/* "redis-server (pid 4711)", the title of the page. */
struct ft_error *rp_floor_title(const struct fa_doc *doc, FILE *out);

struct ft_error *rp_floor_write(const struct fa_doc *doc, enum rp_lang lang, FILE *out);

/* Where the charts are, for a reader who sees the floor. */
const char *rp_floor_charts_note(enum rp_lang lang);

#endif
