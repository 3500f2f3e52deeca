/* SPDX-License-Identifier: MIT */
/*
 * Streaming the report: see report.h
 *
 * A template (built from web/, or floor.html) holds markers `@rp:NAME@`; what lies between them
 * is copied, each marker is replaced as it comes. Nothing of the report is held in memory but the
 * document itself.
 */
#include "report.h"

#include <errno.h>
#include <string.h>

#include "rp_chunk.h"
#include "rp_floor.h"
#include "rp_template.h"

struct rp_writer {
	const struct fa_doc *doc;
	enum rp_lang lang;
	FILE *out;
};

static size_t count_chunks(const struct fa_doc *doc)
{
	const struct fa_column *column;
	size_t n = 0;

	for (size_t i = 0; (column = fa_doc_column_at(doc, i)); i++)
		n += rp_column_chunks(column);
	return n;
}

static void block_puts(struct rp_block *block, const char *text)
{
	rp_block_write(block, text, strlen(text));
}

/* {"schema":1,"tool":"0.1.0","lang":"en","columns":[...],SECTION:{...},...} */
static struct ft_error *write_boot(struct rp_writer *w)
{
	const struct fa_column *column;
	const char *name;
	struct rp_block block;
	char text[512];
	size_t chunk = 0;

	FT_TRY(rp_block_begin(&block, w->out, "boot"));
	snprintf(text, sizeof(text),
		 "{\"schema\":1,\"tool\":\"" FT_VERSION "\",\"lang\":\"%s\",\"columns\":[",
		 w->lang == RP_ZH ? "zh" : "en");
	block_puts(&block, text);
	for (size_t i = 0; (column = fa_doc_column_at(w->doc, i)); i++) {
		size_t n_chunks = rp_column_chunks(column);

		snprintf(text, sizeof(text),
			 "%s{\"name\":\"%s\",\"type\":\"%s\",\"codec\":\"%s\",\"n\":%zu,"
			 "\"chunk\":%zu,\"chunks\":%zu}",
			 i ? "," : "", column->name, rp_column_type(column),
			 rp_column_codec(column), column->n, chunk, n_chunks);
		block_puts(&block, text);
		chunk += n_chunks;
	}
	block_puts(&block, "]");
	for (size_t i = 0; (name = fa_doc_section_name(w->doc, i)); i++) {
		snprintf(text, sizeof(text), ",\"%s\":", name);
		block_puts(&block, text);
		block_puts(&block, fa_doc_section(w->doc, name));
	}
	block_puts(&block, "}");
	return rp_block_end(&block);
}

static struct ft_error *write_chunks(struct rp_writer *w)
{
	const struct fa_column *column;
	size_t chunk = 0;

	for (size_t i = 0; (column = fa_doc_column_at(w->doc, i)); i++) {
		FT_TRY(rp_column_write(column, i, chunk, w->out));
		chunk += rp_column_chunks(column);
	}
	/* its absence tells the front end that the file was cut off */
	fprintf(w->out, "<i id=\"eof\" hidden data-n=\"%zu\"></i>\n", count_chunks(w->doc));
	return NULL;
}

static struct ft_error *write_lang(struct rp_writer *w)
{
	fputs(w->lang == RP_ZH ? "zh-CN" : "en", w->out);
	return NULL;
}

static struct ft_error *write_title(struct rp_writer *w)
{
	return rp_floor_title(w->doc, w->out);
}

static struct ft_error *write_floor(struct rp_writer *w)
{
	return rp_floor_write(w->doc, w->lang, w->out);
}

static struct ft_error *write_note(struct rp_writer *w)
{
	fputs(rp_floor_charts_note(w->lang), w->out);
	return NULL;
}

static const struct {
	const char *name;
	struct ft_error *(*write)(struct rp_writer *w);
} markers[] = {
	{"lang", write_lang}, {"title", write_title}, {"floor", write_floor},
	{"note", write_note}, {"boot", write_boot},   {"chunks", write_chunks},
};

#define RP_MARK "@rp:"

static struct ft_error *write_marker(struct rp_writer *w, const char *name, size_t length)
{
	for (size_t i = 0; i < sizeof(markers) / sizeof(markers[0]); i++)
		if (strlen(markers[i].name) == length && memcmp(markers[i].name, name, length) == 0)
			return markers[i].write(w);
	return ft_error_create(FT_ERROR_INPUT, "the report's template has an unknown marker '%.*s'",
			       (int)length, name);
}

bool rp_report_has_front_end(void)
{
	return memmem(rp_program_template, rp_program_template_size, RP_MARK "boot@",
		      strlen(RP_MARK "boot@")) != NULL;
}

struct ft_error *rp_report_write(const struct fa_doc *doc, const struct rp_options *options,
				 FILE *out)
{
	struct rp_writer writer = {.doc = doc, .lang = RP_EN, .out = out};
	bool of_machine = fa_doc_section(doc, "node") != NULL;
	const char *at = of_machine ? rp_machine_template : rp_program_template, *mark;
	const char *end = at + (of_machine ? rp_machine_template_size : rp_program_template_size);

	FT_TRY(fa_doc_check(doc));
	if (options && options->lang) {
		if (strcmp(options->lang, "zh") == 0)
			writer.lang = RP_ZH;
		else if (strcmp(options->lang, "en") != 0)
			return ft_error_create(FT_ERROR_USAGE,
					       "unknown language '%s': 'en' and 'zh' are known",
					       options->lang);
	}

	while ((mark = memmem(at, (size_t)(end - at), RP_MARK, strlen(RP_MARK)))) {
		const char *name = mark + strlen(RP_MARK);
		const char *name_end = memchr(name, '@', (size_t)(end - name));

		fwrite(at, 1, (size_t)(mark - at), out);
		if (!name_end)
			return ft_error_create(FT_ERROR_INPUT,
					       "the report's template has an open marker");
		FT_TRY(write_marker(&writer, name, (size_t)(name_end - name)));
		at = name_end + 1;
	}
	fwrite(at, 1, (size_t)(end - at), out);

	errno = 0;
	if (fflush(out) != 0 || ferror(out))
		return ft_error_os(errno, "cannot write the report");
	return NULL;
}
