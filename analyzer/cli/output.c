/* SPDX-License-Identifier: MIT */
/* Results that are files: nothing is overwritten unasked, and a failure leaves no half of one. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "ft_cleanup.h"

struct output {
	cli_writer write;
	void *ctx;
};

static struct ft_error *write_stream(const struct output *output, const char *path, int fd)
{
	FILE *out = fdopen(fd, "w");
	struct ft_error *error;

	if (!out) {
		error = ft_error_os(errno, "cannot write %s", path);
		close(fd);
		return error;
	}
	error = output->write(output->ctx, out);
	if ((ferror(out) | fclose(out)) && !error)
		error = ft_error_os(errno, "cannot write %s", path);
	return error;
}

/* One that replaces another does so at its end. */
static struct ft_error *write_file(const struct output *output, const char *path, bool force)
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
	error = write_stream(output, path, fd);

	/* link() fails if somebody else made the file in the meantime, rename() would replace it.
	 */
	if (!error && (force ? rename(temporary, path) : link(temporary, path)) < 0)
		error = ft_error_os(errno, "cannot create %s", path);
	if (error || !force)
		unlink(temporary);
	return error;
}

int cli_check_output(const char *path, bool force)
{
	if (strcmp(path, "-") != 0 && !force && access(path, F_OK) == 0) {
		cli_warn("%s exists; -f overwrites it, -o names another", path);
		return CLI_USAGE;
	}
	return CLI_OK;
}

/* Only a regular file is replaced: a device or a pipe is written to, and a link stays one. */
struct ft_error *cli_write_output(const char *path, bool force, cli_writer write, void *ctx)
{
	const struct output output = {.write = write, .ctx = ctx};
	ft_auto_free char *target = strcmp(path, "-") != 0 ? realpath(path, NULL) : NULL;
	struct stat st;

	if (!strcmp(path, "-"))
		return write(ctx, stdout);
	if (!force || !target || stat(target, &st) < 0 || S_ISREG(st.st_mode))
		return write_file(&output, force && target ? target : path, force);

	int fd = open(target, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return ft_error_os(errno, "cannot write %s", path);
	return write_stream(&output, path, fd);
}
