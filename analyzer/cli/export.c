/* SPDX-License-Identifier: MIT */
/* fraganalyze export: the analysis in the format of another tool. */
#include <unistd.h>

#include "cli.h"
#include "fa_export.h"

struct export
{
	const struct fa_export_format *format;
	struct fa_export_source source;
	struct fa_export_options options;
};

static struct ft_error *write_export(void *ctx, FILE *out)
{
	const struct export *e = ctx;

	return e->format->write(&e->source, &e->options, out);
}

/* A sample does not know which blocks were temporary. */
static int check_metric(const struct cli_options *options, const struct cli_analysis *a)
{
	if (options->metric != FA_METRIC_TEMPORARY || !fa_engine_sample_bytes(a->engine))
		return CLI_OK;
	cli_warn("%s: --metric: a sampled recording does not know what was temporary",
		 options->path);
	return CLI_USAGE;
}

int verb_export(const struct cli_verb *verb, const struct cli_options *options)
{
	struct export e = {
		.options = {.metric = options->metric, .timeline = options->timeline_rows}};
	const char *path = options->output ? options->output : "-";
	struct fa_redactor *redact = NULL;
	struct ft_error *error;
	struct cli_analysis a;
	int status;

	if (!options->export_format) {
		cli_warn("export: say with --format what to write; try 'fraganalyze export "
			 "--help'");
		return CLI_USAGE;
	}
	e.format = fa_export_format_find(options->export_format);
	if (e.format->binary && !options->output && isatty(STDOUT_FILENO)) {
		cli_warn("export: %s is binary; name a file with -o, or '-o -' for this terminal",
			 options->export_format);
		return CLI_USAGE;
	}
	status = cli_check_output(path, options->force);
	if (status == CLI_OK)
		status = cli_analyse(options, e.format->passes, &a);
	if (status != CLI_OK)
		return status;
	status = check_metric(options, &a);
	if (status == CLI_OK)
		status = cli_redact(options, &a, &redact);
	if (status == CLI_OK) {
		e.source = (struct fa_export_source){
			.engine = a.engine, .doc = a.doc, .redact = redact};
		error = cli_write_output(path, options->force, write_export, &e);
		if (error)
			status = cli_fail(error, CLI_FAILED);
	}
	fa_redactor_destroy(redact);
	cli_analysis_deinit(&a);
	return status;
}
