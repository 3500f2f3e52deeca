/* SPDX-License-Identifier: MIT */
/* Writing suppressions that both Fragtrace and the format's own tool read. */
#include <ctype.h>
#include <string.h>

#include "suppress_impl.h"

enum { PRINT_FRAMES_MAX = 23 }; /* Valgrind takes 24, the call included */

/* Whether a character can't stand for itself in a pattern: it means something there, or ends a
 * line. */
static bool is_wild(char c, const char *wild)
{
	return (unsigned char)c < 0x20 || c == 0x7f || strchr(wild, c);
}

/* A pattern of Valgrind's that matches the text, on one line. Blanks at its ends would be lost. */
static void add_glob(struct ft_strbuf *out, const char *text)
{
	for (const char *p = text; *p; p++) {
		bool end = *p == ' ' && (p == text || !p[1] || p[1] == ' ' || p[-1] == ' ');

		ft_strbuf_addc(out, end || is_wild(*p, "*") ? '?' : *p);
	}
}

/* The name of an entry: any text that is no comment and no end of it. */
static void add_name(struct ft_strbuf *out, const char *name)
{
	ft_strbuf_adds(out, *name && !strchr("#}{ ", *name) ? "" : "site ");
	for (; *name; name++)
		ft_strbuf_addc(out, is_wild(*name, "") ? '?' : *name);
}

/* "ns::Foo<int>::bar(char) const" -> "_Z*2ns*3Foo*3bar*": the identifiers of the qualified name,
 * for the mangled name itself is not known. */
static void add_mangled(struct ft_strbuf *out, const char *function)
{
	size_t begin = out->len;
	int depth = 0;

	ft_strbuf_adds(out, "_Z*");
	for (const char *p = function; *p;) {
		static const char anonymous[] = "(anonymous namespace)";
		size_t len = 0;

		if (!strncmp(p, anonymous, sizeof(anonymous) - 1)) {
			p += sizeof(anonymous) - 1;
			continue;
		}
		if (*p == '(' && !depth)
			break;

		if (*p == '<' || *p == '{')
			depth++;
		else if ((*p == '>' || *p == '}') && depth)
			depth--;
		while (isalnum((unsigned char)p[len]) || p[len] == '_')
			len++;
		if (len && !depth && !isdigit((unsigned char)*p) && strncmp(p, "operator", 8) != 0)
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
	add_name(out, name);
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
			add_glob(out, public);
		} else if (function) {
			ft_strbuf_adds(out, "fun:");
			add_glob(out, function);
		} else if (frame->module) {
			ft_strbuf_adds(out, "obj:");
			add_glob(out, frame->module);
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
	bool whole = true;

	ft_strbuf_adds(out, "leak:^");
	for (const char *p = name; *p; p++) {
		bool wild = is_wild(*p, "*$");

		ft_strbuf_addc(out, wild ? '*' : *p);
		whole &= !wild;
	}
	/* LeakSanitizer takes the first place where a part fits: behind a '*' that may not be the
	 * last one, and an end would then miss. */
	ft_strbuf_adds(out, whole && *name ? "$\n" : "*\n");
}
