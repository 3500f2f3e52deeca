/* SPDX-License-Identifier: MIT */
/*
 * Scope guards
 *
 *	ft_auto_free char *name = strdup(path);
 *	ft_auto_close int fd = open(...);
 *	...
 *	*ret = ft_take(name);      ownership leaves the scope here, visibly
 */
#ifndef FT_CLEANUP_H
#define FT_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ft_error.h"

static inline void ft_cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void ft_cleanup_close(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void ft_cleanup_fclose(FILE **file)
{
	if (*file)
		fclose(*file);
}

static inline void ft_cleanup_error(struct ft_error **error)
{
	ft_error_destroy(*error);
}

#define ft_auto_free   __attribute__((cleanup(ft_cleanup_free)))
#define ft_auto_close  __attribute__((cleanup(ft_cleanup_close)))
#define ft_auto_fclose __attribute__((cleanup(ft_cleanup_fclose)))
#define ft_auto_error  __attribute__((cleanup(ft_cleanup_error)))

/* Hand over a guarded pointer: the variable becomes NULL, the value is returned. */
#define ft_take(pointer)                                   \
	({                                                 \
		__typeof__(pointer) ft_taken_ = (pointer); \
		(pointer) = NULL;                          \
		ft_taken_;                                 \
	})

/* The same for a guarded file descriptor. */
#define ft_take_fd(fd)                \
	({                            \
		int ft_taken_ = (fd); \
		(fd) = -1;            \
		ft_taken_;            \
	})

#endif
