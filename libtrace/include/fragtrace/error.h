/* SPDX-License-Identifier: MIT */
/*
 * Errors as objects
 *
 * A function that can fail returns `struct ft_error *`: NULL is success, anything else is owned by
 * the caller, who reports it, adds context, or releases it. The layer that knows a name (a path, a
 * pid) adds it; libraries never print and never exit.
 *
 * Not used inside the traced process: errors allocate.
 */
#ifndef FRAGTRACE_ERROR_H
#define FRAGTRACE_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

enum ft_error_kind {
	FT_ERROR_OS,	  /* a system call failed; os_errno is set */
	FT_ERROR_NOMEM,	  /* out of memory (the static object ft_enomem) */
	FT_ERROR_INPUT,	  /* the input is not what it claims to be: damaged, truncated, hostile */
	FT_ERROR_NEWER,	  /* the input was written by a newer format than this program reads */
	FT_ERROR_USAGE,	  /* the caller asked for something that has no meaning */
	FT_ERROR_BUSY,	  /* not now: somebody else holds it */
	FT_ERROR_STOPPED, /* the user asked us to stop (SIGINT) */
};

struct ft_error {
	enum ft_error_kind kind;
	int os_errno;  /* 0 unless kind is FT_ERROR_OS */
	char *message; /* one line without a newline, no program name */
};

/* The out-of-memory error: static, may be destroyed any number of times. */
extern struct ft_error ft_enomem;

/* A new error of `kind`; falls back to &ft_enomem when it can't be allocated. Never NULL. */
__attribute__((format(printf, 2, 3))) struct ft_error *ft_error_create(enum ft_error_kind kind,
								       const char *format, ...);

/* "MESSAGE: strerror(os_errno)", kind FT_ERROR_OS. */
__attribute__((format(printf, 2, 3))) struct ft_error *ft_error_os(int os_errno, const char *format,
								   ...);

/* Put "CONTEXT: " before the message and return the same error. NULL stays NULL. */
__attribute__((format(printf, 2, 3))) struct ft_error *ft_error_context(struct ft_error *error,
									const char *format, ...);

void ft_error_destroy(struct ft_error *error); /* NULL is fine */

/* Return the error to the caller, if there is one. */
#define FT_TRY(expression)                                   \
	do {                                                 \
		struct ft_error *ft_try_err_ = (expression); \
		if (ft_try_err_)                             \
			return ft_try_err_;                  \
	} while (0)

#ifdef __cplusplus
}
#endif
#endif
