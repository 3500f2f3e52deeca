/* SPDX-License-Identifier: MIT */
/* fraganalyze report: every pass, one HTML file. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "ft_cleanup.h"
#include "report.h"

/* "dir/soak.frag" -> "dir/soak.html" */
static char *default_output(const char *path)
{
	size_t len = strlen(path);
	char *output;

	if (len > 5 && !strcmp(path + len - 5, ".frag"))
		len -= 5;
	return asprintf(&output, "%.*s.html", (int)len, path) < 0 ? NULL : output;
}

static struct ft_error *write_stream(const struct fa_doc *doc, const struct rp_options *options,
				     const char *path, int fd)
{
	FILE *out = fdopen(fd, "w");
	struct ft_error *error;

	if (!out) {
		error = ft_error_os(errno, "cannot write %s", path);
		close(fd);
		return error;
	}
	error = rp_report_write(doc, options, out);
	if (fclose(out) && !error)
		error = ft_error_os(errno, "cannot write %s", path);
	return error;
}

/* A failed report leaves no half a file behind; one that replaces another does so at its end. */
static struct ft_error *write_file(const struct fa_doc *doc, const struct rp_options *options,
				   const char *path, bool force)
{
	ft_auto_free char *temporary = malloc(strlen(path) + 16);
	struct ft_error *error;

	if (!temporary)
		return &ft_enomem;
	if (!force && access(path, F_OK) == 0)
		return ft_error_create(FT_ERROR_USAGE,
				       "%s exists; -f overwrites it, -o names another", path);
	sprintf(temporary, "%s.XXXXXX", path);

	int fd = mkstemp(temporary);
	mode_t mask = umask(0);

	umask(mask);
	if (fd < 0)
		return ft_error_os(errno, "cannot create %s", path);
	fchmod(fd, 0666 & ~mask);
	error = write_stream(doc, options, path, fd);

	/* link() fails if somebody else made the file in the meantime, rename() would replace it.
	 */
	if (!error && (force ? rename(temporary, path) : link(temporary, path)) < 0)
		error = ft_error_os(errno, "cannot create %s", path);
	if (error || !force)
		unlink(temporary);
	return error;
}

/* Only a regular file is replaced: a device or a pipe is written to, and a link stays one. */
static struct ft_error *write_path(const struct fa_doc *doc, const struct rp_options *options,
				   const char *path, bool force)
{
	ft_auto_free char *target = realpath(path, NULL);
	struct stat st;

	if (!force || !target || stat(target, &st) < 0 || S_ISREG(st.st_mode))
		return write_file(doc, options, force && target ? target : path, force);

	int fd = open(target, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return ft_error_os(errno, "cannot write %s", path);
	return write_stream(doc, options, path, fd);
}

int verb_report(const struct cli_verb *verb, const struct cli_options *options)
{
	ft_auto_free char *fallback = options->output ? NULL : default_output(options->path);
	const char *path = options->output ? options->output : fallback;
	const struct rp_options report_options = {.lang = options->lang ? options->lang : "en"};
	struct ft_error *error;
	struct cli_analysis a;
	int status;

	if (!path)
		return cli_fail(&ft_enomem, CLI_FAILED);
	if (options->json) {
		if (options->output) {
			cli_warn("report: --json goes to stdout, --output is for HTML");
			return CLI_USAGE;
		}
		status = cli_analyse(options, verb->passes, &a);
		if (status != CLI_OK)
			return status;
		cli_print_document(&a);
		cli_analysis_deinit(&a);
		return CLI_OK;
	}
	/* Before the work, not after it. */
	if (strcmp(path, "-") != 0 && !options->force && access(path, F_OK) == 0) {
		cli_warn("%s exists; -f overwrites it, -o names another", path);
		return CLI_USAGE;
	}
	status = cli_analyse(options, verb->passes, &a);
	if (status != CLI_OK)
		return status;
	if (!strcmp(path, "-"))
		error = rp_report_write(a.doc, &report_options, stdout);
	else
		error = write_path(a.doc, &report_options, path, options->force);
	cli_analysis_deinit(&a);
	if (error)
		return cli_fail(error, CLI_FAILED);
	if (strcmp(path, "-") != 0)
		printf("%s\n", path);
	return CLI_OK;
}
