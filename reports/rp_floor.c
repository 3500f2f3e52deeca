/* SPDX-License-Identifier: MIT */
/* The floor of the report: see rp_floor.h. */
#include "rp_floor.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "fa_json_read.h"
#include "ft_arena.h"

#define RP_FLOOR_LEAKS	20
#define RP_FLOOR_FRAMES 3

enum rp_word {
	RP_LIVE_AT_END,
	RP_PEAK,
	RP_RSS,
	RP_DURATION,
	RP_ALLOCATIONS,
	RP_EVENTS_LOST,
	RP_FINDINGS,
	RP_LEAKS,
	RP_NO_LEAKS,
	RP_SITE,
	RP_VERDICT,
	RP_BYTES,
	RP_BLOCKS,
	RP_STACK,
	RP_MORE,
	RP_INCOMPLETE,
	RP_SAMPLED,
	RP_CHARTS,
	RP_MACHINE,
	RP_KERNEL,
	RP_CPUS,
	RP_ZONES,
	RP_ZONE,
	RP_MANAGED,
	RP_FREE,
	RP_HUGE,
	RP_ADVICE,
	RP_N_WORDS
};

static const char *const words[][RP_N_WORDS] = {
	[RP_EN] =
		{
			[RP_LIVE_AT_END] = "Live at the end",
			[RP_PEAK] = "Peak",
			[RP_RSS] = "Resident at the end",
			[RP_DURATION] = "Duration",
			[RP_ALLOCATIONS] = "Allocations",
			[RP_EVENTS_LOST] = "Events lost",
			[RP_FINDINGS] = "Findings",
			[RP_LEAKS] = "Which call sites still hold memory at the end?",
			[RP_NO_LEAKS] = "Every block was freed.",
			[RP_SITE] = "Site",
			[RP_VERDICT] = "Verdict",
			[RP_BYTES] = "Bytes",
			[RP_BLOCKS] = "Blocks",
			[RP_STACK] = "Stack",
			[RP_MORE] = "more",
			[RP_INCOMPLETE] = "The recording was cut off: the figures cover what was "
					  "recorded before.",
			[RP_SAMPLED] = "All figures are estimates: the recording is a sample.",
			[RP_CHARTS] = "The charts of this page need JavaScript; everything they "
				      "show is inside this file.",
			[RP_MACHINE] = "Memory of a machine",
			[RP_KERNEL] = "Linux",
			[RP_CPUS] = "CPUs",
			[RP_ZONES] = "How much of the memory is free, and in what pieces?",
			[RP_ZONE] = "Zone",
			[RP_MANAGED] = "Managed",
			[RP_FREE] = "Free at the end",
			[RP_HUGE] = "Free pages of 2 MiB",
			[RP_ADVICE] = "What can be done?",
		},
	[RP_ZH] =
		{
			[RP_LIVE_AT_END] = "结束时存活",
			[RP_PEAK] = "峰值",
			[RP_RSS] = "结束时常驻内存",
			[RP_DURATION] = "时长",
			[RP_ALLOCATIONS] = "分配次数",
			[RP_EVENTS_LOST] = "丢失事件",
			[RP_FINDINGS] = "发现",
			[RP_LEAKS] = "结束时哪些调用点仍占用内存？",
			[RP_NO_LEAKS] = "所有内存块均已释放。",
			[RP_SITE] = "调用点",
			[RP_VERDICT] = "结论",
			[RP_BYTES] = "字节",
			[RP_BLOCKS] = "块数",
			[RP_STACK] = "调用栈",
			[RP_MORE] = "更多",
			[RP_INCOMPLETE] = "记录被中断：数字只涵盖中断之前的部分。",
			[RP_SAMPLED] = "所有数字都是估计值：该记录只是样本。",
			[RP_CHARTS] = "图表需要 JavaScript；所有数据都在本文件内。",
			[RP_MACHINE] = "一台机器的内存",
			[RP_KERNEL] = "Linux",
			[RP_CPUS] = "CPU 数",
			[RP_ZONES] = "有多少内存空闲，分成多大的块？",
			[RP_ZONE] = "区域",
			[RP_MANAGED] = "管理的内存",
			[RP_FREE] = "结束时空闲",
			[RP_HUGE] = "空闲的 2 MiB 页",
			[RP_ADVICE] = "可以做什么？",
		},
};

