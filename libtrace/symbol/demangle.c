/* SPDX-License-Identifier: MIT */
/*
 * Demangling by libiberty
 *
 * Its callback interfaces are used, because the text of a hostile name can grow exponentially: what
 * exceeds the bound is dropped here instead of being collected. libiberty limits its recursion.
 */
#include <libiberty/demangle.h>
#include <stdlib.h>
#include <string.h>

#include "frames.h"
#include "ft_symbol.h"

/* A mangled name longer than this stays as it is. */
enum { MANGLED_MAX = 64 * 1024 };

struct bounded_text {
	char *data; /* FT_SYMBOL_NAME_MAX + 1 bytes */
	size_t len;
};

static void collect(const char *part, size_t len, void *opaque)
{
	struct bounded_text *text = opaque;

	if (len > FT_SYMBOL_NAME_MAX - text->len)
		len = FT_SYMBOL_NAME_MAX - text->len;
	memcpy(text->data + text->len, part, len);
	text->len += len;
}

char *ft_demangle(const char *mangled)
{
	bool itanium = strncmp(mangled, "_Z", 2) == 0 || strncmp(mangled, "___Z", 4) == 0;
	if (!itanium && strncmp(mangled, "_R", 2) != 0)
		return NULL;
	if (strnlen(mangled, MANGLED_MAX + 1) > MANGLED_MAX)
		return NULL;

	struct bounded_text text = {.data = malloc(FT_SYMBOL_NAME_MAX + 1)};
	if (!text.data)
		return NULL;

	/* Rust's legacy names are well-formed C++ names too, so that Rust has to be tried first. */
	int done = rust_demangle_callback(mangled, DMGL_PARAMS, collect, &text);
	if (!done) {
		text.len = 0;
		done = cplus_demangle_v3_callback(mangled, DMGL_PARAMS | DMGL_ANSI, collect, &text);
	}
	if (!done || text.len == 0) {
		free(text.data);
		return NULL;
	}
	text.data[text.len] = '\0';
	char *exact = realloc(text.data, text.len + 1);
	return exact ? exact : text.data;
}
