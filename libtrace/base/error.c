/* SPDX-License-Identifier: MIT */
/* Errors as objects: see ft_error.h. */
#include "ft_error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char enomem_message[] = "out of memory";
struct ft_error ft_enomem = {.kind = FT_ERROR_NOMEM, .message = enomem_message};

static struct ft_error *error_take_message(enum ft_error_kind kind, int os_errno, char *message)
{
	struct ft_error *error = message ? malloc(sizeof(*error)) : NULL;

	if (!error) {
		free(message);
		return &ft_enomem;
	}
	*error = (struct ft_error){.kind = kind, .os_errno = os_errno, .message = message};
	return error;
}

struct ft_error *ft_error_create(enum ft_error_kind kind, const char *format, ...)
{
	char *message = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&message, format, args) < 0)
		message = NULL;
	va_end(args);
	return error_take_message(kind, 0, message);
}

struct ft_error *ft_error_os(int os_errno, const char *format, ...)
{
	char *what = NULL, *message = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&what, format, args) < 0)
		what = NULL;
	va_end(args);
	if (what && asprintf(&message, "%s: %s", what, strerror(os_errno)) < 0)
		message = NULL;
	free(what);
	return error_take_message(FT_ERROR_OS, os_errno, message);
}

struct ft_error *ft_error_context(struct ft_error *error, const char *format, ...)
{
	char *context = NULL, *message = NULL;
	va_list args;

	if (!error || error == &ft_enomem)
		return error;
	va_start(args, format);
	if (vasprintf(&context, format, args) < 0)
		context = NULL;
	va_end(args);
	if (context && asprintf(&message, "%s: %s", context, error->message) >= 0) {
		free(error->message);
		error->message = message;
	}
	free(context);
	return error;
}

void ft_error_destroy(struct ft_error *error)
{
	if (!error || error == &ft_enomem)
		return;
	free(error->message);
	free(error);
}
