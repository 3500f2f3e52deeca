/* SPDX-License-Identifier: MIT */
/* Names of recordings: see co_name.h. */
#include "co_name.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ft_strbuf.h"

enum { NAME_MAX_BYTES = 100 }; /* leaves room for what a pattern adds */

/* The last part of a path, [*name, *name + result); 0 when there is none worth a file name. */
static size_t last_part(const char *path, size_t len, const char **name)
{
	const char *slash = memrchr(path, '/', len);

	*name = slash ? slash + 1 : path;
	len -= (size_t)(*name - path);
	return strspn(*name, ".") >= len ? 0 : len;
}

/*
 * What the user called: redis-server, whatever file that is a link to. A login shell's leading '-'
 * goes. A program that has made its arguments into a title ("nginx: worker process") is its first
 * word.
 */
static size_t called_as(const char *argv0, const char **name)
{
	size_t len;

	if (!argv0)
		return 0;
	if (*argv0 == '-')
		argv0++;
	len = *argv0 == '/' || *argv0 == '.' ? strlen(argv0) : strcspn(argv0, " ");
	while (len && argv0[len - 1] == ':')
		len--;
	return last_part(argv0, len, name);
}

static void add_program(struct ft_strbuf *buf, const struct co_name_facts *facts)
{
	const char *name;
	size_t len = called_as(facts->argv0, &name);

	if (!len && facts->exe)
		len = last_part(facts->exe, strcspn(facts->exe, " "), &name); /* " (deleted)" */
	if (!len) {
		name = "program";
		len = strlen(name);
	}
	for (size_t i = 0; i < len && i < NAME_MAX_BYTES; i++) {
		unsigned char c = (unsigned char)name[i];

		ft_strbuf_addc(buf, c < ' ' || c == 0x7f ? '_' : (char)c);
	}
}

static void add_time(struct ft_strbuf *buf, int64_t realtime_ns)
{
	time_t seconds = (time_t)(realtime_ns / 1000000000);
	struct tm tm;
	char text[32];

	if (localtime_r(&seconds, &tm) && strftime(text, sizeof(text), "%Y%m%d-%H%M%S", &tm))
		ft_strbuf_adds(buf, text);
}

static void add_host(struct ft_strbuf *buf)
{
	char host[256] = "";

	gethostname(host, sizeof(host) - 1);
	ft_strbuf_adds(buf, strchr(host, '/') ? "host" : host);
}

char *co_name_expand(const char *pattern, const struct co_name_facts *facts, unsigned attempt)
{
	ft_auto_strbuf struct ft_strbuf buf;
	static const char suffix[] = ".frag";
	size_t len;

	ft_strbuf_init(&buf);
	if (!pattern || !*pattern)
		pattern = CO_NAME_DEFAULT;
	if (*pattern != '/' && facts->cwd && *facts->cwd) {
		ft_strbuf_adds(&buf, facts->cwd);
		ft_strbuf_addc(&buf, '/');
	}
	for (const char *c = pattern; *c; c++) {
		if (*c != '%' || !c[1]) {
			ft_strbuf_addc(&buf, *c);
			continue;
		}
		switch (*++c) {
		case 'p':
			ft_strbuf_addf(&buf, "%lld", (long long)facts->pid);
			break;
		case 'n':
			add_program(&buf, facts);
			break;
		case 'h':
			add_host(&buf);
			break;
		case 't':
			add_time(&buf, facts->start_realtime_ns);
			break;
		case '%':
			ft_strbuf_addc(&buf, '%');
			break;
		default: /* not ours: kept as it is */
			ft_strbuf_addc(&buf, '%');
			ft_strbuf_addc(&buf, *c);
		}
	}
	if (attempt > 1 && !buf.failed) {
		bool has_suffix;

		len = buf.len;
		has_suffix = len > sizeof(suffix) - 1 &&
			     strcmp(buf.data + len - (sizeof(suffix) - 1), suffix) == 0;
		if (has_suffix)
			buf.data[buf.len -= sizeof(suffix) - 1] = 0;
		ft_strbuf_addf(&buf, ".%u%s", attempt, has_suffix ? suffix : "");
	}
	return ft_strbuf_steal(&buf);
}
