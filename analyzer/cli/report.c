/* SPDX-License-Identifier: MIT */
/* fraganalyze report: every pass, one HTML file; of two recordings, what changed as well; of a
 * machine's recording, its memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "ft_cleanup.h"
#include "report.h"
#include "rp_fit.h"

/* As many rows of a diff as a page can hold. */
enum { DIFF_TOP = 500 };

/* "dir/soak.frag" -> "dir/soak.html"; of two recordings "dir/soak.diff.html", beside the newer. */
static char *default_output(const struct cli_options *options)
{
	const char *path = options->second_path ? options->second_path : options->path;
	size_t len = strlen(path);
	char *output;

	if (len > 5 && !strcmp(path + len - 5, ".frag"))
		len -= 5;
	return asprintf(&output, "%.*s%s.html", (int)len, path,
			options->second_path ? ".diff" : "") < 0
		       ? NULL
		       : output;
}

/* What of the older recording the newer one is drawn against. */
static const char *const older_passes[] = {"timeline", "leaks", "quality", "summary", NULL};

static struct ft_error *add_diff(struct cli_analysis *older, struct cli_analysis *newer)
{
	struct fa_side a = cli_side(older), b = cli_side(newer);
	struct fa_comparison comparison;

	FT_TRY(fa_compare(&a, &b, &comparison));
	fa_comparison_emit(&comparison, &a, &b, DIFF_TOP, newer->doc);
	fa_comparison_deinit(&comparison);
	fa_comparison_emit_series(older->doc, newer->doc);
	return fa_doc_check(newer->doc);
}

/* What can't be opened is said when it is opened to be read. */
static bool is_of_machine(const char *path)
{
	struct ft_reader *reader = NULL;
	struct ft_error *error =
		ft_reader_open(path, FT_READER_ANY_KIND | FT_READER_NO_WAIT, &reader);
	bool is = !error && ft_reader_is_node(reader);

	ft_error_destroy(error);
	ft_reader_close(reader);
	return is;
}

static int analyse_machine(const struct cli_options *options, struct cli_analysis *ret)
{
	if (options->from || options->to || options->per || options->n_suppressions) {
		cli_warn("report: %s is a recording of a machine's memory: it has no window, marks "
			 "or suppressions",
			 options->path);
		return CLI_USAGE;
	}
	return cli_analyse_node(options, ret);
}

/* The document of the recording; with two of them that of the newer, and the diff. */
static int analyse(const struct cli_verb *verb, const struct cli_options *options,
		   struct cli_analysis *ret)
{
	struct cli_options newer_options = *options;
	struct cli_analysis older;
	struct ft_error *error;
	int status;

	if (!options->second_path)
		return is_of_machine(options->path) ? analyse_machine(options, ret)
						    : cli_analyse(options, verb->passes, ret);
	status = cli_analyse(options, older_passes, &older);
	if (status != CLI_OK)
		return status;
	newer_options.path = options->second_path;
	status = cli_analyse(&newer_options, verb->passes, ret);
	if (status == CLI_OK) {
		error = add_diff(&older, ret);
		if (error) {
			cli_analysis_deinit(ret);
			status = cli_fail(error, CLI_FAILED);
		}
	}
	cli_analysis_deinit(&older);
	return status;
}

struct page {
	const struct fa_doc *doc;
	struct rp_options options;
};

static struct ft_error *write_page(void *ctx, FILE *out)
{
	const struct page *page = ctx;

	return rp_report_write(page->doc, &page->options, out);
}

/* Make the page as small as it has to be, and say what that cost. */
static struct ft_error *fit_page(const struct cli_options *options, struct fa_doc *doc,
				 const struct page *page)
{
	uint64_t most = options->max_html_bytes ? options->max_html_bytes : RP_DEFAULT_BYTES;
	struct fa_text is, may_be;
	struct rp_fitted fitted;

	FT_TRY(rp_fit(doc, &page->options, most, &fitted));
	if (fitted.step) {
		char rows[64] = "all rows";

		if (fitted.rows)
			snprintf(rows, sizeof(rows), "%u rows of each list, the others added up",
				 fitted.rows);
		cli_warn("report: to be no larger than %s the page has %s and %u frames of each "
			 "stack",
			 fa_format_bytes(most, &may_be), rows, fitted.frames);
	}
	if (fitted.bytes > most)
		cli_warn("report: the page is %s, more than %s: there is nothing more to leave out",
			 fa_format_bytes(fitted.bytes, &is), fa_format_bytes(most, &may_be));
	return NULL;
}

int verb_report(const struct cli_verb *verb, const struct cli_options *options)
{
	ft_auto_free char *fallback = options->output ? NULL : default_output(options);
	const char *path = options->output ? options->output : fallback;
	struct page page = {.options.lang = options->lang ? options->lang : "en"};
	struct fa_redactor *redact = NULL;
	struct ft_error *error = NULL;
	struct cli_analysis a;
	int status;

	if (!path)
		return cli_fail(&ft_enomem, CLI_FAILED);
	if (options->json && options->output) {
		cli_warn("report: --json goes to stdout, --output is for HTML");
		return CLI_USAGE;
	}
	/* Before the work, not after it. */
	status = options->json ? CLI_OK : cli_check_output(path, options->force);
	if (status == CLI_OK)
		status = analyse(verb, options, &a);
	if (status != CLI_OK)
		return status;
	status = cli_redact(options, &a, &redact);
	page.doc = a.doc;
	if (status == CLI_OK && options->json)
		cli_print_document(&a);
	else if (status == CLI_OK)
		error = fit_page(options, a.doc, &page);
	if (status == CLI_OK && !options->json && !error)
		error = cli_write_output(path, options->force, write_page, &page);
	fa_redactor_destroy(redact);
	cli_analysis_deinit(&a);
	if (error)
		return cli_fail(error, CLI_FAILED);
	if (status == CLI_OK && !options->json && strcmp(path, "-") != 0)
		printf("%s\n", path);
	return status;
}
