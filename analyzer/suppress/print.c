/* SPDX-License-Identifier: MIT */
/* Writing suppressions that both Fragtrace and the format's own tool read. */
#include <ctype.h>
#include <string.h>

#include "suppress_impl.h"

enum { PRINT_FRAMES_MAX = 23 }; /* Valgrind takes 24, the call included */

/* Untrusted text on one line. `wild`: characters that mean something in a pattern, each of which
 * becomes `as`. */
static void add_text(struct ft_strbuf *out, const char *text, const char *wild, char as)
{
	for (; *text; text++) {
		char c = (unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text;

		ft_strbuf_addc(out, strchr(wild, c) ? as : c);
	}
}

/* "ns::Foo<int>::bar(char) const" -> "_Z*2ns*3Foo*3bar*": the identifiers of the qualified name,
 * for the mangled name itself is not known. */
static void add_mangled(struct ft_strbuf *out, const char *function)
{
	size_t begin = out->len;
	int depth = 0;

	ft_strbuf_adds(out, "_Z*");
	for (const char *p = function; *p && !(*p == '(' && !depth);) {
		size_t len = 0;

		if (*p == '<' || *p == '{')
			depth++;
		else if ((*p == '>' || *p == '}') && depth)
			depth--;
		while (isalnum((unsigned char)p[len]) || p[len] == '_')
			len++;
		if (len && !depth && strncmp(p, "operator", 8) != 0)
			ft_strbuf_addf(out, "%zu%.*s*", len, (int)len, p);

		/* What stood before a blank was the type that is returned. */
		if (!len && *p == ' ' && !depth && !out->failed && p[1] != '(') {
			out->len = begin;
			ft_strbuf_adds(out, "_Z*");
		}
		p += len ? len : 1;
	}
}

/* What is below the program's own frames: Valgrind does not show it. */
static bool is_below_main(const char *function)
{
	return !strncmp(function, "__libc_start", 12) || !strcmp(function, "_start") ||
	       !strcmp(function, "start_thread") || !strncmp(function, "clone", 5);
}

static void print_valgrind(const char *name, const struct fa_suppress_frame *frames, size_t n,
			   struct ft_strbuf *out)
{
	ft_strbuf_adds(out, "{\n   ");
	add_text(out, name, "{}", '?');
	ft_strbuf_adds(out, "\n   Memcheck:Leak\n");
	for (size_t i = 0; i < n && i < PRINT_FRAMES_MAX; i++) {
		const struct fa_suppress_frame *frame = &frames[i];
		const char *function = frame->linkage ? frame->linkage : frame->function;
		const char *public = public_name(frame);

		if (function && i > 1 && is_below_main(function))
			break;
		ft_strbuf_adds(out, "   ");
		if (frame->call && !function) {
			ft_strbuf_adds(out, "fun:*");
		} else if (function && (strchr(function, '(') || strstr(function, "::"))) {
			ft_strbuf_adds(out, "fun:");
			add_mangled(out, function);
		} else if (public) {
			ft_strbuf_adds(out, "fun:*");
			add_text(out, public, "*", '?');
		} else if (function) {
			ft_strbuf_adds(out, "fun:");
			add_text(out, function, "*", '?');
		} else if (frame->module) {
			ft_strbuf_adds(out, "obj:");
			add_text(out, frame->module, "*", '?');
		} else {
			ft_strbuf_adds(out, "obj:*");
		}
		ft_strbuf_addc(out, '\n');
	}
	ft_strbuf_adds(out, "}\n");
}

void fa_suppress_print(enum fa_suppress_format format, const char *name,
		       const struct fa_suppress_frame *frames, size_t n, struct ft_strbuf *out)
{
	if (format == FA_SUPPRESS_VALGRIND) {
		print_valgrind(name, frames, n, out);
		return;
	}
	ft_strbuf_adds(out, "leak:^");
	add_text(out, name, "*$^", '*');
	ft_strbuf_adds(out, "$\n");
}