/* U+202A..202E, U+2066..2069, U+200E, U+200F, U+061C reorder text; C0 and C1 controls hide it. */
static bool is_hostile(unsigned code)
{
	return code < 0x20 || (code >= 0x7f && code < 0xa0) || (code >= 0x202a && code <= 0x202e) ||
	       (code >= 0x2066 && code <= 0x2069) || code == 0x200e || code == 0x200f ||
	       code == 0x061c || code == 0x2028 || code == 0x2029;
}

/* The code point at `p` and its length; anything that is not UTF-8 is one byte of U+FFFD. */
static unsigned decode(const unsigned char *p, size_t *ret_length)
{
	static const unsigned smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t length = *p < 0x80	      ? 1
			: (*p & 0xe0) == 0xc0 ? 2
			: (*p & 0xf0) == 0xe0 ? 3
			: (*p & 0xf8) == 0xf0 ? 4
					      : 0;
	unsigned code = length == 1 ? *p : *p & (0xffu >> (length + 1));

	*ret_length = 1;
	if (length == 0)
		return 0xfffd;
	for (size_t i = 1; i < length; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0xfffd;
		code = code << 6 | (p[i] & 0x3f);
	}
	if (code < smallest[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return 0xfffd;
	*ret_length = length;
	return code;
}

void rp_html_text(FILE *out, const char *text)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t length;

	for (; *p; p += length) {
		unsigned code = decode(p, &length);

		switch (code) {
		case '&':
			fputs("&amp;", out);
			break;
		case '<':
			fputs("&lt;", out);
			break;
		case '>':
			fputs("&gt;", out);
			break;
		case '"':
			fputs("&quot;", out);
			break;
		case '\'':
			fputs("&#39;", out);
			break;
		default:
			if (is_hostile(code))
				fprintf(out, "\\u%04x", code);
			else if (code == 0xfffd)
				fputs("\xef\xbf\xbd", out);
			else
				fwrite(p, 1, length, out);
		}
	}
}

static const struct fa_value *items(const struct fa_value *array)
{
	return array && array->kind == FA_ARRAY ? array->first : NULL;
}

static bool is_text(const struct fa_value *value)
{
	return value && value->kind == FA_STRING;
}

static bool is_u64(const struct fa_value *value, uint64_t *ret)
{
	if (!value || value->kind != FA_NUMBER || *value->text == '-')
		return false;
	*ret = strtoull(value->text, NULL, 10);
	return true;
}

static void put_text(FILE *out, const struct fa_value *value)
{
	if (is_text(value))
		rp_html_text(out, value->text);
}

static void put_bytes(FILE *out, uint64_t bytes)
{
	static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double value = (double)bytes;
	unsigned u = 0;

	for (; value >= 1024 && u < 6; u++)
		value /= 1024;
	fprintf(out, u == 0 || value >= 100 ? "%.0f %s" : "%.1f %s", value, unit[u]);
}

static void put_duration(FILE *out, uint64_t ns)
{
	uint64_t s = ns / 1000000000;

	if (s < 60)
		fprintf(out, "%.2f s", (double)ns / 1e9);
	else if (s < 3600)
		fprintf(out, "%" PRIu64 " min %02" PRIu64 " s", s / 60, s % 60);
	else
		fprintf(out, "%" PRIu64 " h %02" PRIu64 " min", s / 3600, s / 60 % 60);
}

static void put_count(FILE *out, uint64_t n)
{
	fprintf(out, "%" PRIu64, n);
}

static void put_fact(FILE *out, const char *name, const struct fa_value *value,
		     void (*put)(FILE *out, uint64_t n))
{
	uint64_t n;

	if (!is_u64(value, &n))
		return;
	fprintf(out, "<div><dt>%s</dt><dd>", name);
	put(out, n);
	fputs("</dd></div>\n", out);
}

static void put_facts(FILE *out, const struct fa_value *summary, const char *const *word)
{
	const struct fa_value *totals = fa_value_get(summary, "totals");
	const struct fa_value *rss = fa_value_get(summary, "rss");

	fputs("<dl class=\"facts\">\n", out);
	put_fact(out, word[RP_LIVE_AT_END], fa_value_get(totals, "live_bytes"), put_bytes);
	put_fact(out, word[RP_PEAK], fa_value_get(totals, "peak_bytes"), put_bytes);
	put_fact(out, word[RP_RSS], fa_value_get(rss, "last"), put_bytes);
	put_fact(out, word[RP_DURATION], fa_value_get(summary, "duration_ns"), put_duration);
	put_fact(out, word[RP_ALLOCATIONS], fa_value_get(totals, "allocations"), put_count);
	put_fact(out, word[RP_EVENTS_LOST], fa_value_get(totals, "lost_events"), put_count);
	fputs("</dl>\n", out);
}

static void put_findings(FILE *out, const struct fa_value *findings, const char *const *word)
{
	const struct fa_value *item = items(findings);

	if (!item)
		return;
	fprintf(out, "<h2>%s</h2>\n<ul>\n", word[RP_FINDINGS]);
	for (; item; item = item->next) {
		fputs("<li>", out);
		put_text(out, fa_value_get(item, "text"));
		fputs("</li>\n", out);
	}
	fputs("</ul>\n", out);
}

static void put_frame(FILE *out, const struct fa_value *frame)
{
	const struct fa_value *function = fa_value_get(frame, "function");
	const struct fa_value *file = fa_value_get(frame, "file");
	uint64_t n;

	fputs("<li><code>", out);
	if (is_text(function)) {
		put_text(out, function);
	} else {
		put_text(out, fa_value_get(frame, "module"));
		if (is_u64(fa_value_get(frame, "offset"), &n))
			fprintf(out, "+0x%" PRIx64, n);
	}
	fputs("</code>", out);
	if (is_text(file)) {
		fputs(" ", out);
		put_text(out, file);
		if (is_u64(fa_value_get(frame, "line"), &n))
			fprintf(out, ":%" PRIu64, n);
	}
	fputs("</li>\n", out);
}

static void put_number_cell(FILE *out, const struct fa_value *value,
			    void (*put)(FILE *out, uint64_t n))
{
	uint64_t n;

	fputs("<td class=\"num\">", out);
	if (is_u64(value, &n))
		put(out, n);
	fputs("</td>", out);
}

static void put_leak(FILE *out, const struct fa_value *leak, const char *const *word)
{
	unsigned n_frames = 0;

	fputs("<tr><td>", out);
	put_text(out, fa_value_get(leak, "name"));
	fputs("</td><td>", out);
	put_text(out, fa_value_get(leak, "verdict"));
	fputs("</td>", out);
	put_number_cell(out, fa_value_get(leak, "bytes"), put_bytes);
	put_number_cell(out, fa_value_get(leak, "blocks"), put_count);
	fputs("<td><ol>\n", out);
	for (const struct fa_value *frame = items(fa_value_get(leak, "stack")); frame;
	     frame = frame->next)
		if (n_frames++ < RP_FLOOR_FRAMES)
			put_frame(out, frame);
	if (n_frames > RP_FLOOR_FRAMES)
		fprintf(out, "<li>%u %s</li>\n", n_frames - RP_FLOOR_FRAMES, word[RP_MORE]);
	fputs("</ol></td></tr>\n", out);
}

static void put_leaks(FILE *out, const struct fa_value *leaks, const char *const *word)
{
	const struct fa_value *leak = items(leaks);

	fprintf(out, "<h2>%s</h2>\n", word[RP_LEAKS]);
	if (!leak) {
		fprintf(out, "<p>%s</p>\n", word[RP_NO_LEAKS]);
		return;
	}
	fprintf(out,
		"<table>\n<thead><tr><th scope=\"col\">%s</th><th scope=\"col\">%s</th>"
		"<th scope=\"col\">%s</th><th scope=\"col\">%s</th><th scope=\"col\">%s</th></tr>"
		"</thead>\n<tbody>\n",
		word[RP_SITE], word[RP_VERDICT], word[RP_BYTES], word[RP_BLOCKS], word[RP_STACK]);
	for (unsigned i = 0; leak && i < RP_FLOOR_LEAKS; leak = leak->next, i++)
		put_leak(out, leak, word);
	fputs("</tbody>\n</table>\n", out);
}

/* ---- a machine ------------------------------------------------------------------------------- */

static void put_pages(FILE *out, uint64_t pages)
{
	put_bytes(out, pages * 4096);
}

static void put_zone(FILE *out, const struct fa_value *zone)
{
	const struct fa_value *last = fa_value_get(zone, "last");
	uint64_t node;

	if (!fa_value_u64(zone, "managed_pages"))
		return;
	fputs("<tr><td>", out);
	if (is_u64(fa_value_get(zone, "node"), &node))
		fprintf(out, "%" PRIu64 " ", node);
	put_text(out, fa_value_get(zone, "name"));
	fputs("</td>", out);
	put_number_cell(out, fa_value_get(zone, "managed_pages"), put_pages);
	put_number_cell(out, fa_value_get(last, "free_pages"), put_pages);
	put_number_cell(out, fa_value_get(last, "huge_blocks"), put_count);
	fputs("</tr>\n", out);
}

static void put_machine(FILE *out, const struct fa_value *node, const char *const *word)
{
	fprintf(out, "<h1>%s</h1>\n<dl class=\"facts\">\n<div><dt>%s</dt><dd>", word[RP_MACHINE],
		word[RP_KERNEL]);
	put_text(out, fa_value_get(node, "kernel"));
	fputs("</dd></div>\n", out);
	put_fact(out, word[RP_CPUS], fa_value_get(node, "cpus"), put_count);
	put_fact(out, word[RP_DURATION], fa_value_get(node, "duration_ns"), put_duration);
	fprintf(out,
		"</dl>\n<h2>%s</h2>\n<table>\n<thead><tr><th scope=\"col\">%s</th>"
		"<th scope=\"col\">%s</th><th scope=\"col\">%s</th><th scope=\"col\">%s</th></tr>"
		"</thead>\n<tbody>\n",
		word[RP_ZONES], word[RP_ZONE], word[RP_MANAGED], word[RP_FREE], word[RP_HUGE]);
	for (const struct fa_value *zone = items(fa_value_get(node, "zones")); zone;
	     zone = zone->next)
		put_zone(out, zone);
	fprintf(out, "</tbody>\n</table>\n<h2>%s</h2>\n<ul>\n", word[RP_ADVICE]);
	for (const struct fa_value *advice = items(fa_value_get(node, "advice")); advice;
	     advice = advice->next) {
		fputs("<li>", out);
		put_text(out, fa_value_get(advice, "text"));
		fputs("</li>\n", out);
	}
	fputs("</ul>\n", out);
}

/* ---- the page -------------------------------------------------------------------------------- */

static void put_title(FILE *out, const struct fa_value *summary)
{
	const struct fa_value *program = fa_value_get(summary, "program");
	uint64_t pid;

	put_text(out, fa_value_get(program, "name"));
	if (is_u64(fa_value_get(program, "pid"), &pid))
		fprintf(out, " (pid %" PRIu64 ")", pid);
}

/* *ret becomes NULL when the document has no such section: every question to it answers "no". */
static struct ft_error *parse(const struct fa_doc *doc, const char *section, struct ft_arena *arena,
			      const struct fa_value **ret)
{
	const char *text = fa_doc_section(doc, section);

	*ret = NULL;
	return text ? fa_json_parse(arena, text, ret) : NULL;
}

struct ft_error *rp_floor_title(const struct fa_doc *doc, FILE *out)
{
	ft_auto_arena struct ft_arena arena;
	const struct fa_value *summary, *node;

	ft_arena_init(&arena);
	FT_TRY(parse(doc, "summary", &arena, &summary));
	FT_TRY(parse(doc, "node", &arena, &node));
	if (node) {
		fputs("Linux ", out);
		put_text(out, fa_value_get(node, "kernel"));
	} else {
		put_title(out, summary);
	}
	return NULL;
}

struct ft_error *rp_floor_write(const struct fa_doc *doc, enum rp_lang lang, FILE *out)
{
	const char *const *word = words[lang];
	const struct fa_value *summary, *leaks, *node;
	ft_auto_arena struct ft_arena arena;

	ft_arena_init(&arena);
	FT_TRY(parse(doc, "node", &arena, &node));
	if (node) {
		put_machine(out, node, word);
		return NULL;
	}
	FT_TRY(parse(doc, "summary", &arena, &summary));
	FT_TRY(parse(doc, "leaks", &arena, &leaks));

	fputs("<h1>", out);
	put_title(out, summary);
	fputs("</h1>\n<p class=\"verdict\">", out);
	put_text(out, fa_value_get(fa_value_get(summary, "verdict"), "text"));
	fputs("</p>\n", out);
	if (summary && !fa_value_true(summary, "complete"))
		fprintf(out, "<p>%s</p>\n", word[RP_INCOMPLETE]);
	if (fa_value_true(summary, "estimated"))
		fprintf(out, "<p>%s</p>\n", word[RP_SAMPLED]);
	put_facts(out, summary, word);
	put_findings(out, fa_value_get(summary, "findings"), word);
	put_leaks(out, fa_value_get(leaks, "leaks"), word);
	return NULL;
}

const char *rp_floor_charts_note(enum rp_lang lang)
{
	return words[lang][RP_CHARTS];
}
