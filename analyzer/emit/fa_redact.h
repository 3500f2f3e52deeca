/* SPDX-License-Identifier: MIT */
/*
 * Redaction: what names people and machines is replaced, so that a result can be shown to others
 *
 *	paths	the directories of files: "/home/ann/src/main.c" becomes "dir1/main.c"
 *	args	the program's arguments, names of its threads, labels of its marks: "arg1", "name1",
 *		"label1"
 *	env	numbers of the machine: ids of processes and threads, of namespaces, of the image
 *
 * The same text is always replaced by the same name, in each result of one redactor, whatever the
 * order. Names of functions, files, modules and of the program stay: without them there is nothing
 * to read. Environment variables and host names are in no recording.
 */
#ifndef FA_REDACT_H
#define FA_REDACT_H

#include "fa_doc.h"
#include "ft_error.h"

enum { FA_REDACT_PATHS = 1, FA_REDACT_ARGS = 2, FA_REDACT_ENV = 4, FA_REDACT_ALL = 7 };

struct fa_redactor;

struct ft_error *fa_redactor_create(unsigned what, struct fa_redactor **ret);
void fa_redactor_destroy(struct fa_redactor *redactor); /* NULL is fine */

/* Texts are borrowed from the redactor, or are the argument; NULL gives NULL. Out of memory gives
 * "(redacted)". */
const char *fa_redact_path(struct fa_redactor *redactor, const char *path);
/* A text in which paths may stand: the name of a function, a sentence. */
const char *fa_redact_text(struct fa_redactor *redactor, const char *text);

/* Rewrite all sections of a document. Do this before anything else is redacted: it learns here what
 * there is to be replaced in texts. */
struct ft_error *fa_redact_doc(struct fa_redactor *redactor, struct fa_doc *doc);

#endif
