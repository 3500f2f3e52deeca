/* SPDX-License-Identifier: MIT */
/* Names of functions: see fa_name.h. */
#include "fa_name.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

/* Lists longer than this are not shown. */
enum { ARGUMENTS_MAX = 20, PARAMETERS_MAX = 24 };

static bool begins(const char *text, const char *prefix)
{
	return !strncmp(text, prefix, strlen(prefix));
}

static bool is_name_char(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '$';
}

/* The end of a list that opens at `p`: behind its closing bracket; NULL when it never closes. */
static const char *list_end(const char *p)
{
	int depth = 0;

	for (; *p; p++) {
		if (*p == '-' && p[1] == '>') {
			p++;
			continue;
		}
		if (strchr("<([{", *p))
			depth++;
		else if (strchr(">)]}", *p) && --depth == 0)
			return p + 1;
	}
	return NULL;
}

/* "operator<<", "operator()", "operator->": its length, or 0. */
static size_t operator_length(const char *p)
{
	static const char *const signs[] = {
		"<=>", "<<=", ">>=", "->*", "<<", ">>", "<=", ">=", "->", "()", "[]", "<", ">"};

	if (!begins(p, "operator") || is_name_char(p[8]))
		return 0;
	for (size_t i = 0; i < sizeof(signs) / sizeof(*signs); i++)
		if (begins(p + 8, signs[i]))
			return 8 + strlen(signs[i]);
	return 8;
}

/* Whether the template arguments at `p` ("<...") make the string of plain characters. */
static bool is_plain_string(const char *p)
{
	return begins(p, "<char, std::char_traits<char>, std::allocator<char> >") ||
	       begins(p, "<char, std::char_traits<char>, std::allocator<char>>");
}

static void shorten(const char *p, const char *end, struct ft_strbuf *out);

/* A list in brackets: short ones are shown, without what only says the default. */
static void add_list(const char *open, const char *close, size_t max, struct ft_strbuf *out)
{
	size_t begin = out->len;

	ft_strbuf_addc(out, *open);
	shorten(open + 1, close - 1, out);

	/* The blank that older demanglers leave between two closing brackets. */
	while (!out->failed && out->len > begin + 1 && out->data[out->len - 1] == ' ')
		out->len--;
	if (!out->failed && out->len - begin - 1 > max) {
		out->len = begin + 1;
		ft_strbuf_adds(out, "...");
	}
	ft_strbuf_addc(out, close[-1]);
}

/* The default arguments of containers: ", std::allocator<...>" and its kin, at `p`. Returns what is
 * behind them. */
static const char *skip_defaults(const char *p)
{
	static const char *const defaults[] = {", std::allocator<",	 ", std::less<",
					       ", std::default_delete<", ", std::hash<",
					       ", std::equal_to<",	 ", std::char_traits<"};

	for (size_t i = 0; i < sizeof(defaults) / sizeof(*defaults); i++) {
		const char *end;

		if (!begins(p, defaults[i]))
			continue;
		end = list_end(p + strlen(defaults[i]) - 1);
		/* Only at the end of a list, or before another default. */
		if (end && (*end == '>' || *end == ' ' || *end == ','))
			return skip_defaults(end);
	}
	return p;
}

static void shorten(const char *p, const char *end, struct ft_strbuf *out)
{
	bool word = false; /* within an identifier */

	while (p < end) {
		size_t op = word ? 0 : operator_length(p);

		if (op && p + op <= end) {
			ft_strbuf_add(out, p, op);
			p += op;
			word = is_name_char(p[-1]);
			continue;
		}
		if (!word && (begins(p, "__cxx11::") || begins(p, "__1::"))) {
			p = strchr(p, ':') + 2;
			continue;
		}
		if (!word && begins(p, "basic_string<") && is_plain_string(p + 12)) {
			ft_strbuf_adds(out, "string");
			p = list_end(p + 12);
			word = true;
			continue;
		}
		if (!word && begins(p, "(anonymous namespace)")) {
			ft_strbuf_adds(out, "(anonymous namespace)");
			p += strlen("(anonymous namespace)");
			continue;
		}
		if (*p == ',' && skip_defaults(p) > p && skip_defaults(p) <= end) {
			p = skip_defaults(p);
			continue;
		}
		if (*p == '<' || *p == '(') {
			const char *close = list_end(p);

			if (close && close <= end) {
				add_list(p, close, *p == '<' ? ARGUMENTS_MAX : PARAMETERS_MAX, out);
				p = close;
				word = false;
				continue;
			}
		}
		word = is_name_char(*p);
		ft_strbuf_addc(out, *p++);
	}
}

void fa_name_short(const char *function, struct ft_strbuf *out)
{
	if (!strpbrk(function, "<("))
		ft_strbuf_adds(out, function);
	else
		shorten(function, function + strlen(function), out);
}

/* ---- for comparison ----------------------------------------------------------------------------
 */

/* Where the suffixes of clones begin; the end where there are none. */
static size_t clone_suffix(const char *name)
{
	static const char *const suffixes[] = {".constprop.", ".part.", ".isra.", ".lto_priv.",
					       ".llvm.",      ".cold",	".ipa"};
	const char *bracket = strstr(name, " [clone ");
	size_t len = bracket ? (size_t)(bracket - name) : strlen(name), best = len;

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++) {
		const char *at = strstr(name, suffixes[i]);

		if (at && at != name && (size_t)(at - name) < best)
			best = (size_t)(at - name);
	}
	return best;
}

void fa_name_normal(const char *function, struct ft_strbuf *out)
{
	size_t len = clone_suffix(function);

	/* "::h0123456789abcdef" */
	if (len > 19 && !memcmp(function + len - 19, "::h", 3)) {
		size_t n = 0;

		while (n < 16 && isxdigit((unsigned char)function[len - 16 + n]))
			n++;
		if (n == 16)
			len -= 19;
	}
	ft_strbuf_add(out, function, len);
}
